"""Local copies of objects: downloaded when they are opened, deleted when they exceed a size.

The copies of all caches share one limit. The least recently used go first, never one that a process has open:
a reader holds a shared advisory lock on the file.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from layerprobe.cache.common.disk import NO_LOCKS, TEMPORARY_PREFIX, abandoned_files, locked
from layerprobe.cache.common.places import mirrors_root, size_limit

LOCK = ".copies.lock"
LEAVE = 0.9  # of the limit, after a deletion: not every download needs one
# What may be deleted; all else is small.
PATTERNS = ("caches/*/*/*/shard-*.h5", f"caches/*/*/*/{TEMPORARY_PREFIX}*", "layerprobe-audio/**/*")


class LocalCopies:
    """The copies below `root`, by default those of this user."""

    def __init__(self, root: Path | None = None) -> None:
        self._root = root or mirrors_root()
        self._bytes: int | None = None  # of all copies, as far as this process knows

    @contextmanager
    def opened(self, path: Path, download: Callable[[], None], *, touch: bool = True) -> Iterator[Path]:
        """A copy that nobody deletes while the block runs; downloaded if there is none.

        touch: record that it was used, which changes the file's times.
        """
        while True:
            if not path.exists():
                download()
                self._added(path)
            try:
                file = path.open("rb", buffering=0)
            except FileNotFoundError:
                continue  # deleted before it was opened
            with file:
                try:
                    fcntl.flock(file, fcntl.LOCK_SH)
                except OSError as error:
                    if error.errno not in NO_LOCKS:
                        raise
                if not _is_linked(path, file.fileno()):
                    continue  # deleted before it was locked
                if touch:
                    with suppress(OSError):
                        os.utime(path)
                yield path
                return

    def add(self, path: Path) -> None:
        """Count a file that has become a copy, and delete others if there are too many."""
        with suppress(FileNotFoundError):
            self._added(path)

    def _added(self, path: Path) -> None:
        if self._bytes is not None:
            self._bytes += path.stat().st_size
        if self._bytes is None or self._bytes > size_limit():
            self._shrink(spare=path)

    def _shrink(self, *, spare: Path) -> None:
        """Delete the least recently used copies until the rest is below the limit."""
        limit = size_limit()
        with suppress(BlockingIOError), locked(self._root / LOCK, wait=False):
            files, unfinished = [], set()
            for path in (path for pattern in PATTERNS for path in self._root.glob(pattern)):
                if path.name.startswith(TEMPORARY_PREFIX):
                    unfinished.add(path.parent)
                    continue
                with suppress(FileNotFoundError):
                    if path.is_file():
                        stat = path.stat()
                        files.append((stat.st_mtime_ns, stat.st_size, path))
            for folder in unfinished:
                abandoned_files(folder, remove=True)
            self._bytes = sum(size for _, size, _ in files)
            if self._bytes <= limit:
                return
            for _, size, path in sorted(files):
                if self._bytes <= LEAVE * limit:
                    break
                if path != spare and _deleted(path):
                    self._bytes -= size


def _deleted(path: Path) -> bool:
    """Delete a copy that no process has open."""
    with suppress(OSError), path.open("rb", buffering=0) as file:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        path.unlink()
        return True
    return False


def _is_linked(path: Path, handle: int) -> bool:
    with suppress(FileNotFoundError):
        return path.stat().st_ino == os.fstat(handle).st_ino
    return False
