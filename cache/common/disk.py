"""Atomic files, advisory locks and free space.

A file is written under a temporary name in its own folder, synced, renamed to its target, and the folder is
synced: readers see the complete file or none, whenever a process is killed. The writer holds an advisory
lock on the temporary file, which the kernel drops when the process dies: a file that can be locked has no
living writer.
"""

from __future__ import annotations

import errno
import fcntl
import io
import multiprocessing
import os
import shutil
import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from io import FileIO
from pathlib import Path

from layerprobe.cache.common.errors import InputError, StoreError
from layerprobe.cache.common.text import format_bytes

FREE_SPACE = "free some space, choose fewer --layers or --stats, or another --cache"
SHARED_MEMORY = Path("/dev/shm")  # where Linux keeps what processes share
LEAST_SHARED_MEMORY = 64 << 20  # bytes: several batches of audio
MORE_SHARED_MEMORY = "give the container more shared memory (docker run --shm-size 1g)"
TEMPORARY_PREFIX = ".tmp-"
FORBIDDEN = {errno.EACCES, errno.EPERM, errno.EROFS}
SHARE = "give another --cache, or let its owner share this one (docs/cache.md says how)"
NO_LOCKS = {errno.ENOSYS, errno.ENOTSUP, errno.ENOLCK}  # a file system without locks: continue without them


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


@contextmanager
def atomic_file(target: Path) -> Iterator[io.BufferedRandom]:
    """Open a file for reading and writing that replaces `target` when the block ends without an error.

    Raises OSError, and then leaves the old file in place.
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
    """Replace a file's content, completely or not at all. Raises OSError.

    content: text is written as UTF-8, with the bytes of file names that are not UTF-8 unchanged.
    """
    with atomic_file(target) as file:
        file.write(content if isinstance(content, bytes) else content.encode("utf-8", "surrogateescape"))


def check_overwrite(out: Path, *, force: bool, inputs: Sequence[Path] = ()) -> None:
    """Raise InputError if writing `out` would replace a file that the command reads, or any file without
    `force`."""
    if not os.path.exists(out):  # noqa: PTH110 (a name that is too long is no error here)
        return
    if any(path.exists() and out.samefile(path) for path in inputs):
        do = "choose another --out"
        raise InputError("is read by this command and would be overwritten", where=str(out), do=do)
    if not force:
        do = "choose another --out, or replace it with --force"
        raise InputError("exists already", where=str(out), do=do)


def open_temporary(folder: Path) -> tuple[FileIO, Path]:
    """Create a temporary file, locked while it is open; for targets whose name depends on the content."""
    while True:
        path = folder / f"{TEMPORARY_PREFIX}{os.urandom(8).hex()}"
        file = FileIO(path, "x+")
        with suppress(BlockingIOError, FileNotFoundError):
            _lock(file.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)
            if path.stat().st_ino == os.fstat(file.fileno()).st_ino:
                return file, path
        file.close()  # another process removed it as abandoned before it was locked


def publish(file: FileIO, temporary: Path, target: Path) -> None:
    """Sync a finished temporary file and rename it to its target. It stays open."""
    os.fsync(file.fileno())
    temporary.replace(target)
    fsync_folder(target.parent)


def abandoned_files(folder: Path, *, remove: bool = False) -> list[Path]:
    """Temporary files that dead processes left behind; never the file of a living writer.

    remove: also delete them.
    """
    abandoned = []
    for path in sorted(folder.glob(f"{TEMPORARY_PREFIX}*")):
        # A file of another user may be unreadable, or its folder may let only its owner remove it.
        with suppress(FileNotFoundError, PermissionError), path.open("rb", buffering=0) as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                continue  # its writer lives, or the file system has no locks to tell
            if remove:
                path.unlink()  # under the lock, so that a writer that locks it next sees that it is deleted
            abandoned.append(path)
    return abandoned


@contextmanager
def locked(path: Path, *, shared: bool = False, wait: bool = True) -> Iterator[None]:
    """Hold a lock file, exclusively or shared. Raises BlockingIOError if it is taken and `wait` is false."""
    handle = _open_lock(path)
    try:
        _lock(handle, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | (0 if wait else fcntl.LOCK_NB))
        yield
    finally:
        os.close(handle)


def _open_lock(path: Path) -> int:
    """Open a lock file; one of another user that can only be read will do.

    New lock files can be written by everyone who may write to their folder, whatever the umask: they are
    empty, and some network file systems grant exclusive locks only on what may be written.
    """
    try:
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
    except PermissionError as error:
        try:
            return os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            raise error from None
    mode, writers = os.fstat(handle).st_mode, path.parent.stat().st_mode & 0o022
    with suppress(PermissionError):
        if mode | writers * 3 != mode:
            os.fchmod(handle, stat.S_IMODE(mode) | writers * 3)  # 0o020 → 0o060: to read and to write
    return handle


def is_locked(path: Path) -> bool:
    """Whether any process holds a lock file, exclusively or shared."""
    try:
        handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except (FileNotFoundError, PermissionError):  # nobody's, or a lock that this user cannot look at
        return False
    try:
        _lock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(handle)
    return False


def _lock(handle: int, operation: int) -> None:
    try:
        fcntl.flock(handle, operation)
    except OSError as error:
        if error.errno not in NO_LOCKS:
            raise


def free_bytes(folder: Path) -> int:
    """Free bytes on the disk of a folder that exists or will be created. Raises StoreError."""
    existing = next(path for path in (folder.absolute(), *folder.absolute().parents) if path.exists())
    try:
        return shutil.disk_usage(existing).free
    except OSError as error:
        raise StoreError(f"its free space cannot be read ({error.strerror})", where=str(existing)) from error


def require_space(folder: Path, nbytes: int, *, do: str = FREE_SPACE) -> None:
    """Raise StoreError if the disk of a folder has less than `nbytes` free."""
    free = free_bytes(folder)
    if nbytes > free:
        what = f"needs {format_bytes(nbytes)}, but {format_bytes(free)} are free"
        raise StoreError(what, where=str(folder), do=do)


def shared_memory_fault() -> str | None:
    """Why processes cannot hand each other arrays, or None. Containers may lack shared memory."""
    try:
        multiprocessing.Lock()
        free = shutil.disk_usage(SHARED_MEMORY).free if SHARED_MEMORY.is_dir() else LEAST_SHARED_MEMORY
    except OSError as error:
        return f"{SHARED_MEMORY} cannot be used ({(error.strerror or str(error)).lower()})"
    return f"{SHARED_MEMORY} is full" if free < LEAST_SHARED_MEMORY else None
