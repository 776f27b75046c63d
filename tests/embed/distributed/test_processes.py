"""Several processes, one store: the states of one process, no clip twice, none missing, also after a kill."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from pathlib import Path

import numpy as np
import pytest
import torch

from layerprobe.cache.common.errors import InputError, WorkerKilledError
from layerprobe.cache.maintenance.catalog import open_stores
from layerprobe.cache.store.feature_store import FeatureStore
from layerprobe.cache.store.keys import clip_keys
from layerprobe.embed.config import EmbedConfig
from layerprobe.embed.distributed import launch, processes
from layerprobe.embed.distributed.processes import embed_on_devices
from layerprobe.embed.extract.run import ExtractionProgress
from layerprobe.embed.manifest.clips import Clip, read_manifest
from tests.run import CLI, ENVIRONMENT, Command, cli, refused, start_cli, write_corpus

pytestmark = pytest.mark.slow

MODEL = "random:hubert-tiny"
CLIPS = 24


@pytest.fixture(scope="module")
def table(tmp_path_factory) -> Path:
    """Clips of many lengths; two are copies of others, one is broken."""
    table = write_corpus(tmp_path_factory.mktemp("corpus"), clips=CLIPS)
    folder = table.parent
    shutil.copy(folder / "clip000.wav", folder / "clip009.wav")
    shutil.copy(folder / "clip001.wav", folder / "clip018.wav")
    (folder / "clip005.wav").write_bytes(b"RIFF")
    return table


@pytest.fixture(scope="module")
def alone(table, tmp_path_factory) -> FeatureStore:
    """The store of one process, a new one: what other tests have set in this one could move a last bit."""
    return complete(table, tmp_path_factory.mktemp("alone"))


def complete(table: Path, cache: Path) -> FeatureStore:
    """The store after `embed` of the complete table."""
    words = ("embed", table, "--model", MODEL, "--cache", cache, "--device", "cpu", "--dtype", "float32")
    done = cli(*words, "--batch-seconds", "3")
    assert done.returncode == 0, done.stderr
    (store,), _ = open_stores(cache)
    return store


def config(cache: Path) -> EmbedConfig:
    return EmbedConfig(model=MODEL, cache=cache, device="cpu", dtype="float32", batch_seconds=3.0)


def keys_of(clips: list[Clip], cache: Path) -> list[str]:
    return [key for key in clip_keys(clips, cache) if isinstance(key, str)]


def rows(store: FeatureStore) -> int:
    """Clips of all shards, one that is stored twice counted twice."""
    return sum(map(len, store.index().shards.values()))


def assert_same(cache: Path, alone: FeatureStore, table: Path) -> None:
    """The store of the cache holds every usable clip once, with the states of one process to the last bit."""
    (store,), faults = open_stores(cache)
    assert not faults
    clips = [clip for clip in read_manifest(table) if "clip005" not in clip.id]
    keys = sorted(set(keys_of(clips, cache)))
    assert len(keys) == CLIPS - 3
    assert store.missing(keys) == []
    assert rows(store) == len(keys)
    for layer in store.extraction.layers:
        np.testing.assert_array_equal(store.layer(layer, keys), alone.layer(layer, keys))


def launched(table: Path, cache: Path, **environment: str) -> Command:
    words = ("embed", table, "--model", MODEL, "--cache", cache, "--dtype", "float32")
    return start_cli(*words, "--batch-seconds", "3", "--device", "cpu", environment=environment)


def test_processes_of_srun_fill_one_store(table, alone, tmp_path):
    """Four real processes, with the variables that the launcher sets."""
    ranks = [launched(table, tmp_path, SLURM_PROCID=str(n), SLURM_STEP_NUM_TASKS="4") for n in range(4)]
    for number, rank in enumerate(ranks):
        _, stderr = rank.communicate(timeout=600)
        assert rank.returncode == 0, stderr
        assert f"part {number + 1} of 4: " in stderr
    assert_same(tmp_path, alone, table)


def test_two_processes_of_torchrun(table, alone, tmp_path):
    words = ["--nproc-per-node", "2", CLI[1], "embed", str(table), "--model", MODEL, "--cache", str(tmp_path)]
    command = [CLI[0], "-m", "torch.distributed.run", *words, "--dtype", "float32", "--batch-seconds", "3"]
    done = subprocess.run([*command, "--device", "cpu"], env=ENVIRONMENT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert_same(tmp_path, alone, table)


def test_parts_by_hand_and_their_dry_run(table, alone, tmp_path):
    words = ("embed", table, "--model", MODEL, "--cache", tmp_path, "--device", "cpu", "--dtype", "float32")
    totals = []
    for part in ("2/3", "1/3", "3/3"):
        line = cli(*words, "--batch-seconds", "3", "--part", part, "--dry-run")
        assert line.returncode == 0, line.stderr
        done = cli(*words, "--batch-seconds", "3", "--part", part, "--json")
        assert done.returncode == 0, done.stderr
        totals.append(done.stdout)
    assert len(totals) == 3
    assert_same(tmp_path, alone, table)


def test_what_a_killed_process_left_is_taken_up_by_the_next_run(table, alone, tmp_path):
    ranks = [launched(table, tmp_path, RANK=str(n), WORLD_SIZE="2") for n in range(2)]
    ranks[0].kill()
    ranks[0].communicate()
    _, stderr = ranks[1].communicate(timeout=600)
    assert ranks[1].returncode == 0, stderr
    (store,), _ = open_stores(tmp_path)
    assert 0 < len(store) < CLIPS - 3
    complete(table, tmp_path)
    assert_same(tmp_path, alone, table)


def test_a_process_for_each_device(table, alone, tmp_path):
    reports: list[ExtractionProgress] = []
    summary = embed_on_devices(read_manifest(table), config(tmp_path), ["cpu", "cpu"], report=reports.append)
    assert (summary.clips, summary.embedded, summary.copies) == (CLIPS, CLIPS - 3, 2)
    assert len(summary.failures) == 1
    assert reports[-1].done == CLIPS - 3
    assert reports[-1].total_seconds == pytest.approx(summary.seconds)
    assert_same(tmp_path, alone, table)


def test_a_killed_process_is_one_line_and_the_others_finish(table, alone, tmp_path, monkeypatch):
    monkeypatch.setattr(processes, "_work", work_or_die)
    with pytest.raises(WorkerKilledError, match=r"^1 of 2 processes were killed .* the others finished"):
        embed_on_devices(read_manifest(table), config(tmp_path), ["cpu", "cpu"])
    (store,), _ = open_stores(tmp_path)
    assert 5 < len(store) < CLIPS - 3
    complete(table, tmp_path)
    assert_same(tmp_path, alone, table)


def work_or_die(connection, parent, clips, config, part):
    if part.index == 0:
        os.kill(os.getpid(), signal.SIGKILL)
    processes.embed_part(clips, config, part)


def test_an_error_in_every_process_is_reported_once(table, tmp_path):
    wrong = EmbedConfig(model=MODEL, cache=tmp_path, layers="0-99", device="cpu")
    with pytest.raises(InputError, match="99"):
        embed_on_devices(read_manifest(table), wrong, ["cpu", "cpu"])


def test_a_part_without_clips_is_no_error(table, tmp_path):
    clips = read_manifest(table)[:1]
    summaries = [
        processes.embed_part(clips, config(tmp_path), processes.Part(index=index, count=3))
        for index in range(3)
    ]
    assert sorted(summary.embedded for summary in summaries) == [0, 0, 1]


def test_a_part_of_broken_clips_does_not_end_the_others(table, tmp_path):
    broken = [clip for clip in read_manifest(table) if "clip005" in clip.id]
    summary = processes.embed_part(broken, config(tmp_path), processes.Part(index=0, count=2))
    other = processes.embed_part(broken, config(tmp_path), processes.Part(index=1, count=2))
    assert len(summary.failures) + len(other.failures) == 1


class TestDevices:
    def test_each_process_on_a_machine_takes_a_gpu_of_its_own(self, monkeypatch, tmp_path):
        monkeypatch.setattr("torch.cuda.device_count", lambda: 2)
        monkeypatch.setattr("os.environ", {"RANK": "3", "WORLD_SIZE": "4", "LOCAL_RANK": "3"})
        for device, expected in [
            ("auto", "cuda:1"),
            ("cuda", "cuda:1"),
            ("cpu", "cpu"),
            ("cuda:0", "cuda:0"),
        ]:
            found, _ = launch.find_process(EmbedConfig(model=MODEL, cache=tmp_path, device=device), None)
            assert found.device == expected

    def test_without_a_gpu_processes_share_the_processor(self, monkeypatch, tmp_path):
        monkeypatch.setattr("torch.cuda.device_count", lambda: 0)
        monkeypatch.setattr("os.environ", {"RANK": "3", "WORLD_SIZE": "4", "LOCAL_RANK": "3"})
        found, _ = launch.find_process(EmbedConfig(model=MODEL, cache=tmp_path), None)
        assert found.device == "auto"

    def test_all_gpus_of_this_machine(self, monkeypatch):
        monkeypatch.setattr("torch.cuda.device_count", lambda: 3)
        assert launch._all_gpus() == ["cuda:0", "cuda:1", "cuda:2"]

    @pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
    def test_no_gpu(self, table, tmp_path):
        error = refused(cli("embed", table, "--model", MODEL, "--cache", tmp_path, "--device", "cuda:all"))
        assert error == "error: --device cuda:all: there is no GPU; try --device auto or cpu"


@pytest.mark.parametrize(
    ("options", "error"),
    [
        (("--part", "4/3"), "error: --part 4/3; give a part and the number of parts, such as 1/8 to 8/8"),
        (("--backend", "spark"), "error: --backend spark; choose from local, dask, ray"),
        (
            ("--backend", "dask", "--part", "1/2"),
            "error: --backend dask divides the table itself, and this is part 1 of 2; omit --part, or leave "
            "the launcher out",
        ),
        (
            ("--device", "cuda:all", "--part", "1/2"),
            "error: --device cuda:all divides the table itself, and this is part 1 of 2; omit one of them",
        ),
        (
            ("--device", "cuda:all", "--backend", "ray"),
            "error: --device cuda:all with --backend ray; omit --device: each task takes a GPU",
        ),
    ],
)
def test_options_that_cannot_be_met(table, tmp_path, options, error):
    assert refused(cli("embed", table, "--model", MODEL, "--cache", tmp_path, *options)) == error
