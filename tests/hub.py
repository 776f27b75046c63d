"""A hub on this machine for tests: serves and receives files as huggingface.co does, fails on request."""

from __future__ import annotations

import base64
import hashlib
import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

COMMIT = "c0ffee" + "0" * 34
MODEL = "owner/model"
LARGE = (".safetensors", ".skops", ".ubj")


@dataclass
class Hub:
    """The files of `MODEL` and how the hub misbehaves.

    status, code: of every answer, unless 200. headers: added to every answer. cut: bytes after which a file's
    download ends. drop: bytes after which each transfer of a file is cut off. resumes: send the part of a
    file that is asked for. damage: flip a byte of a file's content. silent: while set, no answer. bare:
    without the headers that a hub sends. asked: the files of all requests.
    """

    files: dict[str, bytes]
    revisions: tuple[str, ...] = ("main", COMMIT)
    status: int = 200
    code: str = ""
    headers: dict[str, str] = field(default_factory=dict)
    cut: dict[str, int] = field(default_factory=dict)
    drop: dict[str, int] = field(default_factory=dict)
    resumes: bool = True
    damage: set[str] = field(default_factory=set)
    silent: threading.Event = field(default_factory=threading.Event)
    bare: bool = False
    asked: list[str] = field(default_factory=list)
    pushed: dict[str, bytes] = field(default_factory=dict)
    token: str = "hf_of_the_owner"
    url: str = ""


def files_of(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@contextmanager
def serve(files: dict[str, bytes]) -> Iterator[Hub]:
    """Run the hub in threads of this process until the block ends."""
    hub = Hub(files=files)
    large: dict[str, bytes] = {}  # uploaded before the commit that names them, by SHA-256

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_: object) -> None:
            pass

        def do_HEAD(self) -> None:
            self.answer(body=False)

        def do_GET(self) -> None:
            self.answer(body=True)

        def answer(self, *, body: bool) -> None:
            owner, name, _, revision, *rest = [*self.path.strip("/").split("/"), "", "", "", ""]
            file = "/".join(rest).strip("/")
            hub.asked.append(f"{self.command} {revision} {file}")
            while hub.silent.is_set():
                time.sleep(0.05)
            if hub.status != 200:
                self.refuse(hub.status, hub.code)
            elif f"{owner}/{name}" != MODEL:
                self.refuse(401, "RepoNotFound")
            elif revision not in hub.revisions:
                self.refuse(404, "RevisionNotFound")
            elif file not in hub.files:
                self.refuse(404, "EntryNotFound")
            else:
                self.send(file, body=body)

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            hub.asked.append(f"{self.command} {self.path}")
            if hub.status != 200:
                self.refuse(hub.status, hub.code)
            elif self.command == "PUT":
                large[hashlib.sha256(body).hexdigest()] = body
                self.reply({})
            elif self.headers.get("Authorization") != f"Bearer {hub.token}":
                self.refuse(401, "")
            else:
                self.reply(self.receive(body))

        def do_PUT(self) -> None:
            self.do_POST()

        def receive(self, body: bytes) -> dict[str, Any]:
            if "/preupload/" in self.path:
                names = [file["path"] for file in json.loads(body)["files"]]
                modes = {name: "lfs" if name.endswith(LARGE) else "regular" for name in names}
                return {
                    "files": [
                        {"path": name, "uploadMode": modes[name], "shouldIgnore": False} for name in names
                    ]
                }
            if self.path.endswith("/info/lfs/objects/batch"):
                objects = json.loads(body)["objects"]
                for one in objects:
                    one["actions"] = {"upload": {"href": f"{hub.url}/put/{one['oid']}"}}
                return {"transfer": "basic", "objects": objects}
            if "/commit/" in self.path:
                hub.pushed = {}
                for entry in map(json.loads, body.decode().splitlines()):
                    value = entry["value"]
                    if entry["key"] == "file":
                        hub.pushed[value["path"]] = base64.b64decode(value["content"])
                    elif entry["key"] == "lfsFile":
                        hub.pushed[value["path"]] = large[value["oid"]]
                return {"commitUrl": f"{hub.url}/{MODEL}/commit/{COMMIT}", "commitOid": COMMIT}
            return {"url": f"{hub.url}/{MODEL}"}

        def reply(self, document: dict[str, Any]) -> None:
            content = json.dumps(document).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def refuse(self, status: int, code: str) -> None:
            self.send_response(status)
            if code:
                self.send_header("X-Error-Code", code)
                self.send_header("X-Repo-Commit", COMMIT)
            for key, value in hub.headers.items():
                self.send_header(key, value)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def send(self, file: str, *, body: bool) -> None:
            content = hub.files[file]
            tag = hashlib.sha256(content).hexdigest()
            if file in hub.damage:
                content = content[:-1] + bytes([content[-1] ^ 1])
            size, content = len(content), content[: hub.cut.get(file)]
            if not body:  # what is announced is the full size
                content = b""
            wanted = self.headers.get("Range", "bytes=0-") if hub.resumes else "bytes=0-"
            begin = int(wanted.removeprefix("bytes=").partition("-")[0])
            self.send_response(206 if begin else 200)
            if not hub.bare:
                self.send_header("X-Repo-Commit", COMMIT)
                self.send_header("ETag", f'"{tag}"')
            self.send_header("Content-Length", str(len(content) - begin if body else size))
            self.end_headers()
            end = begin + hub.drop.get(file, size)
            self.wfile.write(content[begin:end])
            self.close_connection = end < len(content)

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    hub.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
