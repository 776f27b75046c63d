from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import cohen_kappa_score

from layerprobe.cache.common.errors import InputError
from layerprobe.classify.tasks.confusion import confusion
from layerprobe.classify.tasks.ordinal import ORDINAL, level_error, read, weighted_kappa
from layerprobe.classify.tasks.task import Reading


def test_kappa_and_error_of_levels_are_those_of_scikit_learn_and_by_hand():
    rng = np.random.default_rng(0)
    y, predicted = rng.integers(0, 4, 200), rng.integers(0, 4, 200)
    predicted[:120] = y[:120]
    counts = confusion(y, predicted, classes=4)
    assert float(weighted_kappa(counts)) == pytest.approx(
        cohen_kappa_score(y, predicted, weights="quadratic")
    )
    assert float(level_error(counts)) == pytest.approx(np.abs(y - predicted).mean())


def test_kappa_is_0_for_one_prediction_and_undefined_for_one_level():
    assert float(weighted_kappa(confusion(np.arange(6) % 3, np.ones(6, int), classes=3))) == 0
    assert np.isnan(float(weighted_kappa(confusion(np.ones(6, int), np.ones(6, int), classes=3))))
    assert ORDINAL.score(np.ones(6, int), np.ones(6, int), classes=3, metric="qwk") == 0


def test_scores_work_on_many_tables_at_once():
    counts = np.random.default_rng(0).integers(0, 9, (5, 2, 3, 3))
    for measure in ORDINAL.measures.values():
        np.testing.assert_allclose(
            measure.score(counts), [[measure.score(table) for table in row] for row in counts]
        )


def test_numbers_are_ordered_by_size_and_others_as_asked():
    labels = read(["a", "b", "c"], ["10", "9", "-1"], "x", Reading())
    assert (labels.classes, labels.y.tolist()) == (("-1", "9", "10"), [2, 1, 0])
    labels = read(["a", "b", "c"], ["high", "low", "low"], "x", Reading(levels=("low", "high")))
    assert (labels.classes, labels.y.tolist()) == (("low", "high"), [1, 0, 0])


@pytest.mark.parametrize(
    ("texts", "levels", "message"),
    [
        (["low", "high", "1"], (), "'x' holds labels without an order: high, low; name all of them, lowest"),
        (["1", "1.0", "2"], (), "'x' holds one level written in several ways: 1, 1.0; write each in one way"),
        (["low", "hi"], ("low", "high"), r"holds labels that --levels does not name \(c1: 'hi'\)"),
        (["low", "high"], ("low", "mid", "high"), "--levels names mid, and no clip in column 'x' has it"),
        (["low", "low"], ("low", "high"), "column 'x' holds only 'low'; an order needs two levels"),
        ([], (), "column 'x' holds no label at all"),
    ],
)
def test_what_has_no_order(texts, levels, message):
    with pytest.raises(InputError, match=message):
        read([f"c{number}" for number in range(len(texts))], texts, "x", Reading(levels=levels))
