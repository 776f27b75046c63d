"""Real `embed` and `classify` processes, killed, stopped and refused: what is on disk, and after a rerun."""

from __future__ import annotations

import json
import os
import random
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from layerprobe.cache.maintenance.catalog import open_stores
from layerprobe.cache.maintenance.verify import verify
from layerprobe.cache.store.feature_store import FeatureStore
from layerprobe.classify.config import StudyConfig
from layerprobe.classify.search.study import run_study
from layerprobe.embed.manifest.clips import read_manifest
from tests.run import CLI, ENVIRONMENT, ROOT, Command, cli, refused, start_cli, write_corpus

pytestmark = pytest.mark.slow

MODEL = "random:hubert-tiny"
CLIPS = 60
# A shard every tenth of a second instead of every minute, so that a kill finds finished shards and an
# unfinished one.
QUICK_SHARDS = {"layerprobe.cache.store.writer.SHARD_SECONDS": 0.1}


def start(table: Path, cache: Path) -> Command:
    """`embed` on small batches, as a process of its own."""
    words = ("embed", table, "--model", MODEL, "--cache", cache, "--batch-seconds", 1.5)
    return start_cli(*words, settings=QUICK_SHARDS)


def the_store(cache: Path) -> FeatureStore | None:
    stores, faults = open_stores(cache)
    assert not faults
    return stores[0] if stores else None


def stored_clips(cache: Path) -> int:
    store = the_store(cache)
    return len(store.keys()) if store else 0


def contents(cache: Path) -> dict[str, np.ndarray]:
    store = the_store(cache)
    assert store is not None
    keys = store.keys()
    return {layer: store.layer(layer, keys) for layer in store.extraction.layers}


@pytest.fixture(scope="module")
def table(tmp_path_factory) -> Path:
    return write_corpus(tmp_path_factory.mktemp("speech"), clips=CLIPS)


@pytest.fixture(scope="module")
def undisturbed(table, tmp_path_factory) -> dict[str, np.ndarray]:
    cache = tmp_path_factory.mktemp("undisturbed")
    process = start(table, cache)
    _, stderr = process.communicate()
    assert process.returncode == 0, stderr
    return contents(cache)


@dataclass
class Kills:
    """Counts of SIGKILLs: all, those that left a store with some of the clips, or a half-written shard."""

    all: int = 0
    half_filled: int = 0
    in_the_making: int = 0


def kill_repeatedly(
    table: Path, cache: Path, undisturbed: dict[str, np.ndarray], *, kills: int, seed: int
) -> Kills:
    """SIGKILL `embed` at random moments of its work; a store that gets filled is checked and emptied."""
    rng = random.Random(seed)
    found = Kills()
    while found.all < kills:
        before = stored_clips(cache)
        process = start(table, cache)
        if rng.random() < 0.8:  # most often while it computes, sometimes while it starts
            wait_for_more(process, cache, before)
            time.sleep(rng.uniform(0, 0.4))
        else:
            time.sleep(rng.uniform(0, 0.8))
        process.kill()
        process.communicate()
        now = stored_clips(cache)
        assert now >= before, "a kill lost clips that were stored"
        store = the_store(cache)
        if process.returncode == -signal.SIGKILL:  # else it had finished
            found.all += 1
            found.half_filled += 0 < now < CLIPS
            found.in_the_making += store is not None and bool(verify(store).abandoned_files)
        if store is not None:
            assert not verify(store).damaged
            if now == CLIPS:
                assert_same(contents(cache), undisturbed)
                for shard in store.folder.glob("shard-*.h5"):
                    shard.unlink()
    return found


def wait_for_more(process: Command, cache: Path, before: int) -> None:
    while process.poll() is None and stored_clips(cache) <= before:
        time.sleep(0.02)


def finish(table: Path, cache: Path) -> dict[str, int]:
    """Run to the end; the printed summary."""
    done = cli("embed", table, "--model", MODEL, "--cache", cache, "--batch-seconds", "1.5", "--json")
    assert done.returncode == 0, done.stderr
    return dict(json.loads(done.stdout))


def assert_same(left: dict[str, np.ndarray], right: dict[str, np.ndarray]) -> None:
    assert left.keys() == right.keys()
    for layer in left:
        np.testing.assert_array_equal(left[layer], right[layer])


def test_a_killed_run_resumes_and_ends_with_the_same_bits(table, undisturbed, tmp_path):
    assert kill_repeatedly(table, tmp_path, undisturbed, kills=4, seed=1).half_filled >= 1
    stored = stored_clips(tmp_path)
    summary = finish(table, tmp_path)
    assert (summary["cached"], summary["embedded"]) == (stored, CLIPS - stored)
    assert_same(contents(tmp_path), undisturbed)


@pytest.mark.soak
@pytest.mark.timeout(3600)
def test_forty_kills(table, undisturbed, tmp_path):
    found = kill_repeatedly(table, tmp_path, undisturbed, kills=40, seed=0)
    stored = stored_clips(tmp_path)
    summary = finish(table, tmp_path)
    assert (summary["cached"], summary["embedded"]) == (stored, CLIPS - stored)
    assert_same(contents(tmp_path), undisturbed)
    store = the_store(tmp_path)
    assert store is not None
    checked = verify(store)
    assert (checked.damaged, checked.abandoned_files) == ([], [])
    print(
        f"\n{found.all} kills: {found.half_filled} found the store half filled, {found.in_the_making} "
        "a shard half written; nothing lost, nothing damaged, the same bits in the end"
    )
    assert found.half_filled >= 10


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_stopped_run_finishes_its_shard_and_reports_it(table, undisturbed, tmp_path, number):
    process = start(table, tmp_path)
    wait_for_more(process, tmp_path, 0)
    process.send_signal(number)
    _, stderr = process.communicate(timeout=60)
    if stored_clips(tmp_path) < CLIPS:
        assert process.returncode == 130
        lines = [line for line in stderr.splitlines() if line.startswith("stopped: ")]
        assert lines == [f"stopped: {stored_clips(tmp_path)} clips are saved; the same command resumes"]
    assert not list(tmp_path.glob("*/*/.tmp*"))
    finish(table, tmp_path)
    assert_same(contents(tmp_path), undisturbed)


def test_a_full_disk_is_one_line_and_loses_nothing(table, undisturbed, tmp_path):
    """A file-size limit stands for the full disk: every shard is refused in the middle of its bytes."""
    import resource

    def limit() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))

    # All clips in one shard: several small ones may each be below the limit.
    command = [*CLI, "embed", str(table), "--model", MODEL, "--cache", str(tmp_path)]
    done = subprocess.run(
        command, env=ENVIRONMENT, capture_output=True, text=True, timeout=120, check=False, preexec_fn=limit
    )
    assert done.returncode == 2, done.stderr
    assert "Traceback" not in done.stderr
    assert "cannot be written" in done.stderr
    store = the_store(tmp_path)
    assert store is not None
    assert not verify(store).damaged
    finish(table, tmp_path)
    assert_same(contents(tmp_path), undisturbed)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_read_only_cache_is_one_line(table, tmp_path):
    tmp_path.chmod(0o500)
    assert "cannot be written" in refused(cli("embed", table, "--model", MODEL, "--cache", tmp_path))
    tmp_path.chmod(0o700)


def test_a_cache_that_is_a_file_is_one_line(table, tmp_path):
    blocked = tmp_path / "features"
    blocked.write_text("")
    assert "features" in refused(cli("embed", table, "--model", MODEL, "--cache", blocked))


def test_a_store_that_is_deleted_is_one_line(table, tmp_path):
    import shutil

    process = start(table, tmp_path / "features")
    wait_for_more(process, tmp_path / "features", 0)
    shutil.rmtree(tmp_path / "features", ignore_errors=True)
    _, stderr = process.communicate(timeout=120)
    assert "Traceback" not in stderr
    if process.returncode != 0:  # it may have finished before
        assert process.returncode == 2
        assert "cannot be written" in stderr


@contextmanager
def readers(cache: Path, *, count: int) -> Iterator[list[int]]:
    """Processes that read the whole store again and again; afterwards, how often each of them did."""
    program = f"""
import sys, time
sys.path.insert(0, {str(ROOT)!r})
import numpy as np
from pathlib import Path
from layerprobe.cache.maintenance.catalog import open_stores
reads = 0
while not (Path({str(cache)!r}) / "stop").exists():
    stores, faults = open_stores(Path({str(cache)!r}))
    assert not faults, faults
    for store in stores:
        keys = store.keys()
        if keys:
            states = store.layer("4", keys)
            assert states.shape[0] == len(keys) and np.abs(states).sum(1).min() > 0
            reads += 1
    time.sleep(0.05)
print(reads)
"""
    command = [sys.executable, "-c", program]
    running = [
        subprocess.Popen(command, env=ENVIRONMENT, stdout=subprocess.PIPE, text=True) for _ in range(count)
    ]
    reads: list[int] = []
    try:
        yield reads
    finally:
        (cache / "stop").touch()
        stderr = [process.communicate()[0] for process in running]
    assert [process.returncode for process in running] == [0] * count
    reads += map(int, stderr)


def assert_complete_and_close(cache: Path, undisturbed: dict[str, np.ndarray]) -> None:
    """After a compaction: every clip once, close to what one process alone computes in other batches."""
    assert cli("cache", "compact", "--cache", cache).returncode == 0
    store = the_store(cache)
    assert store is not None
    assert len(store.keys()) == CLIPS
    assert not verify(store).damaged
    for layer, states in contents(cache).items():
        np.testing.assert_allclose(states, undisturbed[layer], atol=2e-3)


def test_many_processes_fill_one_store_and_readers_see_complete_clips(table, undisturbed, tmp_path):
    """Eight writers of the same clips, four readers: duplicates are invisible, every read is whole."""
    with readers(tmp_path, count=4) as reads:
        writers = [start(table, tmp_path) for _ in range(8)]
        codes = [(writer.communicate()[1], writer.returncode) for writer in writers]
    assert [code for _, code in codes] == [0] * 8, codes
    assert min(reads) > 0
    assert_complete_and_close(tmp_path, undisturbed)


@pytest.mark.soak
@pytest.mark.timeout(3600)
def test_eight_writers_with_kills_and_four_readers(table, undisturbed, tmp_path):
    """Twice: half of the writers are killed while they write, others take their place, all compacted."""
    rng = random.Random(0)
    kills = half_filled = seen = 0
    for number in range(2):
        cache = tmp_path / str(number)
        cache.mkdir()
        with readers(cache, count=4) as reads:
            writers = [start(table, cache) for _ in range(8)]
            wait_for_more(writers[0], cache, 0)
            for victim in rng.sample(range(8), 4):
                time.sleep(rng.uniform(0, 0.2))
                writers[victim].kill()
                stderr = writers[victim].communicate()[1]
                assert writers[victim].returncode in (0, -signal.SIGKILL), stderr
                kills += writers[victim].returncode != 0
                half_filled += writers[victim].returncode != 0 and 0 < stored_clips(cache) < CLIPS
                writers[victim] = start(table, cache)
            assert cli("cache", "compact", "--cache", cache).returncode == 0
            codes = [(writer.communicate()[1], writer.returncode) for writer in writers]
        assert [code for _, code in codes] == [0] * 8, codes
        assert min(reads) > 0
        seen += sum(reads)
        assert_complete_and_close(cache, undisturbed)
    print(
        f"\n8 writers, 4 readers, twice: {kills} kills, {half_filled} found the store half filled; "
        f"{seen} reads, all whole; nothing damaged"
    )
    assert kills >= 4


OPTIONS = ("--heads", "svm", "--trials", "15", "--folds", "3", "--controls", "none", "--no-audit")


def test_a_study_whose_worker_is_killed_is_one_line_and_resumes(tmp_path):
    """As by the system when memory runs out: status 1, finished trials kept, the same files in the end."""
    table = write_corpus(tmp_path, clips=24, speakers=6)
    study = ["classify", str(table), "--model", "mfcc", "--cache", str(tmp_path / "features"), *OPTIONS]
    assert cli("embed", *study[1:6]).returncode == 0
    store = the_store(tmp_path / "features")
    assert store is not None
    config = StudyConfig(heads=("svm",), trials=15, folds=3, jobs=1)
    undisturbed = run_study(read_manifest(table), store, tmp_path / "undisturbed", config)
    out = tmp_path / "run"
    process = start_cli(*study, "--out", out, "--jobs", 2)
    while process.poll() is None and not stored_trials(out):
        time.sleep(0.01)
    os.kill(workers_of(process.pid)[0], signal.SIGKILL)
    _, message = process.communicate(timeout=120)
    assert process.returncode == 1, message
    assert "Traceback" not in message
    assert message.splitlines()[-1] == (
        "error: a worker process was killed (out of memory?); run the same command again with a smaller "
        "--jobs: what a run folder holds is not computed again"
    )
    stored = stored_trials(out)
    assert 0 < stored < 45
    done = cli(*study, "--out", out, "--jobs", 1)
    assert done.returncode == 0, done.stderr
    assert stored_trials(out) == 45 + 15  # and those of the system that is saved
    for name in ("splits.json", "results.csv", "predictions.csv", "summary.json"):
        assert (out / name).read_bytes() == (undisturbed / name).read_bytes(), name


def stored_trials(out: Path) -> int:
    if not (out / "search.db").exists():
        return 0
    try:
        with sqlite3.connect(f"file:{out / 'search.db'}?mode=ro", uri=True) as database:
            return int(database.execute("SELECT COUNT(*) FROM trials").fetchone()[0])
    except sqlite3.OperationalError:  # the table is not there yet, or locked
        return 0


def workers_of(pid: int) -> list[int]:
    """The worker processes of a study."""
    children = map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split())
    return [child for child in children if "popen_loky" in Path(f"/proc/{child}/cmdline").read_text()]
