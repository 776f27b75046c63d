"""Processes that share a store: killed, many at once, on a full disk, in read-only folders."""

from __future__ import annotations

import multiprocessing
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from layerprobe.cache import FeatureStore
from layerprobe.cache.common.disk import TEMPORARY_PREFIX
from layerprobe.cache.common.errors import StoreError
from layerprobe.cache.maintenance.compact import compact
from layerprobe.cache.maintenance.verify import verify
from layerprobe.cache.store.shard import list_shards
from tests.run import ROOT
from tests.write_store import KIND, key, states

pytestmark = pytest.mark.slow


def start(cache: Path, *arguments: object) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "tests.write_store", str(cache), *map(str, arguments)]
    pipe = subprocess.PIPE
    return subprocess.Popen(command, cwd=ROOT, stdin=pipe, stdout=pipe, stderr=pipe, text=True)


def check(store: FeatureStore) -> int:
    """Every clip that is held is right, every shard whole; returns how many clips there are."""
    assert not verify(store).damaged
    held = set(store.keys())
    numbers = [n for n in range(1000) if key(n) in held]
    assert len(numbers) == len(held)
    for layer in KIND.layers:
        expected = np.array([states(n)[layer].reshape(-1) for n in numbers], "f4").reshape(-1, 128)
        np.testing.assert_array_equal(store.layer(layer, [key(n) for n in numbers]), expected)
    return len(held)


def kill_often(cache: Path, *, kills: int, seed: int) -> None:
    rng = random.Random(seed)
    before = 0
    for _ in range(kills):
        process = start(cache, 0, 200, "--pause", 0.001)
        assert process.stdout is not None
        missing = int(process.stdout.readline())
        assert missing == 200 - before  # only what is missing is computed
        try:
            process.wait(rng.uniform(0, 0.3))
        except subprocess.TimeoutExpired:
            process.kill()
        process.communicate()
        store = FeatureStore.create(cache, KIND)
        now = check(store)
        assert now >= before
        before = now
    process = start(cache, 0, 200)
    assert process.communicate()[0] == f"{200 - before}\n"
    assert process.returncode == 0
    assert check(store) == 200
    assert verify(store).abandoned_files == []


def test_a_kill_loses_only_the_unfinished_shard(tmp_path):
    kill_often(tmp_path, kills=5, seed=0)


@pytest.mark.soak
def test_a_hundred_kills_lose_only_unfinished_shards(tmp_path):
    for seed in range(10):
        kill_often(tmp_path / str(seed), kills=10, seed=seed)


@pytest.mark.parametrize("stop", [signal.SIGKILL, signal.SIGINT])
def test_temporary_files_are_removed_only_once_their_writer_is_dead(tmp_path, stop):
    store = FeatureStore.create(tmp_path, KIND)
    with store.writer():
        pass
    first = start(tmp_path, 0, 5, "--hold")
    assert first.stdout is not None
    assert [first.stdout.readline(), first.stdout.readline()] == ["5\n", "holding\n"]
    dead = store.folder / f"{TEMPORARY_PREFIX}0123456789abcdef"
    dead.write_bytes(b"left by a process that died")
    with store.writer():
        assert not dead.exists()
    first.send_signal(stop)
    first.communicate()
    assert check(store) == (5 if stop == signal.SIGINT else 0)
    assert list(store.folder.glob(f"{TEMPORARY_PREFIX}*")) == []


def test_eight_writers_four_readers_and_a_compaction_at_once(tmp_path):
    store = FeatureStore.create(tmp_path, KIND)
    arguments = ("--pause", 0.002, "--shard-rows", 5)
    writers = [start(tmp_path, 20 * n, 20 * n + 60, *arguments) for n in range(8)]  # each clip by up to three
    stop = tmp_path / "stop"
    with multiprocessing.get_context("spawn").Pool(4) as pool:
        readers = [pool.apply_async(read_on, (store, stop)) for _ in range(4)]
        while any(writer.poll() is None for writer in writers):
            compact(store)
        assert [writer.communicate()[1] for writer in writers] == [""] * 8
        stop.touch()
        reads = [reader.get() for reader in readers]
    assert min(reads) > 0
    assert check(store) == 200
    compact(store)
    assert len(list_shards(store.folder)) == 1
    assert check(store) == 200


def read_on(store: FeatureStore, stop: Path) -> int:
    """Read all there is until the writers are done; what was once there must stay. Returns how often."""
    seen: set[str] = set()
    reads = 0
    while not stop.exists() or not reads:
        held = set(store.keys())
        assert seen <= held
        seen = held
        reads += check(store) > 0
    return reads


@pytest.mark.parametrize("limit", [1, 700, 3_000, 10_000, 20_000])
def test_a_full_disk_is_one_line_and_loses_nothing(tmp_path, limit):
    assert start(tmp_path, 0, 10).communicate()[1] == ""
    full = start(tmp_path, 0, 100, "--file-limit", limit, "--shard-rows", 50)
    output = full.communicate()[1]
    assert full.returncode == 2, output  # HDF5 alone would die of a segmentation fault
    assert "cannot be written (File too large); free some space and run again" in output
    assert output.count("\n") == 1
    store = FeatureStore.create(tmp_path, KIND)
    assert check(store) == 10
    assert start(tmp_path, 0, 100).communicate()[0] == "90\n"
    assert check(store) == 100


def as_nobody(act: Callable[[], None]) -> None:
    """Run it in a process that file permissions bind, even where the tests run as root."""

    def child() -> None:
        if os.geteuid() == 0:
            os.setuid(65534)
        act()

    process = multiprocessing.get_context("fork").Process(target=child)
    process.start()
    process.join()
    assert process.exitcode == 0


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that everybody can reach, as pytest's own cannot be."""
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


def test_a_read_only_store_can_be_read_and_says_that_it_cannot_be_written(open_folder):
    assert start(open_folder, 0, 10).communicate()[1] == ""
    store = FeatureStore.create(open_folder, KIND)
    for folder in [store.folder, store.folder.parent]:
        folder.chmod(0o555)

    def act() -> None:
        assert check(FeatureStore.create(open_folder, KIND)) == 10
        with pytest.raises(StoreError, match=r"cannot be written \(Permission denied"), store.writer():
            raise RuntimeError("not reached")

    as_nobody(act)


def test_a_cache_that_cannot_be_created_is_one_line(open_folder):
    open_folder.chmod(0o555)

    def act() -> None:
        with pytest.raises(StoreError, match=r"cannot be written \(Permission denied"):
            FeatureStore.create(open_folder / "cache", KIND)

    as_nobody(act)
    with pytest.raises(StoreError, match=r"cannot be written \(Not a directory"):
        FeatureStore.create(Path(__file__), KIND)


def test_a_deleted_folder_is_one_line_for_writers_and_readers(tmp_path):
    process = start(tmp_path, 0, 5, "--hold")
    assert process.stdout is not None
    assert [process.stdout.readline(), process.stdout.readline()] == ["5\n", "holding\n"]
    store = FeatureStore.create(tmp_path, KIND)
    shutil.rmtree(store.folder)
    assert "cannot be written (No such file or directory)" in process.communicate()[1]
    assert process.returncode == 2
    with pytest.raises(StoreError, match=r"cannot be listed \(No such file or directory"):
        store.keys()
    with pytest.raises(StoreError, match="cannot be listed"):
        store.layer("0", [key(0)])
