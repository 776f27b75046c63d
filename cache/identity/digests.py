"""SHA-256 of files, remembered by path, size and time of change."""

from __future__ import annotations

import hashlib
import os
import sqlite3
import time
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from errno import EINVAL
from itertools import islice
from pathlib import Path
from stat import S_ISDIR, S_ISREG
from struct import pack

DATABASE = "digests.db"
BATCH = 512  # files between two commits: what a kill can lose
PATIENCE = 30.0  # seconds to wait for another process to commit
SETTLED = 2_000_000_000  # ns; a younger file may change again within one tick of its file system's clock
TABLE = """CREATE TABLE IF NOT EXISTS digests
    (path BLOB PRIMARY KEY, size INTEGER, mtime INTEGER, ctime INTEGER, digest TEXT) WITHOUT ROWID"""

Times = tuple[int, int, int]  # size, mtime and ctime (ns): what a change of a file shows in
FileStamp = bytes  # the same in `STAMP_BYTES`, to be held for every clip of a run
STAMP_BYTES = 24


class DigestCache:
    """The memory, in CACHE/digests.db; safe for many processes at once.

    It saves time and nothing else: where it cannot be read or written every file is hashed again.
    A file that was changed in place and had its old time put back is seen by its ctime.
    """

    def __init__(self, cache: Path) -> None:
        self._memory = _connect(Path(cache) / DATABASE)

    def __enter__(self) -> DigestCache:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        if self._memory is not None:
            self._memory.close()
            self._memory = None

    def hash_files(self, paths: Sequence[Path], *, workers: int = 4) -> dict[Path, str | OSError]:
        """Each path's SHA-256 as 64 hex digits, or why it could not be read."""
        unique = list(dict.fromkeys(paths))
        return dict(zip(unique, self.iter_hashes(unique, workers=workers), strict=True))

    def iter_hashes(self, paths: Iterable[Path], *, workers: int = 4) -> Iterator[str | OSError]:
        """The same one after the other, of paths that differ; some hundreds are held at a time."""
        left = iter(paths)
        with ThreadPoolExecutor(workers) as pool:
            while batch := list(islice(left, BATCH)):
                known = [self._recall(path) for path in batch]
                unknown = [path for path, digest in zip(batch, known, strict=True) if digest is None]
                fresh = list(pool.map(_hash, unknown))
                self._remember(zip(unknown, fresh, strict=True))
                found = iter(fresh)
                for digest in known:
                    yield next(found)[0] if digest is None else digest

    def last_known(self, path: Path) -> str | None:
        """The digest of a file when it was last hashed, if that is remembered; it may be gone by now."""
        if self._memory is None:
            return None
        with suppress(sqlite3.Error):
            row = self._memory.execute("SELECT digest FROM digests WHERE path = ?", (_name(path),)).fetchone()
            return None if row is None else str(row[0])
        return None

    def _recall(self, path: Path) -> str | None:
        if self._memory is None:
            return None
        with suppress(OSError, sqlite3.Error):  # a lost memory costs time only
            row = self._memory.execute(
                "SELECT size, mtime, ctime, digest FROM digests WHERE path = ?", (_name(path),)
            ).fetchone()
            if row is not None and row[:3] == _times(path.stat()):
                return str(row[3])
        return None

    def _remember(self, fresh: Iterable[tuple[Path, tuple[str | OSError, Times | None]]]) -> None:
        rows = [(_name(path), *times, digest) for path, (digest, times) in fresh if times is not None]
        if self._memory is None or not rows:
            return
        with suppress(sqlite3.Error), self._memory:
            self._memory.executemany("INSERT OR REPLACE INTO digests VALUES (?, ?, ?, ?, ?)", rows)


def _connect(path: Path) -> sqlite3.Connection | None:
    """The database, made if there is none and made anew if it is damaged; None where it cannot be had."""
    for _ in range(2):
        memory = None
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            memory = sqlite3.connect(path, timeout=PATIENCE)
            with memory:
                memory.execute(TABLE)
            return memory
        except (sqlite3.OperationalError, OSError):
            if memory is not None:
                memory.close()
            return None  # cannot be opened, written or locked
        except sqlite3.DatabaseError:
            if memory is not None:
                memory.close()
            path.unlink(missing_ok=True)
    return None


def file_stamp(path: Path) -> FileStamp | None:
    """By which a later change of a file is seen; None if it cannot be read or is too young to show one."""
    try:
        stat = path.stat()
    except OSError:
        return None
    return pack(">3q", *_times(stat)) if _settled(stat) else None


def file_digest(path: Path) -> str | OSError:
    """A file's SHA-256 as it is now, asking no memory; or why it could not be read."""
    return _hash(path)[0]


def _hash(path: Path) -> tuple[str | OSError, Times | None]:
    """Digest, and the times to remember it by: None if the file is too young or changed while it was read."""
    try:
        mode = path.stat().st_mode
        if not (S_ISREG(mode) or S_ISDIR(mode)):  # a pipe or a device may never end
            return OSError(EINVAL, "is not a file"), None
        with path.open("rb", buffering=0) as file:
            before = os.fstat(file.fileno())
            digest = hashlib.file_digest(file, "sha256").hexdigest()
            after = os.fstat(file.fileno())
    except OSError as error:
        return error, None
    return digest, _times(after) if _settled(after) and _times(after) == _times(before) else None


def _settled(stat: os.stat_result) -> bool:
    return time.time_ns() - max(stat.st_mtime_ns, stat.st_ctime_ns) > SETTLED


def _times(stat: os.stat_result) -> Times:
    return stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns


def _name(path: Path) -> bytes:
    return os.fsencode(path.absolute())
