"""Copies keep to a size: the least recently used go, never one that is open."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from layerprobe.cache.common.disk import open_temporary
from layerprobe.cache.remote.local_copies import LocalCopies


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("LAYERPROBE_MIRROR_SIZE", "3000")
    folder = tmp_path / "caches" / "c" / "m" / "f"
    folder.mkdir(parents=True)
    return folder


def copy(folder: Path, number: int, *, age: int = 0) -> Path:
    path = folder / f"shard-{number}.h5"
    path.write_bytes(bytes(1000))
    os.utime(path, (1_000_000 - age, 1_000_000 - age))
    return path


def test_the_least_recently_used_go_first(folder, tmp_path):
    old, older, new = copy(folder, 1, age=1), copy(folder, 2, age=2), copy(folder, 3)
    kept = folder / "extraction.json"
    kept.write_bytes(bytes(5000))  # no copy of a shard
    copies = LocalCopies(tmp_path)
    added = folder / "shard-4.h5"
    with copies.opened(added, lambda: added.write_bytes(bytes(1000)) and None) as path:
        assert path == added
    assert (old.exists(), older.exists(), new.exists(), added.exists()) == (False, False, True, True)
    assert kept.exists()


def test_one_that_is_read_becomes_the_newest_and_is_not_deleted_while_it_is_open(folder, tmp_path):
    first, second = copy(folder, 1, age=9), copy(folder, 2, age=5)
    copies = LocalCopies(tmp_path)
    with copies.opened(first, lambda: None):
        copies.add(copy(folder, 3))
        copies.add(copy(folder, 4))
        assert (first.exists(), second.exists()) == (True, False)
        os.utime(first, (0, 0))
        LocalCopies(tmp_path).add(copy(folder, 5))  # as another process does
        assert first.exists()
    LocalCopies(tmp_path).add(copy(folder, 6))
    assert not first.exists()


def test_an_error_of_the_reader_is_not_hidden(folder, tmp_path):
    with (
        pytest.raises(FileNotFoundError, match="of the reader"),
        LocalCopies(tmp_path).opened(copy(folder, 1), lambda: None),
    ):
        raise FileNotFoundError("of the reader")


def test_what_cannot_be_downloaded_is_the_downloads_error(folder, tmp_path):
    def download() -> None:
        raise FileNotFoundError("gone")

    with (
        pytest.raises(FileNotFoundError, match="gone"),
        LocalCopies(tmp_path).opened(folder / "x.h5", download),
    ):
        pass


def test_downloads_that_were_killed_are_removed_and_those_of_living_processes_stay(folder, tmp_path):
    audio = tmp_path / "layerprobe-audio" / "https" / "host"
    audio.mkdir(parents=True)
    living, path = open_temporary(audio)
    dead = [audio / ".tmp-0123456789abcdef", folder / ".tmp-0123456789abcdef"]
    for file in dead:
        file.write_bytes(bytes(10))
    with living:
        LocalCopies(tmp_path).add(copy(folder, 1))  # far below the limit
        assert path.exists()
    assert not any(file.exists() for file in dead)
