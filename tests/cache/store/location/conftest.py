"""One S3 server for the tests of this folder, emptied before each."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.s3_server import Server, s3_server, use


@pytest.fixture(scope="session")
def running() -> Iterator[Server]:
    with s3_server() as server:
        yield server


@pytest.fixture
def s3(running: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Server:
    use(running, tmp_path, monkeypatch)
    return running
