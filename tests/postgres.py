"""A PostgreSQL server of its own, started in a temporary folder, which tests may stop and start again."""

from __future__ import annotations

import os
import pwd
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

USER, PASSWORD = "searcher", "s3cr3t-w0rd"
START_SECONDS = 60


def _folder_of_programs() -> Path | None:
    found = shutil.which("initdb")
    if found is not None:
        return Path(found).resolve().parent
    return max(
        Path("/usr/lib/postgresql").glob("*/bin"), default=None, key=lambda path: int(path.parent.name)
    )


PROGRAMS = _folder_of_programs()
WHY_NOT = (
    "no PostgreSQL; on Debian: apt-get install postgresql"
    if PROGRAMS is None
    else "no psycopg; it is in the extra postgresql"
    if find_spec("psycopg") is None
    else ""
)


class Postgres:
    """A server on a port of this machine, without its guards against power cuts. The password is required."""

    def __init__(self, folder: Path, *, user: str | None) -> None:
        """user: a user without rights, who runs the server; None for the one of this process."""
        self._folder, self._user = folder, user
        self._server: subprocess.Popen[bytes] | None = None
        (folder / "password").write_text(PASSWORD)
        if user is not None:
            shutil.chown(folder, user)
            shutil.chown(folder / "password", user)
        self._call(
            "initdb", "-D", folder / "data", "-U", USER, "--auth", "scram-sha-256", "--pwfile",
            folder / "password", "--no-sync", "--no-locale", "--encoding", "UTF8",
        )  # fmt: skip
        self.port = _free_port()  # as late as possible: until the server starts, anyone may take it

    def start(self) -> None:
        assert PROGRAMS is not None
        options = {
            "listen_addresses": "127.0.0.1",
            "port": str(self.port),
            "unix_socket_directories": str(self._folder),
            "fsync": "off",
        }
        words = [str(PROGRAMS / "postgres"), "-D", str(self._folder / "data")]
        words += [f"--{name}={value}" for name, value in options.items()]
        with (self._folder / "log").open("ab") as log:
            self._server = subprocess.Popen(
                words, user=self._user, cwd=self._folder, stdout=log, stderr=log, stdin=subprocess.DEVNULL
            )
        until = time.monotonic() + START_SECONDS
        while not self._accepts():
            if self._server.poll() is not None or time.monotonic() > until:
                raise RuntimeError((self._folder / "log").read_text())
            time.sleep(0.05)

    def stop(self) -> None:
        """Stop at once, as in a crash: SIGQUIT."""
        if self._server is not None:
            self._server.send_signal(3)
            self._server.wait()
            self._server = None

    def database(self, name: str) -> str:
        """Create an empty database; its URL, without the password."""
        import psycopg

        with psycopg.connect(self.address("postgres"), autocommit=True, password=PASSWORD) as connection:
            connection.execute(f'CREATE DATABASE "{name}"')
        return self.address(name)

    def address(self, database: str, *, user: str = USER) -> str:
        return f"postgresql://{user}@127.0.0.1:{self.port}/{database}"

    def _accepts(self) -> bool:
        assert PROGRAMS is not None
        words = [str(PROGRAMS / "pg_isready"), "-q", "-h", "127.0.0.1", "-p", str(self.port)]
        return subprocess.run(words, check=False).returncode == 0

    def _call(self, program: str, *words: object) -> None:
        assert PROGRAMS is not None
        done = subprocess.run(
            [PROGRAMS / program, *map(str, words)],
            user=self._user, cwd=self._folder, capture_output=True, text=True, check=False,
        )  # fmt: skip
        if done.returncode:
            raise RuntimeError(done.stderr)


@contextmanager
def running_postgres() -> Iterator[Postgres]:
    """A server that runs while the block does. PostgreSQL refuses to run as root, so another user runs it."""
    user = None
    if os.getuid() == 0:
        known = {entry.pw_name for entry in pwd.getpwall()}
        user = "postgres" if "postgres" in known else "nobody"
    folder = Path(tempfile.mkdtemp(prefix="postgres-", dir="/tmp"))  # below pytest's, only root may enter
    server = Postgres(folder, user=user)
    try:
        server.start()
        yield server
    finally:
        server.stop()
        shutil.rmtree(folder, ignore_errors=True)


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
        return port
