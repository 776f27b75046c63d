"""Files that are there whole or not at all, whatever is killed and whenever.

A file is written under a temporary name in its own folder, synced, renamed over its target, and the folder
is synced. Its writer holds an advisory lock on it, which the kernel drops when the process dies: a temporary
file that can be locked has no living writer.
"""

from __future__ import annotations

import errno
import fcntl
import io
import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from io import FileIO
from pathlib import Path

from layerprobe.cache.common.errors import StoreError
from layerprobe.cache.common.text import format_bytes

ELSEWHERE = "free some space, choose fewer --layers or --stats, or another --cache"

TEMPORARY_PREFIX = ".tmp-"
LOCKLESS = {errno.ENOSYS, errno.ENOTSUP, errno.ENOLCK}  # a file system without locks: we go on without


def fsync_folder(folder: Path) -> None:
    """Make the folder's entries (new names, renames, removals) survive a power cut."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def fsync_file(path: Path) -> None:
    """Make a file that another library wrote survive a power cut."""
    with path.open("rb") as file:
        os.fsync(file.fileno())


def open_temporary(folder: Path) -> tuple[FileIO, Path]:
    """A new file for reading and writing, locked for as long as it is open; and its path."""
    while True:
        path = folder / f"{TEMPORARY_PREFIX}{secrets.token_hex(8)}"
        file = FileIO(path, "x+")
        with suppress(BlockingIOError, FileNotFoundError):
            _lock(file.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)
            if path.stat().st_ino == os.fstat(file.fileno()).st_ino:
                return file, path
        file.close()  # taken for a dead one and cleaned away, between its making and its locking


def publish(file: FileIO, temporary: Path, target: Path) -> None:
    """Give the finished temporary file its name, durably. It stays open."""
    os.fsync(file.fileno())
    temporary.replace(target)
    fsync_folder(target.parent)


@contextmanager
def atomic_file(target: Path) -> Iterator[io.BufferedRandom]:
    """Open a file for reading and writing that replaces `target` when the block ends without an error.

    Raises OSError and then leaves the old file in place.
    """
    file, temporary = open_temporary(target.parent)
    try:
        with io.BufferedRandom(file) as buffered:
            yield buffered
            buffered.flush()
            publish(file, temporary, target)
    finally:
        temporary.unlink(missing_ok=True)


def write_atomically(target: Path, content: str | bytes) -> None:
    """Replace a file's content completely or not at all. Raises OSError.

    content: text is encoded as UTF-8; bytes of file names that are not UTF-8 keep their value.
    """
    with atomic_file(target) as file:
        file.write(content if isinstance(content, bytes) else content.encode("utf-8", "surrogateescape"))


def abandoned_files(folder: Path, *, remove: bool = False) -> list[Path]:
    """Temporary files that dead writers left behind; a living writer's file is never among them.

    remove: take them away.
    """
    dead = []
    for path in sorted(folder.glob(f"{TEMPORARY_PREFIX}*")):
        with suppress(FileNotFoundError), path.open("rb", buffering=0) as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                continue  # its writer lives, or the file system has no locks to tell
            if remove:
                path.unlink()  # under the lock, so that a writer who comes to it now sees that it is gone
            dead.append(path)
    return dead


@contextmanager
def locked(path: Path, *, shared: bool = False, wait: bool = True) -> Iterator[None]:
    """Hold a lock file, alone or shared. Raises BlockingIOError if it is held and `wait` is false."""
    handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
    try:
        _lock(handle, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | (0 if wait else fcntl.LOCK_NB))
        yield
    finally:
        os.close(handle)


def is_locked(path: Path) -> bool:
    """Whether somebody holds a lock file, shared or not."""
    try:
        handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        _lock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(handle)
    return False


def _lock(handle: int, how: int) -> None:
    try:
        fcntl.flock(handle, how)
    except OSError as error:
        if error.errno not in LOCKLESS:
            raise


def free_bytes(folder: Path) -> int:
    """Bytes free where a folder is, or will be. Raises StoreError."""
    there = folder.absolute()
    while not there.exists() and there != there.parent:
        there = there.parent
    try:
        return shutil.disk_usage(there).free
    except OSError as error:
        raise StoreError(f"its free space cannot be read ({error.strerror})", where=str(there)) from error


def require_space(folder: Path, nbytes: int, *, do: str = ELSEWHERE) -> None:
    """Raises StoreError where the disk cannot hold so many bytes more."""
    free = free_bytes(folder)
    if nbytes > free:
        raise StoreError(
            f"needs {format_bytes(nbytes)}, but {format_bytes(free)} are free",
            where=str(folder),
            do=do,
        )
