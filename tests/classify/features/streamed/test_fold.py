from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from layerprobe.cache.common.errors import InputError
from layerprobe.classify.config import Scaling
from layerprobe.classify.features.fold_features import FoldFeatures, Preprocessing
from layerprobe.classify.features.scaling import SameFeaturesError
from layerprobe.classify.features.streamed import rows as module
from layerprobe.classify.features.streamed.fold import StreamedFold
from layerprobe.classify.features.streamed.rows import StreamedRows, row_blocks, row_power
from tests.streamed import both_folds, stored

SCALINGS: tuple[Scaling, ...] = ("none", "standard", "speaker", "l2")


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "BLOCK_BYTES", 4 * 24 * 13)  # thirteen rows


@pytest.fixture(scope="module")
def folds() -> tuple[FoldFeatures, StreamedFold]:
    return both_folds()


def close(found: np.ndarray, expected: np.ndarray) -> None:
    """Equal to a hundred-thousandth of the largest number."""
    np.testing.assert_allclose(found, expected, atol=1e-5 * np.abs(expected).max())


@pytest.mark.parametrize("scaling", SCALINGS)
@pytest.mark.parametrize("stats", ["mean+std", "std+mean", "std"])
def test_inputs_are_those_of_memory(
    stats: str, scaling: Scaling, folds: tuple[FoldFeatures, StreamedFold]
) -> None:
    memory, streamed = folds
    prep = Preprocessing(stats, scaling)
    for found, expected in zip(streamed.inputs(prep), memory.inputs(prep), strict=True):
        assert isinstance(found, StreamedRows)
        assert found.shape == expected.shape
        close(np.concatenate(list(found.blocks())), expected)
        close(found[5:20], expected[5:20])
    assert streamed.power(prep) == pytest.approx(memory.power(prep), rel=1e-5)


@pytest.mark.parametrize("scaling", SCALINGS)
def test_principal_components_are_arrays_and_those_of_memory(
    scaling: Scaling, folds: tuple[FoldFeatures, StreamedFold]
) -> None:
    memory, streamed = folds
    prep = Preprocessing("mean+std", scaling, 5)
    for found, expected in zip(streamed.inputs(prep), memory.inputs(prep), strict=True):
        assert isinstance(found, np.ndarray)
        close(found, expected)
    assert streamed.power(prep) == pytest.approx(memory.power(prep), rel=1e-5)


def test_fewer_rows_than_columns_have_the_same_components() -> None:
    memory, streamed = both_folds(rows=45, width=30)
    prep = Preprocessing("mean+std", "standard", 4)
    close(streamed.inputs(prep)[1], memory.inputs(prep)[1])


def test_rows_do_what_heads_do_with_an_array(folds: tuple[FoldFeatures, StreamedFold]) -> None:
    memory, streamed = folds
    prep = Preprocessing("mean+std", "standard")
    (rows, _), (array, _) = streamed.inputs(prep), memory.inputs(prep)
    W = np.random.default_rng(0).standard_normal((24, 3)).astype(np.float32)
    close(rows @ W, array @ W)
    assert (rows @ W).dtype == np.float32
    assert (rows @ W.astype(np.float64)).dtype == np.float64
    assert rows[0:9] is rows[0:9]
    close(rows.times(3.0)[0:9], 3 * array[0:9])
    assert rows.times(3.0).power == pytest.approx(9 * rows.power)
    parts = list(row_blocks(rows))
    assert [part.start for part, _ in parts] == list(range(0, 160, 13))
    ((part, whole),) = row_blocks(array)
    assert part == slice(0, 160)
    assert whole is array
    assert row_power(array) == pytest.approx(row_power(rows), rel=1e-5)


def test_training_rows_alone_decide_the_scaling() -> None:
    memory, streamed = both_folds()
    X = memory.layers[0].load().copy()
    X[streamed.test] = 1000
    file = stored(X)
    layers = (replace(streamed.layers[0], stored=lambda: file),)
    settings = {name: getattr(streamed, name) for name in ("train", "test", "classes")}
    y = np.zeros(len(X), np.int64)
    y[streamed.train] = streamed.y
    other = StreamedFold(layers, y, cache=streamed._cache.section("other"), **settings)
    for prep in (Preprocessing("mean+std", "l2"), Preprocessing("mean", "standard", 3)):
        one, two = (np.asarray(fold.inputs(prep)[0][:50]) for fold in (streamed, other))
        np.testing.assert_array_equal(one, two)


def test_equal_clips_are_refused_as_in_memory() -> None:
    _, streamed = both_folds()
    file = stored(np.ones((240, 24)))
    other = StreamedFold(
        (replace(streamed.layers[0], stored=lambda: file),), np.zeros(240, np.int64), train=streamed.train,
        test=streamed.test, classes=1, cache=streamed._cache.section("constant"),
    )  # fmt: skip
    with pytest.raises(SameFeaturesError, match="same features"):
        other.inputs(Preprocessing("mean+std", "standard"))


@pytest.mark.parametrize(
    ("speakers", "message"),
    [(None, "names no speakers"), (np.arange(240), "every speaker has a single clip")],
)
def test_scaling_by_speaker_needs_speakers_of_several_clips(
    speakers: np.ndarray | None, message: str
) -> None:
    _, streamed = both_folds()
    streamed.layers = (replace(streamed.layers[0], speakers=speakers),)
    with pytest.raises(InputError, match=message):
        streamed.inputs(Preprocessing("mean", "speaker"))
