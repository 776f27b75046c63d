"""Exported files, read without this project."""

from __future__ import annotations

import os
import shlex

import h5py
import numpy as np
import pandas
import pytest

from layerprobe.cache import FeatureStore
from layerprobe.cache.common.errors import MissingStatesError, StoreError
from layerprobe.cache.maintenance.export import export
from tests.run import cli, refused, write_corpus
from tests.stores import clips, extraction, fill

pytestmark = pytest.mark.slow


@pytest.fixture
def filled(tmp_path):
    store = FeatureStore.create(tmp_path / "cache", extraction())
    held = clips(store.extraction, 25, seed=1)
    fill(store, held)
    return store, held


def read(path):
    """states, paths, keys as plain libraries give them."""
    if path.suffix == ".h5":
        with h5py.File(path) as file:
            return file["states"][()], list(file["paths"].asstr()), [key.decode() for key in file["keys"]]
    if path.suffix == ".npz":
        with np.load(path, allow_pickle=False) as file:
            return file["states"], file["paths"].tolist(), file["keys"].tolist()
    table = pandas.read_parquet(path)
    return np.array(table["states"].tolist(), "f4"), table["paths"].tolist(), table["keys"].tolist()


@pytest.mark.parametrize("form", ["h5", "npz", "parquet"])
@pytest.mark.parametrize("stats", [None, ["std"]])
def test_by_default_clips_are_exported_with_their_first_path(filled, tmp_path, form, stats):
    store, held = filled
    out = tmp_path / f"layer.{form}"
    done = export(store, out, layer="1", stats=stats, format=form)
    states, paths, keys = read(out)
    assert paths == sorted(f"{key[:8]}.wav" for key in held)
    assert [key[:8] for key in keys] == [path[:8] for path in paths]
    assert states.dtype == np.float32
    np.testing.assert_array_equal(states, store.layer("1", keys, stats=stats))
    assert (done.clips, done.width, done.nbytes) == (25, states.shape[1], out.stat().st_size)
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


@pytest.mark.parametrize("form", ["h5", "npz", "parquet"])
def test_rows_of_a_table_are_exported_with_its_paths(filled, tmp_path, form):
    store, held = filled
    first, second, *_ = held
    rows = [(second, "b é.wav"), (first, "a.wav"), (second, "copy of b.wav")]
    out = tmp_path / f"rows.{form}"
    export(store, out, layer="cnn", format=form, clips=rows)
    states, paths, keys = read(out)
    assert list(zip(keys, paths, strict=True)) == rows
    np.testing.assert_array_equal(states, np.stack([held[k]["cnn"].reshape(-1) for k in keys]).astype("f4"))
    export(store, out, layer="cnn", format=form, clips=[])  # over the old file
    states, paths, keys = read(out)
    assert (states.size, paths, keys) == (0, [], [])


def test_an_exported_file_describes_itself(filled, tmp_path):
    store, _ = filled
    export(store, tmp_path / "a.h5", layer="1", format="h5", stats=["mean"])
    with h5py.File(tmp_path / "a.h5") as file:
        assert dict(file.attrs) == {
            "model": "tiny",
            "fingerprint": store.extraction.fingerprint(),
            "layer": "1",
            "stats": "mean",
        }


@pytest.mark.parametrize("form", ["h5", "npz", "parquet"])
def test_a_file_name_that_is_not_utf8_is_exported_as_text(tmp_path, form):
    store = FeatureStore.create(tmp_path, extraction())
    ((key, states),) = clips(store.extraction, 1, seed=2).items()
    with store.writer() as writer:
        writer.add(key, states, frames=1, seconds=1.0, path=os.fsdecode(b"caf\xe9.wav"))
    export(store, tmp_path / f"a.{form}", layer="0", format=form)
    assert read(tmp_path / f"a.{form}")[1] == ["caf\ufffd.wav"]


@pytest.mark.parametrize("form", ["h5", "npz", "parquet"])
def test_a_failure_leaves_the_old_file_and_no_trace(filled, tmp_path, monkeypatch, form):
    store, _ = filled
    out = tmp_path / f"a.{form}"
    out.write_bytes(b"old")
    real, calls = os.fsync, []

    def failing(handle: int) -> None:
        calls.append(handle)
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", failing)
    with pytest.raises(StoreError, match="No space left on device"):
        export(store, out, layer="0", format=form)
    monkeypatch.setattr(os, "fsync", real)
    assert calls
    assert out.read_bytes() == b"old"
    assert sorted(p.name for p in tmp_path.iterdir()) == [f"a.{form}", "cache"]


def test_exporting_states_that_are_not_stored_is_refused(filled, tmp_path):
    store, held = filled
    out = tmp_path / "a.h5"
    with pytest.raises(MissingStatesError, match="layer '7'"):
        export(store, out, layer="7", format="h5")
    with pytest.raises(MissingStatesError, match="max"):
        export(store, out, layer="0", stats=["max"], format="h5")
    with pytest.raises(MissingStatesError, match="1 of"):
        export(store, out, layer="0", format="h5", clips=[*((k, "x") for k in held), ("f" * 64, "y")])
    assert not out.exists()
    with pytest.raises(StoreError, match=r"cannot be written \(No such file"):
        export(store, tmp_path / "nowhere" / "a.h5", layer="0", format="h5")


def test_missing_clips_are_reported_with_the_command_that_embeds_them(tmp_path):
    where = ("--cache", tmp_path / "my features")
    table = write_corpus(tmp_path / "speech", clips=8)
    few = table.with_name("few.csv")
    few.write_text("\n".join(table.read_text().splitlines()[:3]))
    options = ("--model", "random:hubert-tiny", "--seed", "3", "--layers", "2", "--dtype", "float32")
    assert cli("embed", few, *options, *where).returncode == 0
    export = ("cache", "export", table, "--model", "random:hubert-tiny", "--layer", "2", *where)
    line = refused(cli(*export, "--out", tmp_path / "x.npz"))
    listed = ", ".join(f"clip00{number}.wav" for number in range(2, 7))
    assert f"6 of 8 clips have no states: {listed} and 1 more;" in line
    python, script, *words = shlex.split(line.split("run: ")[1])
    assert (python, script) == ("python", "cli.py")
    assert cli(*words).returncode == 0
    assert cli(*export, "--out", tmp_path / "x.npz").returncode == 0
    assert len(list(where[1].glob("*/*/extraction.json"))) == 1
