"""File digests: always correct, cached where that is safe."""

from __future__ import annotations

import hashlib
import multiprocessing
import os
import sqlite3
import time
from pathlib import Path

import pytest

from layerprobe.cache.identity import digests, hashing
from layerprobe.cache.identity.digests import DigestCache

OLD = time.time_ns() - 3_600 * 10**9


def settle(path: Path) -> None:
    """Make a file old enough to be remembered, as far as its times can tell."""
    os.utime(path, ns=(OLD, OLD))


@pytest.fixture
def aged(monkeypatch):
    """No file is too young: ctime cannot be set, so what counts as young is."""
    monkeypatch.setattr(hashing, "SETTLED", -1)


@pytest.fixture
def reads(monkeypatch):
    """Paths that are hashed, in order."""
    seen: list[str] = []
    real = hashing.read_file

    def spy(path, look=None):
        seen.append(Path(path).name)
        return real(path, look)

    monkeypatch.setattr(hashing, "read_file", spy)
    return seen


def files(folder: Path, count: int) -> dict[Path, str]:
    folder.mkdir()
    made = {}
    for number in range(count):
        path = folder / f"{number}.wav"
        path.write_bytes(b"x" * number)
        made[path] = hashlib.sha256(b"x" * number).hexdigest()
    return made


def test_an_unchanged_file_is_hashed_once(tmp_path, aged, reads):
    made = files(tmp_path / "clips", 5)
    with DigestCache(tmp_path) as memory:
        assert memory.hash_files([*made, *made]) == made
    assert sorted(reads) == sorted(path.name for path in made)
    with DigestCache(tmp_path) as memory:
        assert memory.hash_files(list(made)) == made
    assert len(reads) == 5


@pytest.mark.parametrize("workers", [1, 4])
def test_a_file_that_cannot_be_read_does_not_stop_the_others(tmp_path, workers):
    made = files(tmp_path / "clips", 2)
    with DigestCache(tmp_path) as memory:
        found = memory.hash_files([tmp_path / "gone.wav", *made, tmp_path], workers=workers)
    assert isinstance(found.pop(tmp_path / "gone.wav"), FileNotFoundError)
    assert isinstance(found.pop(tmp_path), IsADirectoryError)
    assert found == made


def test_a_pipe_does_not_block(tmp_path):
    os.mkfifo(tmp_path / "pipe.wav")
    with DigestCache(tmp_path) as memory:
        found = memory.hash_files([tmp_path / "pipe.wav"])
    assert "is not a file" in str(found[tmp_path / "pipe.wav"])


def test_a_changed_file_never_gets_its_old_digest(tmp_path, aged):
    ((path, _),) = files(tmp_path / "clips", 1).items()
    with DigestCache(tmp_path) as memory:
        path.write_bytes(b"aaaa")
        settle(path)
        first = memory.hash_files([path])[path]
        path.write_bytes(b"bbbb")  # as long, and with its time put back
        settle(path)
        assert memory.hash_files([path])[path] == hashlib.sha256(b"bbbb").hexdigest() != first


def test_a_file_younger_than_the_clock_resolution_is_hashed_again(tmp_path, reads):
    ((path, digest),) = files(tmp_path / "clips", 1).items()
    with DigestCache(tmp_path) as memory:
        memory.hash_files([path])
        assert memory.hash_files([path]) == {path: digest}
        assert len(reads) == 2
        path.unlink()
        assert memory.last_known(path) == digest
        assert isinstance(memory.hash_files([path])[path], FileNotFoundError)


@pytest.mark.parametrize("content", [b"bbbb", b"a", b"aaaabbbb"])
def test_a_file_that_changes_while_it_is_hashed_is_not_remembered(tmp_path, aged, monkeypatch, content):
    path = tmp_path / "clip.wav"
    path.write_bytes(b"aaaa")
    real = hashing._digest

    def hash_and_change(file, *, size):
        digest = real(file, size=size)
        if path.read_bytes() != content:
            path.write_bytes(content)
            settle(path)
        return digest

    monkeypatch.setattr(hashing, "_digest", hash_and_change)
    with DigestCache(tmp_path) as memory:
        assert memory.hash_files([path])[path] == hashlib.sha256(b"aaaa").hexdigest()
        assert memory.last_known(path) is None
        assert memory.hash_files([path])[path] == hashlib.sha256(content).hexdigest()
        assert memory.last_known(path) == hashlib.sha256(content).hexdigest()


@pytest.mark.parametrize("size", [0, 1, hashing.SMALL - 1, hashing.SMALL, hashing.SMALL + 1])
def test_files_of_every_size_are_hashed_completely(tmp_path, size):
    path = tmp_path / "clip.wav"
    content = bytes(range(251)) * (size // 251 + 1)
    path.write_bytes(content[:size])
    assert hashing.file_digest(path) == hashlib.sha256(content[:size]).hexdigest()


def test_digests_are_saved_every_second_and_at_the_end(tmp_path, aged, monkeypatch):
    monkeypatch.setattr(digests, "BATCH", 2)
    made = files(tmp_path / "clips", 7)

    def saved() -> int:
        with DigestCache(tmp_path) as other:
            return len(list(other.all_known()))

    now = 0.0
    monkeypatch.setattr(digests.time, "monotonic", lambda: now)
    with DigestCache(tmp_path) as memory:
        hashes = memory.iter_hashes(list(made))
        for _ in range(2):
            next(hashes)
        assert saved() == 0
        now = 1.5
        next(hashes)
        assert saved() == 4
        hashes.close()  # by a caller that stops early
        assert saved() == 4
        assert memory.hash_files(list(made)) == made
        assert saved() == 7


def first_byte(handle: int, size: int) -> tuple[bytes, int]:
    return os.pread(handle, 1, 0), size


def test_what_is_seen_of_a_file_while_it_is_hashed_is_given_with_its_digest(tmp_path, aged, monkeypatch):
    monkeypatch.setattr(digests, "BATCH", 2)
    made = files(tmp_path / "clips", 5)
    paths = [*made, tmp_path / "gone.wav"]
    with DigestCache(tmp_path) as memory:
        found = list(memory.iter_hashes(paths, look=first_byte))
        assert [file.seen for file in found[:-1]] == [(b"x"[:number], number) for number in range(5)]
        assert [file.digest for file in found[:-1]] == list(made.values())
        assert found[-1].seen is found[-1].stamp is None
        again = list(memory.iter_hashes(paths, look=first_byte))  # not read, so nothing is seen
        assert [file.seen for file in again] == [None] * 6
        assert [file.stamp for file in again] == [file.stamp for file in found]


def test_nothing_counts_as_seen_of_a_file_that_changes_meanwhile(tmp_path, aged):
    path = tmp_path / "clip.wav"
    path.write_bytes(b"aaaa")

    def look(handle: int, size: int) -> int:
        path.write_bytes(b"bbbbb")
        return size

    assert hashing.read_file(str(path), look) == (hashlib.sha256(b"aaaa").hexdigest(), None, None)


def test_renamed_files_keep_their_digest_and_relative_paths_share_the_entry(
    tmp_path, aged, reads, monkeypatch
):
    ((path, digest),) = files(tmp_path / "clips", 1).items()
    with DigestCache(tmp_path) as memory:
        memory.hash_files([path])
        monkeypatch.chdir(tmp_path)
        assert memory.hash_files([Path("clips/0.wav")]) == {Path("clips/0.wav"): digest}
        assert len(reads) == 1
        path.rename(tmp_path / "b.wav")
        assert memory.hash_files([tmp_path / "b.wav"]) == {tmp_path / "b.wav": digest}


@pytest.mark.parametrize("content", [b"this is no database", b"SQLite format 3\0" + b"\xff" * 5000])
def test_a_damaged_database_is_replaced(tmp_path, aged, reads, content):
    made = files(tmp_path / "clips", 2)
    (tmp_path / "digests.db").write_bytes(content)
    for _ in range(2):
        with DigestCache(tmp_path) as memory:
            assert memory.hash_files(list(made)) == made
    assert len(reads) == 2


def test_without_a_writable_folder_nothing_is_cached(tmp_path, aged, reads):
    made = files(tmp_path / "clips", 2)
    (tmp_path / "file").touch()
    with DigestCache(tmp_path / "file" / "cache") as memory:
        assert memory.hash_files(list(made)) == made
        assert memory.hash_files(list(made)) == made
    assert len(reads) == 4


def test_with_a_locked_database_nothing_is_cached(tmp_path, aged, monkeypatch):
    made = files(tmp_path / "clips", 2)
    monkeypatch.setattr(digests, "PATIENCE", 0.05)
    with DigestCache(tmp_path) as memory:
        holder = sqlite3.connect(tmp_path / "digests.db", isolation_level=None)
        holder.execute("BEGIN EXCLUSIVE")
        assert memory.hash_files(list(made)) == made
        with DigestCache(tmp_path) as another:
            assert another.hash_files(list(made)) == made
        holder.close()


def _hash_all(cache: Path, paths: list[Path]) -> dict[Path, str | OSError]:
    with DigestCache(cache) as memory:
        return memory.hash_files(paths)


def test_eight_processes_share_one_database(tmp_path):
    made = files(tmp_path / "clips", 300)
    with multiprocessing.get_context("spawn").Pool(8) as pool:
        jobs = [pool.apply_async(_hash_all, (tmp_path, list(made))) for _ in range(8)]
        assert all(job.get() == made for job in jobs)
