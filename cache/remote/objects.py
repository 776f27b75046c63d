"""Objects below a URL: list, read, download and upload them, each as a whole."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from layerprobe.cache.common.disk import open_temporary, publish
from layerprobe.cache.remote.retries import (
    DamagedError,
    TransferError,
    is_conflict,
    unsupported,
    with_retries,
)
from layerprobe.cache.remote.services import open_service

CONNECTIONS = 8  # transfers at a time
# Options that write only new objects.
_CREATE: dict[str, Any] = {"mode": "create"}
_IF_ABSENT: dict[str, dict[str, Any]] = {"az": {"overwrite": False}}


@dataclass(frozen=True)
class StoredObject:
    """An object as it is listed: its size in bytes, when it was written (seconds since 1970), its ETag."""

    nbytes: int
    modified: float
    etag: str


class ObjectFolder:
    """The objects below `scheme://bucket/prefix`; names are relative to it. Safe to use from many threads.

    Every method tries again what may pass, and raises the errors of `with_retries`.
    """

    def __init__(self, url: str) -> None:
        self.url = url
        self._scheme, _, self._prefix = url.partition("://")

    def listing(self) -> dict[str, StoredObject]:
        """Every object by its name; empty where nothing was written yet. Raises AbsentError: no bucket."""

        def find() -> dict[str, Any]:
            files = open_service(self._scheme)
            files.invalidate_cache()
            try:
                found = dict(files.find(self._prefix, detail=True))
            except FileNotFoundError:
                found = {}
            if not found:
                _check_bucket(files, self._prefix.partition("/")[0])
            return found

        found = with_retries(find, where=self.url)
        start = self._prefix + "/"
        return {
            name.removeprefix(start): _described(info)
            for name, info in ((name.lstrip("/"), info) for name, info in found.items())
            if name.startswith(start) and info.get("type", "file") == "file"
        }

    def describe(self, name: str) -> StoredObject:
        """One object; its ETag is empty, its size -1, where the service does not say. Raises AbsentError."""

        def info() -> dict[str, Any]:
            files = open_service(self._scheme)
            try:
                return dict(files.info(self._path(name)))
            except FileNotFoundError as error:
                raise error.__cause__ or error from None  # over HTTP, fsspec makes it of every error

        return _described(with_retries(info, where=self._where(name)))

    def read(self, name: str) -> bytes:
        """The content of a small object."""
        return with_retries(
            lambda: bytes(open_service(self._scheme).cat_file(self._path(name))), where=self._where(name)
        )

    def download(self, name: str, target: Path, *, fault: Callable[[Path], str]) -> None:
        """Write an object to `target`, which appears complete or not at all.

        fault: says what is wrong with a downloaded file, or "". A faulty one is downloaded again, as a lost
        connection is; DamagedError says what is wrong with the last.
        """
        wrong = ""

        def get() -> None:
            nonlocal wrong
            file, temporary = open_temporary(target.parent)
            try:
                open_service(self._scheme).get_file(self._path(name), str(temporary))
                if wrong := fault(temporary):
                    raise ConnectionError(wrong)
                publish(file, temporary, target)
            finally:
                file.close()
                temporary.unlink(missing_ok=True)

        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            with_retries(get, where=self._where(name))
        except TransferError as error:
            if wrong:
                raise DamagedError(f"damaged ({wrong})", where=self._where(name)) from error
            raise

    def upload(self, file: Path, name: str, *, attempts: int | None = None) -> bool:
        """Write a file as an object, if there is none of that name; whether there was none.

        Objects appear complete or not at all. A service without conditional writes replaces the object, so
        names must follow from contents (but for extraction.json, which says the same whoever writes it).
        """
        path = self._path(name)

        def put() -> bool:
            files = open_service(self._scheme)
            try:
                files.put_file(str(file), path, **_IF_ABSENT.get(self._scheme, _CREATE))
            except FileExistsError:
                return False
            except OSError as error:
                if is_conflict(error):
                    return False
                if not unsupported(error):
                    raise
                files.put_file(str(file), path)
            return True

        return with_retries(put, where=self._where(name), attempts=attempts)

    def _path(self, name: str) -> str:
        return f"{self.url}/{name}"

    def _where(self, name: str) -> str:
        return f"{self.url}/{name}"


def _check_bucket(files: Any, bucket: str) -> None:
    """Raise FileNotFoundError if there is no such bucket, rather than an empty one."""
    try:
        files.ls(bucket)
    except FileNotFoundError as error:
        raise FileNotFoundError(f"the bucket does not exist: {bucket}") from error


def _described(info: dict[str, Any]) -> StoredObject:
    times = (info.get(key) for key in ("LastModified", "updated", "last_modified", "created", "mtime"))
    time = next((time for time in times if time), 0.0)
    if isinstance(time, str):
        time = datetime.fromisoformat(time)
    etags = (info.get(key) for key in ("ETag", "etag", "Content-MD5", "Digest", "Last-Modified"))
    etag = str(next((etag for etag in etags if etag), "")).strip('"')
    size = -1 if info.get("size") is None else int(info["size"])
    return StoredObject(size, time.timestamp() if isinstance(time, datetime) else float(time), etag)
