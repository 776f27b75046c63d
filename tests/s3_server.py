"""An S3 server on loopback for tests (moto's), behind a proxy that can lose, delay and refuse requests."""

from __future__ import annotations

import http.client
import logging
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

KEY, SECRET = "test-key", "a-secret-that-is-nowhere"
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
class Server:
    """A bucket on the server; `client` is boto3's, which goes past the proxy."""

    endpoint: str
    bucket: str
    client: Any
    faults: Faults

    @property
    def url(self) -> str:
        return f"s3://{self.bucket}"

    def names(self, prefix: str = "") -> list[str]:
        found = self.client.list_objects_v2(Bucket=self.bucket, Prefix=prefix)
        return [one["Key"] for one in found.get("Contents", ())]

    def content(self, name: str) -> bytes:
        return bytes(self.client.get_object(Bucket=self.bucket, Key=name)["Body"].read())

    def put(self, name: str, content: bytes) -> None:
        self.client.put_object(Bucket=self.bucket, Key=name, Body=content, ACL="public-read")

    def empty(self) -> None:
        for name in self.names():
            self.client.delete_object(Bucket=self.bucket, Key=name)


@contextmanager
def s3_server() -> Iterator[Server]:
    """The server with one empty bucket; skips the test where moto or s3fs is not installed."""
    pytest.importorskip("s3fs", reason="the extra s3 is not installed")
    server = pytest.importorskip("moto.server", reason="moto[server] is not installed")
    import boto3

    logging.getLogger("werkzeug").setLevel(logging.ERROR)

    moto = server.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    moto.start()
    proxy = None
    try:
        host, port = moto.get_host_and_port()
        faults = Faults()
        proxy = ThreadingHTTPServer(("127.0.0.1", 0), _handler(host, port, faults))
        threading.Thread(target=proxy.serve_forever, daemon=True).start()
        keys = {"aws_access_key_id": KEY, "aws_secret_access_key": SECRET, "region_name": "us-east-1"}
        client = boto3.client("s3", endpoint_url=f"http://{host}:{port}", **keys)
        client.create_bucket(Bucket="states")
        yield Server(f"http://127.0.0.1:{proxy.server_address[1]}", "states", client, faults)
        client.close()
    finally:
        if proxy is not None:
            proxy.shutdown()
            proxy.server_close()
        moto.stop()


def use(server: Server, folder: Path, patch: pytest.MonkeyPatch) -> None:
    """Empty the bucket, end all faults, and let this process use the server with local copies in `folder`."""
    import fsspec

    from layerprobe.cache.remote import retries
    from layerprobe.cache.store.location import remote_cache

    server.empty()
    server.faults.__init__()  # type: ignore[misc]
    for name, value in environment(server, folder).items():
        patch.setenv(name, value)
    for name in ("AWS_PROFILE", "AWS_SESSION_TOKEN", "LAYERPROBE_CACHE", "LAYERPROBE_MIRROR_SIZE"):
        patch.delenv(name, raising=False)
    patch.setattr(retries, "FIRST_WAIT", 0.01)
    remote_cache.remote_cache.cache_clear()
    fsspec.get_filesystem_class("s3").clear_instance_cache()


def environment(server: Server, folder: Path) -> dict[str, str]:
    return {
        "AWS_ENDPOINT_URL": server.endpoint,
        "AWS_ACCESS_KEY_ID": KEY,
        "AWS_SECRET_ACCESS_KEY": SECRET,
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_CONFIG_FILE": str(folder / "no-config"),
        "AWS_SHARED_CREDENTIALS_FILE": str(folder / "no-credentials"),
        "LAYERPROBE_MIRROR": str(folder / "mirror"),
    }


def _handler(host: str, port: int, faults: Faults) -> type[BaseHTTPRequestHandler]:
    class Proxy(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def handle_request(self) -> None:
            body = self._body()
            faults.seen.append(f"{self.command} {self.path}")
            fault = faults.next(self.command)
            if fault == "lost":
                self.close_connection = True
                return
            if fault == "slow":
                time.sleep(faults.delay)
                self.close_connection = True
                return
            if fault.isdecimal():
                code = {"503": "SlowDown", "403": "AccessDenied", "404": "NoSuchKey"}.get(
                    fault, "InternalError"
                )
                self._answer(
                    int(fault), {}, f"<Error><Code>{code}</Code><Message>{code}</Message></Error>".encode()
                )
                return
            upstream = http.client.HTTPConnection(host, port, timeout=30)
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

    return Proxy
