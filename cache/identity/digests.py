"""SHA-256 of files, remembered by path, size and times of change."""

from __future__ import annotations

import os
import sqlite3
import time
from collections import deque
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

from layerprobe.cache.common.places import local_cache
from layerprobe.cache.identity.hashing import (
    UNSETTLED,
    FileStamp,
    Look,
    ReadFile,
    Times,
    pack_times,
    read_files,
    times_now,
)
from layerprobe.cache.remote import audio

DATABASE = "digests.db"
BATCH = 512  # files looked up at a time
SAVE_SECONDS = 1.0  # between two commits, each of which waits for the disk: what a kill can lose
SHARE = 16  # files that a thread hashes at a time
PATIENCE = 30.0  # seconds to wait for another process to commit
SCHEMA = """CREATE TABLE IF NOT EXISTS digests
    (path BLOB PRIMARY KEY, size INTEGER, mtime INTEGER, ctime INTEGER, digest TEXT) WITHOUT ROWID"""


class HashedFile(NamedTuple):
    """A file's SHA-256 or why it could not be read, and what was seen of it at the same time.

    stamp: None for a file that could not be read, changed meanwhile or is too young to have one. seen: what
    `look` made of it; None if it was not read, because its digest is known, or changed meanwhile.
    """

    digest: str | OSError
    stamp: FileStamp | None
    seen: Any = None


class _Batch(NamedTuple):
    """Paths of which some are known and the others, in parts, being hashed."""

    paths: Sequence[str]
    known: Mapping[str, ReadFile]
    unknown: Sequence[str]
    parts: Sequence[Future[list[ReadFile]]]


class DigestCache:
    """Digests of files, cached in CACHE/digests.db; safe for many processes at once.

    The database saves time: where it cannot be read or written, every file is hashed again. It also knows the
    last content of files that are not on this machine. A file that was changed in place and had its old
    modification time restored is detected by its ctime.
    """

    def __init__(self, cache: Path) -> None:
        self._database = _connect(local_cache(cache) / DATABASE)
        self._unsaved: list[tuple[bytes, int, int, int, str | OSError]] = []
        self._saved = time.monotonic()

    def __enter__(self) -> DigestCache:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._save()
        if self._database is not None:
            self._database.close()
            self._database = None

    def hash_files(self, paths: Sequence[Path], *, workers: int = 4) -> dict[Path, str | OSError]:
        """Each path's SHA-256 as 64 hex digits, or why the file could not be read."""
        unique = list(dict.fromkeys(paths))
        digests = (hashed.digest for hashed in self.iter_hashes(unique, workers=workers))
        return dict(zip(unique, digests, strict=True))

    def iter_hashes(
        self, paths: Iterable[Path | str], *, workers: int = 4, look: Look | None = None
    ) -> Generator[HashedFile, None, None]:
        """The same of distinct paths, with what is seen of each file while it is open to be hashed."""
        remaining = iter(paths)
        with ThreadPoolExecutor(workers) as pool:
            ahead: deque[_Batch] = deque()  # two, so that the threads hash while one is saved and used
            try:
                while batch := [os.fspath(path) for path in islice(remaining, BATCH)]:
                    ahead.append(self._begin(batch, pool, look))
                    if len(ahead) > 1:
                        yield from self._finish(ahead.popleft())
                while ahead:
                    yield from self._finish(ahead.popleft())
            finally:
                pool.shutdown(cancel_futures=True)
                self._save()

    def _begin(self, paths: Sequence[str], pool: ThreadPoolExecutor, look: Look | None) -> _Batch:
        """Have those files hashed that are not known."""
        audio.ask(paths)
        known = self._look_up(paths)
        unknown = [path for path in paths if path not in known]
        # Several files a task: of a small file, handing it to a thread is most of the work.
        parts = [unknown[begin : begin + SHARE] for begin in range(0, len(unknown), SHARE)]
        return _Batch(paths, known, unknown, [pool.submit(read_files, part, look) for part in parts])

    def _finish(self, batch: _Batch) -> Iterator[HashedFile]:
        hashed = dict(zip(batch.unknown, (one for part in batch.parts for one in part.result()), strict=True))
        self._unsaved += [
            (_row_key(path), *one.times, one.digest) for path, one in hashed.items() if one.times is not None
        ]
        if time.monotonic() - self._saved > SAVE_SECONDS:
            self._save()
        for path in batch.paths:
            digest, times, seen = batch.known[path] if path in batch.known else hashed[path]
            yield HashedFile(digest, None if times in (None, UNSETTLED) else pack_times(times), seen)

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

    def _look_up(self, paths: Sequence[str]) -> dict[str, ReadFile]:
        """Digest and times of those files that have not changed since they were hashed."""
        keys = list(map(_row_key, paths))
        recorded = self._recorded(keys)
        found = {}
        for path, key in zip(paths, keys, strict=True) if recorded else ():
            entry = recorded.get(key)
            with suppress(OSError):
                if entry is not None and entry[1] == times_now(path):
                    found[path] = ReadFile(*entry)
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

    def _save(self) -> None:
        rows, self._unsaved = self._unsaved, []
        if self._database is not None and rows:
            with suppress(sqlite3.Error), self._database:
                self._database.executemany("INSERT OR REPLACE INTO digests VALUES (?, ?, ?, ?, ?)", rows)
        self._saved = time.monotonic()


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


def _row_key(path: Path | str) -> bytes:
    text = audio.place_of(path)
    if audio.is_audio_url(text):
        return os.fsencode(text)
    return os.fsencode(text if text.startswith("/") else Path(text).absolute())
