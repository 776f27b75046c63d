"""A proxy on loopback that can lose, delay, damage and refuse the requests to a server of a test."""

from __future__ import annotations

import http.client
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

CODES = {  # of S3
    "400": "InvalidRequest",
    "401": "AccessDenied",
    "403": "AccessDenied",
    "404": "NoSuchKey",
    "429": "SlowDown",
    "503": "SlowDown",
}
HOP_BY_HOP = {"connection", "transfer-encoding", "content-length", "host"}


@dataclass
class Faults:
    """What the proxy does to the next requests, oldest first, and the requests that it has seen.

    A fault: `lost` (the connection is closed), `cut` (half of the answer), `slow` (no answer for `delay`
    seconds), `damaged` (an answer with one other byte), or a status such as `503`. only: methods that faults
    concern.
    """

    plan: list[str] = field(default_factory=list)
    always: str = ""
    only: tuple[str, ...] = ("GET", "PUT", "HEAD", "POST")
    delay: float = 2.0
    seen: list[str] = field(default_factory=list)

    def next(self, method: str) -> str:
        if method not in self.only:
            return ""
        return self.plan.pop(0) if self.plan else self.always

    def count(self, method: str, part: str = "") -> int:
        """How many requests of a method had this part in their path."""
        return sum(line.startswith(method) and part in line for line in self.seen)


@dataclass
class Proxy:
    """A running proxy. upstream: host and port of the server, known once it runs."""

    endpoint: str
    faults: Faults = field(default_factory=Faults)
    upstream: tuple[str, int] = ("127.0.0.1", 0)


@contextmanager
def faulty_proxy() -> Iterator[Proxy]:
    """A proxy, for as long as the block runs."""
    proxy = Proxy("")
    server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(proxy))
    proxy.endpoint = f"http://127.0.0.1:{server.server_address[1]}"
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield proxy
    finally:
        server.shutdown()
        server.server_close()


def _handler(proxy: Proxy) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def handle_request(self) -> None:
            body = self._body()
            proxy.faults.seen.append(f"{self.command} {self.path}")
            fault = proxy.faults.next(self.command)
            if fault == "lost":
                self.close_connection = True
                return
            if fault == "slow":
                time.sleep(proxy.faults.delay)
                self.close_connection = True
                return
            if fault.isdecimal():
                code = CODES.get(fault, "InternalError")
                self._answer(
                    int(fault), {}, f"<Error><Code>{code}</Code><Message>{code}</Message></Error>".encode()
                )
                return
            upstream = http.client.HTTPConnection(*proxy.upstream, timeout=30)
            headers = {name: value for name, value in self.headers.items() if name.lower() not in HOP_BY_HOP}
            headers["Host"] = self.headers["Host"]
            if self.headers.get("transfer-encoding"):
                headers["Content-Length"] = str(len(body))
            upstream.request(self.command, self.path, body=body or None, headers=headers)
            answer = upstream.getresponse()
            content = answer.read()
            upstream.close()
            kept = {name: value for name, value in answer.getheaders() if name.lower() not in HOP_BY_HOP}
            if fault == "damaged" and content:
                content = content[:-1] + bytes([content[-1] ^ 1])
                kept = {
                    name: value
                    for name, value in kept.items()
                    if not name.lower().startswith("x-amz-checksum")
                }
            length = answer.getheader("Content-Length") if self.command == "HEAD" else None
            self._answer(answer.status, kept, content, cut=fault == "cut", length=length)

        do_GET = do_PUT = do_HEAD = do_POST = do_DELETE = handle_request  # noqa: N815

        def _body(self) -> bytes:
            if self.headers.get("transfer-encoding", "").lower() != "chunked":
                return self.rfile.read(int(self.headers.get("content-length") or 0))
            parts = []
            while size := int(self.rfile.readline().split(b";")[0], 16):
                parts.append(self.rfile.read(size))
                self.rfile.readline()
            self.rfile.readline()
            return b"".join(parts)

        def _answer(
            self,
            status: int,
            headers: dict[str, str],
            content: bytes,
            *,
            cut: bool = False,
            length: str | None = None,
        ) -> None:
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", length or str(len(content)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(content[: len(content) // 2] if cut else content)
            self.close_connection = self.close_connection or cut

        def log_message(self, *_: object) -> None:
            pass

    return Handler
