"""`Embedder` keeps scikit-learn's contract, and equals what `embed` stores."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest
import soundfile
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, GroupKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import layerprobe
from layerprobe import Embedder, FeatureStore
from layerprobe.cache.common.errors import ClipError, InputError
from layerprobe.cache.store.keys import clip_keys
from layerprobe.embed.config import EmbedConfig
from layerprobe.embed.extract.run import embed
from layerprobe.embed.manifest.clips import Clip, read_manifest
from tests.run import tone, write_corpus

MODEL = "random:hubert-tiny"


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_corpus(tmp_path_factory.mktemp("embedder"), clips=12, speakers=4)


@pytest.fixture(scope="module")
def clips(table: Path) -> list[Clip]:
    return read_manifest(table)


def test_it_equals_the_store(table: Path, clips: list[Clip]) -> None:
    done = embed(clips, EmbedConfig(model=MODEL, cache=table.parent / "features"))
    store = FeatureStore(done.store)
    expected = store.layer("2", [str(key) for key in clip_keys(clips, store.cache)])
    embedder = Embedder(MODEL, layer=2)
    paths = [str(clip.path) for clip in clips]
    waves = [soundfile.read(path, dtype="float32")[0] for path in paths]
    for X in (table, str(table), paths, np.array(paths), [(wave, 16_000) for wave in waves]):
        states = embedder.transform(X)
        assert states.dtype == np.float32
        np.testing.assert_allclose(states, expected, rtol=1e-3, atol=1e-5 * np.abs(expected).max())
    also = Embedder(MODEL, layer=2, sampling_rate=16_000).transform(waves)
    np.testing.assert_allclose(also, expected, rtol=1e-3, atol=1e-5 * np.abs(expected).max())


def test_layers_statistics_and_names(clips: list[Clip]) -> None:
    paths = [clip.path for clip in clips[:2]]
    both = Embedder(MODEL, layer="1").transform(paths)
    deviation = Embedder(MODEL, layer=1, stats=("std",)).transform(paths)
    np.testing.assert_array_equal(both[:, both.shape[1] // 2 :], deviation)
    named = Embedder(MODEL, layer=1, stats="std")
    np.testing.assert_array_equal(named.transform(paths), deviation)
    assert named.get_feature_names_out()[0] == "1_std_0"
    last = Embedder(MODEL)
    np.testing.assert_array_equal(last.transform(paths), Embedder(MODEL, layer=4).transform(paths))
    names = last.get_feature_names_out()
    assert (len(names), names[0], names[-1].split("_")[:2]) == (both.shape[1], "4_mean_0", ["4", "std"])
    assert Embedder(MODEL, layer=1).transform([]).shape == (0, both.shape[1])


def test_parameters_clones_and_pickles(clips: list[Clip]) -> None:
    embedder = Embedder(MODEL, layer=3, stats=["mean"])
    expected = embedder.transform([clips[0].path])
    copy = clone(embedder.set_params(layer=2))
    assert copy.get_params() == embedder.get_params()
    assert copy.get_params()["layer"] == 2
    assert len(pickle.dumps(embedder)) < 2000  # no weights
    np.testing.assert_array_equal(
        pickle.loads(pickle.dumps(embedder)).set_params(layer=3).transform([clips[0].path]), expected
    )


def test_a_grid_search_over_layers_with_a_memory(clips: list[Clip], tmp_path: Path) -> None:
    y = [clip.labels["emotion"] for clip in clips]
    groups = [clip.speaker for clip in clips]
    pipe = make_pipeline(
        Embedder(MODEL, stats=("mean",)), StandardScaler(), LogisticRegression(), memory=str(tmp_path)
    )
    grid = {"embedder__layer": [1, 3], "logisticregression__C": [0.1, 1.0]}
    search = GridSearchCV(pipe, grid, cv=GroupKFold(2))
    search.fit([str(clip.path) for clip in clips], y, groups=groups)
    assert search.best_params_["embedder__layer"] in (1, 3)
    assert set(search.predict([str(clips[0].path)])) <= set(y)
    assert any(tmp_path.rglob("*embedder*")) or any(tmp_path.iterdir())


def test_recordings_that_cannot_be_used(tmp_path: Path) -> None:
    embedder = Embedder(MODEL, layer=1)
    with pytest.raises(ClipError, match=r"nosuch\.wav"):
        embedder.transform([tmp_path / "nosuch.wav"])
    with pytest.raises(InputError, match="sampling_rate"):
        embedder.transform([tone(1, seed=0)])
    with pytest.raises(InputError, match="list of recordings"):
        embedder.transform("a.wav")
    with pytest.raises(InputError, match="no layer 77"):
        Embedder(MODEL, layer=77).transform([(tone(1, seed=0), 16_000)])


def test_public_names() -> None:
    assert layerprobe.Embedder is Embedder
    assert callable(layerprobe.load_bundle)
    assert callable(layerprobe.classify)
    with pytest.raises(AttributeError, match="nosuch"):
        layerprobe.nosuch  # noqa: B018
