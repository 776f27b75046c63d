"""Parts of a table as tasks of a real Dask or Ray cluster of two workers, one of which is killed."""

from __future__ import annotations

import os
import signal
import sys
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import pytest

from layerprobe.cache.common.errors import InputError
from layerprobe.cache.maintenance.catalog import open_stores
from layerprobe.cache.store.feature_store import FeatureStore
from layerprobe.cache.store.keys import clip_keys
from layerprobe.embed.config import RATE, EmbedConfig
from layerprobe.embed.distributed import clusters
from layerprobe.embed.distributed.sharing import Part, divide, selection
from layerprobe.embed.manifest.clips import read_manifest
from layerprobe.embed.models.backbones import plan_model
from tests.run import cli, refused, write_corpus
from tests.whispers import save_whisper

pytestmark = pytest.mark.slow

MODEL = "random:hubert-tiny"


@pytest.fixture(scope="module")
def table(tmp_path_factory) -> Path:
    return write_corpus(tmp_path_factory.mktemp("corpus"), clips=16)


def config(cache: Path) -> EmbedConfig:
    return EmbedConfig(model=MODEL, cache=cache, device="cpu", dtype="float32", batch_seconds=2.0)


@pytest.fixture(scope="module")
def alone(table, tmp_path_factory) -> FeatureStore:
    """The store of one process, a new one: what other tests have set in this one could move a last bit."""
    cache = tmp_path_factory.mktemp("alone")
    words = ["--model", MODEL, "--cache", cache, "--dtype", "float32", "--batch-seconds", "2"]
    done = cli("embed", table, *words, "--device", "cpu")
    assert done.returncode == 0, done.stderr
    (store,), _ = open_stores(cache)
    return store


def assert_same(cache: Path, alone: FeatureStore, table: Path) -> None:
    (store,), faults = open_stores(cache)
    assert not faults
    keys = sorted(str(key) for key in clip_keys(read_manifest(table), cache))
    assert sum(map(len, store.index().shards.values())) == len(keys) == 16
    for layer in store.extraction.layers:
        np.testing.assert_array_equal(store.layer(layer, keys), alone.layer(layer, keys))


@pytest.mark.parametrize("backend", ["dask", "ray"])
def test_a_cluster_of_this_machine(table, alone, tmp_path, backend):
    pytest.importorskip({"dask": "distributed"}.get(backend, backend))
    words = [
        "--model",
        MODEL,
        "--cache",
        tmp_path,
        "--dtype",
        "float32",
        "--batch-seconds",
        "2",
        "--device",
        "cpu",
    ]
    done = cli("embed", table, *words, "--backend", backend)
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    assert_same(tmp_path, alone, table)


class Here:
    """A cluster of one worker: this process."""

    def __init__(self, connection: object) -> None:
        pass

    def workers(self) -> int:
        return 1

    def run(self, task, jobs, config):
        return [task(job, config) for job in jobs]


def test_the_parts_are_those_of_processes_of_which_each_has_the_model(table, tmp_path, monkeypatch):
    # A Whisper encoder computes half a second more of each clip, so its batches have fewer clips.
    settings = EmbedConfig(
        model=str(save_whisper(tmp_path / "whisper")), cache=tmp_path / "f", device="cpu", batch_seconds=4.0
    )
    tasks: list[list[str]] = []

    def embed(clips, config):
        tasks.append([clip.path.name for clip in clips])
        return clusters_embed(clips, config)

    clusters_embed = clusters.embed
    monkeypatch.setattr(clusters, "embed", embed)
    monkeypatch.setattr(clusters, "_BACKENDS", {"dask": (nullcontext, Here)})
    clips = read_manifest(table)
    assert clusters.embed_on_cluster(clips, settings, "dask").embedded == 16
    backbone = plan_model(settings).load()
    parts = [Part(index=index, count=4) for index in range(4)]
    selected = [selection(part, settings)(clips, backbone) for part in parts]
    assert tasks == [[clip.path.name for clip in part] for part in selected if part]
    as_if_alone = divide(clips, 4, window=settings.window, budget=4 * RATE)
    assert tasks != [[clip.path.name for clip in part] for part in as_if_alone]


def die_once(clips, config):
    """A task that kills its worker the first time it runs."""
    mark = config.cache / f"died-{clips[0].path.stem}"
    if clips[0].path.stem == "clip008" and not mark.exists():
        mark.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return clusters.embed(clips, config)


@pytest.mark.parametrize("backend", ["dask", "ray"])
def test_the_work_of_a_lost_worker_is_done_by_another(table, alone, tmp_path, monkeypatch, backend):
    pytest.importorskip({"dask": "distributed"}.get(backend, backend))
    monkeypatch.setattr(clusters, "_embed", die_once)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(sys.path))
    monkeypatch.setattr(clusters, "PARTS_PER_WORKER", 8)
    summary = clusters.embed_on_cluster(read_manifest(table), config(tmp_path), backend)
    assert list(tmp_path.glob("died-*"))
    assert summary.embedded + summary.cached == 16
    assert_same(tmp_path, alone, table)


@pytest.mark.parametrize(("backend", "package"), [("dask", "distributed"), ("ray", "ray")])
def test_a_package_that_is_not_installed(table, tmp_path, monkeypatch, backend, package):
    monkeypatch.setitem(sys.modules, package, None)
    expected = rf"--backend {backend} needs the package {package}; pip install 'layerprobe\[{backend}\]'"
    with pytest.raises(InputError, match=expected):
        clusters.embed_on_cluster(read_manifest(table), config(tmp_path), backend)


def test_an_error_of_the_settings_comes_back_as_one_line(table, tmp_path):
    pytest.importorskip("distributed")
    error = refused(
        cli("embed", table, "--model", MODEL, "--cache", tmp_path, "--layers", "99", "--backend", "dask")
    )
    assert "99" in error
