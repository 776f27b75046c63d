"""A cache on object storage: what it has, listed, and the small files of its stores in the mirror."""

from __future__ import annotations

import re
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import lru_cache
from pathlib import Path

from layerprobe.cache.common.disk import open_temporary, write_atomically
from layerprobe.cache.common.errors import StoreError
from layerprobe.cache.common.places import mirrors_root, outgoing, remote_url
from layerprobe.cache.remote.local_copies import LocalCopies
from layerprobe.cache.remote.objects import CONNECTIONS, ObjectFolder, StoredObject
from layerprobe.cache.store.location import records

LISTED_SECONDS = 10.0  # for which a listing is used
_RECORD = re.compile(r"[^/]+/[0-9a-f]{16}/extraction\.json")


@lru_cache
def remote_cache(folder: Path) -> RemoteCache:
    """The cache that this folder is the mirror of; one object in a process, which shares its listing."""
    url = remote_url(folder)
    if url is None:
        raise StoreError("is no mirror of object storage", where=str(folder))
    return RemoteCache(folder, url)


class RemoteCache:
    """The objects of a cache, and their copies in its mirror. Safe to use from many threads."""

    def __init__(self, folder: Path, url: str) -> None:
        self.folder = folder
        self.objects = ObjectFolder(url)
        self.copies = LocalCopies()
        self._lock = threading.RLock()
        self._listing: dict[str, StoredObject] = {}
        self._listed = -LISTED_SECONDS

    def listing(self, *, fresh: bool = False) -> dict[str, StoredObject]:
        """Every object by its name, as of a few seconds ago, or of now; with all that this process wrote."""
        with self._lock:
            if fresh or time.monotonic() - self._listed > LISTED_SECONDS:
                self._listing = self.objects.listing()
                self._listed = time.monotonic()
            return self._listing

    def forget(self) -> None:
        """List again at the next request."""
        with self._lock:
            self._listed = -LISTED_SECONDS

    def upload(self, file: Path, name: str, *, attempts: int | None = None) -> bool:
        """Upload a file if there is no object of that name, and list it; whether there was none."""
        stat = file.stat()
        created = self.objects.upload(file, name, attempts=attempts)
        with self._lock:
            self._listing = {**self._listing, name: StoredObject(stat.st_size, stat.st_mtime, "")}
        return created

    def refresh(self) -> None:
        """Copy what is new of small files: extraction.json, failures, costs, hashes. Raises StoreError."""
        with self._lock:
            listing = self.listing()
            missing = [
                name for name in listing if _RECORD.fullmatch(name) and not (self.folder / name).exists()
            ]
            with ThreadPoolExecutor(CONNECTIONS) as pool:
                for name, content in zip(missing, pool.map(self.objects.read, missing), strict=True):
                    path = self.folder / name
                    path.parent.mkdir(parents=True, exist_ok=True)
                    write_atomically(path, content)
            self._drop_deleted(listing)
            records.fetch(self.folder, self.objects, listing)

    def put_record(self, path: Path, text: str) -> str:
        """Upload a new store's extraction.json; its text, or that of another process that was first."""
        name = path.relative_to(self.folder).as_posix()
        place = outgoing(path.parent)
        place.mkdir(parents=True, exist_ok=True)
        file, temporary = open_temporary(place)  # locked, so that no process takes it for an abandoned one
        with file:
            file.write(text.encode("utf-8"))
            try:
                created = self.upload(temporary, name)
            finally:
                temporary.unlink()
        return text if created else self.objects.read(name).decode("utf-8")

    def _drop_deleted(self, listing: dict[str, StoredObject]) -> None:
        """Forget stores whose objects somebody has deleted."""
        known = self.folder.glob("*/*/extraction.json")
        gone = [path for path in known if path.relative_to(self.folder).as_posix() not in listing]
        if not gone:
            return
        listing = self.listing(fresh=True)
        for path in gone:
            if path.relative_to(self.folder).as_posix() not in listing:
                for file in (path, *path.parent.glob("shard-*.h5"), *path.parent.glob("*.csv")):
                    file.unlink(missing_ok=True)


def local_size() -> int:
    """Bytes of all local copies of objects."""
    total = 0
    for path in mirrors_root().rglob("*"):
        with suppress(OSError):
            total += path.stat().st_size if path.is_file() else 0
    return total
