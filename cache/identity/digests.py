"""SHA-256 of files, remembered by path, size and times of change."""

from __future__ import annotations

import hashlib
import os
import sqlite3
import time
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from errno import EINVAL
from io import FileIO
from itertools import islice
from pathlib import Path
from stat import S_ISDIR, S_ISREG
from struct import pack

from layerprobe.cache.common.places import local_cache
from layerprobe.cache.remote import audio

DATABASE = "digests.db"
BATCH = 512  # files between two commits: what a kill can lose
SHARE = 16  # files that a thread hashes at a time
SMALL = 1 << 20  # bytes of a file that is read at once
PATIENCE = 30.0  # seconds to wait for another process to commit
SETTLED = 2_000_000_000  # ns; a younger file may change again within one tick of its file system's clock
SCHEMA = """CREATE TABLE IF NOT EXISTS digests
    (path BLOB PRIMARY KEY, size INTEGER, mtime INTEGER, ctime INTEGER, digest TEXT) WITHOUT ROWID"""

Times = tuple[int, int, int]  # size, mtime and ctime (ns): any change of a file changes one of them
UNSETTLED: Times = (-1, -1, -1)  # of a file too young to trust: hashed again, but known once it is deleted
FileStamp = bytes  # the same packed into `STAMP_BYTES`, stored for every clip of a run
STAMP_BYTES = 24
HashedFile = tuple[str | OSError, FileStamp | None]


class DigestCache:
    """Digests of files, cached in CACHE/digests.db; safe for many processes at once.

    The database saves time: where it cannot be read or written, every file is hashed again. It also knows the
    last content of files that are not on this machine. A file that was changed in place and had its old
    modification time restored is detected by its ctime.
    """

    def __init__(self, cache: Path) -> None:
        self._database = _connect(local_cache(cache) / DATABASE)

    def __enter__(self) -> DigestCache:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        if self._database is not None:
            self._database.close()
            self._database = None

    def hash_files(self, paths: Sequence[Path], *, workers: int = 4) -> dict[Path, str | OSError]:
        """Each path's SHA-256 as 64 hex digits, or why the file could not be read."""
        unique = list(dict.fromkeys(paths))
        digests = (digest for digest, _ in self.iter_hashes(unique, workers=workers))
        return dict(zip(unique, digests, strict=True))

    def iter_hashes(self, paths: Iterable[Path | str], *, workers: int = 4) -> Iterator[HashedFile]:
        """The same of distinct paths, in batches of `BATCH` files, each with the stamp of the hashed content.

        The stamp is None for a file that could not be read, changed meanwhile or is too young to have one.
        """
        remaining = iter(paths)
        with ThreadPoolExecutor(workers) as pool:
            while batch := [os.fspath(path) for path in islice(remaining, BATCH)]:
                audio.ask(batch)
                known = self._look_up(batch)
                unknown = [Path(path) for path in batch if path not in known]
                # Several files a task: of a small file, handing it to a thread is most of the work.
                parts = [unknown[begin : begin + SHARE] for begin in range(0, len(unknown), SHARE)]
                hashed = [result for part in pool.map(_hash_all, parts) for result in part]
                self._save(zip(unknown, hashed, strict=True))
                computed = iter(hashed)
                for path in batch:
                    found = known.get(path)
                    digest, times = next(computed) if found is None else found
                    yield digest, None if times in (None, UNSETTLED) else _pack(times)

    def last_known(self, path: Path) -> str | None:
        """The digest of a file when it was last hashed, if known; the file need not exist any more."""
        return next((digest for digest, _ in self._recorded([_row_key(path)]).values()), None)

    def all_known(self) -> Iterator[tuple[str, str]]:
        """Every path that was hashed, absolute, and its last digest."""
        with suppress(sqlite3.Error):
            if self._database is not None:
                for path, digest in self._database.execute("SELECT path, digest FROM digests"):
                    yield os.fsdecode(path), str(digest)

    def remember(self, known: Iterable[tuple[str, str]]) -> None:
        """Paths and digests of files on other machines, for `last_known`; what is known already stays."""
        rows = [(_row_key(path), *UNSETTLED, digest) for path, digest in known]
        with suppress(sqlite3.Error):
            if self._database is not None:
                with self._database:
                    self._database.executemany("INSERT OR IGNORE INTO digests VALUES (?, ?, ?, ?, ?)", rows)

    def _look_up(self, paths: Sequence[str]) -> dict[str, tuple[str, Times]]:
        """Digest and times of those files that have not changed since they were hashed."""
        recorded = self._recorded(list(map(_row_key, paths)))
        found = {}
        for path in paths:
            entry = recorded.get(_row_key(path))
            with suppress(OSError):
                if entry is not None and entry[1] == _times_now(path):
                    found[path] = entry
        return found

    def _recorded(self, keys: Sequence[bytes]) -> dict[bytes, tuple[str, Times]]:
        """Digest and times of each of these rows that exists, in one query: at most `BATCH` rows."""
        if self._database is None:
            return {}
        marks = ",".join("?" * len(keys))
        query = f"SELECT path, size, mtime, ctime, digest FROM digests WHERE path IN ({marks})"
        with suppress(sqlite3.Error):
            rows = self._database.execute(query, keys)
            return {path: (str(digest), (size, mtime, ctime)) for path, size, mtime, ctime, digest in rows}
        return {}

    def _save(self, hashed: Iterable[tuple[Path, tuple[str | OSError, Times | None]]]) -> None:
        rows = [(_row_key(path), *times, digest) for path, (digest, times) in hashed if times is not None]
        if self._database is None or not rows:
            return
        with suppress(sqlite3.Error), self._database:
            self._database.executemany("INSERT OR REPLACE INTO digests VALUES (?, ?, ?, ?, ?)", rows)


def _connect(path: Path) -> sqlite3.Connection | None:
    """Open the database; create a missing one, replace a damaged one. None where that is impossible."""
    for _ in range(2):
        database = None
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            database = sqlite3.connect(path, timeout=PATIENCE)
            with database:
                database.execute(SCHEMA)
            return database
        except (sqlite3.DatabaseError, OSError) as error:
            if database is not None:
                database.close()
            if isinstance(error, sqlite3.OperationalError | OSError):
                return None  # cannot be opened, written or locked
            with suppress(OSError):
                path.unlink(missing_ok=True)
    return None


def file_stamp(path: Path) -> FileStamp | None:
    """A stamp that any later change of a file changes; None for a file that is unreadable or too young."""
    try:
        if audio.audio_url(path) is not None:
            times = audio.version_times(path)
            return None if times is None else _pack(times)
        stat = path.stat()
    except OSError:
        return None
    return stamp_of(stat) if _settled(stat) else None


def stamp_of(stat: os.stat_result) -> FileStamp:
    """The stamp of a file with this status, also of one that is too young to be known by it."""
    return _pack(_times(stat))


def file_digest(path: Path) -> str | OSError:
    """A file's current SHA-256, without the cache; or why it could not be read."""
    return _hash(path)[0]


def _hash_all(paths: Sequence[Path]) -> list[tuple[str | OSError, Times | None]]:
    return [_hash(path) for path in paths]


def _hash(path: Path) -> tuple[str | OSError, Times | None]:
    """Digest, and the times to store it under: None if the file changed while it was read."""
    if audio.audio_url(path) is not None:
        return _hash_copy(path)
    try:
        mode = path.stat().st_mode
        if not (S_ISREG(mode) or S_ISDIR(mode)):  # a pipe or a device may never end
            return OSError(EINVAL, "is not a file"), None
        with path.open("rb", buffering=0) as file:
            before = os.fstat(file.fileno())
            digest = _digest(file, size=before.st_size)
            after = os.fstat(file.fileno())
    except OSError as error:
        return error, None
    if _times(after) != _times(before):
        return digest, None
    return digest, _times(after) if _settled(after) else UNSETTLED


def _hash_copy(path: Path) -> tuple[str | OSError, Times | None]:
    """The same of a file at a URL: the times are those of its version there."""
    try:
        with audio.available(path), path.open("rb", buffering=0) as file:
            digest = _digest(file, size=os.fstat(file.fileno()).st_size)
            return digest, audio.version_times(path) or UNSETTLED
    except OSError as error:
        return error, None


def _times_now(path: str) -> Times | None:
    if audio.audio_url(path) is not None:
        return audio.version_times(path)
    return _times(os.stat(path))  # noqa: PTH116 (for every clip)


def _digest(file: FileIO, *, size: int) -> str:
    """For a small file, `hashlib.file_digest` would first clear a buffer that is several times as large."""
    if size >= SMALL:
        return hashlib.file_digest(file, "sha256").hexdigest()
    digest = hashlib.sha256()
    while data := file.read(SMALL):
        digest.update(data)
    return digest.hexdigest()


def _settled(stat: os.stat_result) -> bool:
    return time.time_ns() - max(stat.st_mtime_ns, stat.st_ctime_ns) > SETTLED


def _times(stat: os.stat_result) -> Times:
    return stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns


def _pack(times: Times) -> FileStamp:
    return pack(">3q", *times)


def _row_key(path: Path | str) -> bytes:
    text = audio.place_of(path)
    if audio.is_audio_url(text):
        return os.fsencode(text)
    return os.fsencode(text if text.startswith("/") else Path(text).absolute())
