"""Files are written completely or not at all; locks."""

from __future__ import annotations

import errno
import fcntl
import os
from pathlib import Path

import pytest

from layerprobe.cache.common import disk
from layerprobe.cache.common.disk import (
    abandoned_files,
    is_locked,
    locked,
    open_temporary,
    publish,
    write_atomically,
)


def test_text_is_replaced_atomically(tmp_path):
    target = tmp_path / "a.txt"
    for text in ["long " * 1000, "", "caf\udce9 é\n"]:
        write_atomically(target, text)
        assert target.read_bytes() == text.encode("utf-8", "surrogateescape")
        assert list(tmp_path.iterdir()) == [target]


@pytest.mark.parametrize("step", ["fsync", "replace"])
def test_a_failure_leaves_the_old_text_and_no_trace(tmp_path, monkeypatch, step):
    target = tmp_path / "a.txt"
    write_atomically(target, "old")

    def failing(*_: object) -> None:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(Path if step == "replace" else os, step, failing)
    with pytest.raises(OSError, match="Input/output"):
        write_atomically(target, "new")
    assert target.read_text() == "old"
    assert list(tmp_path.iterdir()) == [target]


def test_the_file_is_synced_then_renamed_then_its_folder_is_synced(tmp_path, monkeypatch):
    steps = []
    fsync, replace = os.fsync, Path.replace

    def spy_fsync(handle: int) -> None:
        steps.append(("sync", str(Path(f"/proc/self/fd/{handle}").readlink())))
        fsync(handle)

    def spy_replace(self: Path, target: Path) -> Path:
        steps.append(("rename", str(self)))
        return replace(self, target)

    monkeypatch.setattr(os, "fsync", spy_fsync)
    monkeypatch.setattr(Path, "replace", spy_replace)
    file, temporary = open_temporary(tmp_path)
    with file:
        publish(file, temporary, tmp_path / "a")
    assert steps == [("sync", str(temporary)), ("rename", str(temporary)), ("sync", str(tmp_path))]


def test_only_files_of_dead_writers_are_abandoned(tmp_path):
    file, living = open_temporary(tmp_path)
    with file:
        dead = tmp_path / ".tmp-dead"
        dead.touch()
        assert abandoned_files(tmp_path) == [dead]
        assert abandoned_files(tmp_path, remove=True) == [dead]
        assert list(tmp_path.iterdir()) == [living]
    assert abandoned_files(tmp_path) == [living]


def test_a_temporary_file_removed_before_it_is_locked_is_created_again(tmp_path, monkeypatch):
    real = fcntl.flock
    taken: list[Path] = []

    def flock(file, how):
        if not taken:
            taken.extend(tmp_path.iterdir())
            taken[0].unlink()  # another process cleans up, between the making and the locking
        return real(file, how)

    monkeypatch.setattr(fcntl, "flock", flock)
    file, path = open_temporary(tmp_path)
    with file:
        assert path not in taken
        assert path.exists()


def test_without_file_locks_writing_works_and_nothing_is_removed(tmp_path, monkeypatch):
    def flock(file, how):
        raise OSError(errno.ENOTSUP, "Operation not supported")

    monkeypatch.setattr(fcntl, "flock", flock)
    write_atomically(tmp_path / "a", "text")
    with locked(tmp_path / "lock", wait=False), locked(tmp_path / "lock", wait=False):
        pass
    (tmp_path / ".tmp-perhaps").touch()
    assert abandoned_files(tmp_path, remove=True) == []


def test_a_lock_is_exclusive_or_shared(tmp_path):
    lock = tmp_path / "lock"
    assert not is_locked(lock)
    with locked(lock, shared=True), locked(lock, shared=True):
        assert is_locked(lock)
        with pytest.raises(BlockingIOError), locked(lock, wait=False):
            raise RuntimeError("not reached")
    with locked(lock, wait=False):
        assert is_locked(lock)
    assert not is_locked(lock)


def test_shared_memory_that_is_full_or_missing_is_named(tmp_path, monkeypatch):
    assert disk.shared_memory_fault() is None
    monkeypatch.setattr(disk, "SHARED_MEMORY", tmp_path / "nosuch")  # macOS has no such folder
    assert disk.shared_memory_fault() is None
    monkeypatch.setattr(disk, "SHARED_MEMORY", tmp_path)
    monkeypatch.setattr(disk, "LEAST_SHARED_MEMORY", 1 << 62)
    assert disk.shared_memory_fault() == f"{tmp_path} is full"

    def refuse():
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr(disk.multiprocessing, "Lock", refuse)
    assert disk.shared_memory_fault() == f"{tmp_path} cannot be used (read-only file system)"
