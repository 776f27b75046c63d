"""One file: its SHA-256, its size and times, and what its reader sees of it while it is open."""

from __future__ import annotations

import hashlib
import os
import threading
import time
from collections.abc import Callable, Sequence
from errno import EINVAL
from pathlib import Path
from stat import S_ISDIR, S_ISREG
from struct import pack
from typing import Any, NamedTuple

from layerprobe.cache.remote import audio

SMALL = 1 << 20  # bytes of a file that is read at once
SETTLED = 2_000_000_000  # ns; a younger file may change again within one tick of its file system's clock
STAMP_BYTES = 24

Times = tuple[int, int, int]  # size, mtime and ctime (ns): any change of a file changes one of them
UNSETTLED: Times = (-1, -1, -1)  # of a file too young to trust: hashed again, but known once it is deleted
FileStamp = bytes  # the same packed into `STAMP_BYTES`, stored for every clip of a run
Look = Callable[[int, int], Any]  # look(descriptor, size) of a file that was just hashed

_local = threading.local()  # buffer: memory into which a thread reads small files


class ReadFile(NamedTuple):
    """A file's SHA-256, or why it could not be read.

    times: to remember the digest under; None if the file changed while it was read, or could not be. seen:
    what `look` returned for the same content.
    """

    digest: str | OSError
    times: Times | None = None
    seen: Any = None


def read_files(paths: Sequence[str], look: Look | None = None) -> list[ReadFile]:
    """Several files, one after the other."""
    return [read_file(path, look) for path in paths]


def read_file(path: str, look: Look | None = None) -> ReadFile:
    """Hash a file. The times of one at a URL are those of its version there."""
    try:
        if audio.audio_url(path) is not None:
            with audio.available(path):
                return _read(path, look)._replace(times=audio.version_times(path) or UNSETTLED)
        mode = os.stat(path).st_mode  # noqa: PTH116 (for every clip)
        if not (S_ISREG(mode) or S_ISDIR(mode)):  # a pipe or a device may never end
            return ReadFile(OSError(EINVAL, "is not a file"))
        return _read(path, look)
    except OSError as error:
        return ReadFile(error)


def _read(path: str, look: Look | None) -> ReadFile:
    """Raises OSError."""
    handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        before = os.fstat(handle)
        digest = _digest(handle, size=before.st_size)
        seen = None if look is None else look(handle, before.st_size)
        after = os.fstat(handle)
    finally:
        os.close(handle)
    if times_of(after) != times_of(before):
        return ReadFile(digest)
    return ReadFile(digest, times_of(after) if _settled(after) else UNSETTLED, seen)


def _digest(handle: int, *, size: int) -> str:
    """For a small file, `hashlib.file_digest` would first clear a buffer that is several times as large."""
    if size >= SMALL:
        with open(handle, "rb", buffering=0, closefd=False) as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    if not hasattr(_local, "buffer"):
        _local.buffer = memoryview(bytearray(SMALL))
    digest = hashlib.sha256()
    while count := os.readv(handle, [_local.buffer]):
        digest.update(_local.buffer[:count])
    return digest.hexdigest()


def file_digest(path: Path) -> str | OSError:
    """A file's current SHA-256, without the cache; or why it could not be read."""
    return read_file(os.fspath(path)).digest


def file_stamp(path: Path) -> FileStamp | None:
    """A stamp that any later change of a file changes; None for a file that is unreadable or too young."""
    try:
        if audio.audio_url(path) is not None:
            times = audio.version_times(path)
            return None if times is None else pack_times(times)
        stat = path.stat()
    except OSError:
        return None
    return stamp_of(stat) if _settled(stat) else None


def stamp_of(stat: os.stat_result) -> FileStamp:
    """The stamp of a file with this status, also of one that is too young to be known by it."""
    return pack_times(times_of(stat))


def times_now(path: str) -> Times | None:
    """The times of a file that need not have been read. Raises OSError."""
    if audio.audio_url(path) is not None:
        return audio.version_times(path)
    return times_of(os.stat(path))  # noqa: PTH116 (for every clip)


def times_of(stat: os.stat_result) -> Times:
    return stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns


def pack_times(times: Times) -> FileStamp:
    return pack(">3q", *times)


def _settled(stat: os.stat_result) -> bool:
    return time.time_ns() - max(stat.st_mtime_ns, stat.st_ctime_ns) > SETTLED
