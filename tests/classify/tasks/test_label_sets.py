from __future__ import annotations

import numpy as np
import pytest
from sklearn import metrics as reference

from layerprobe.cache.common.errors import InputError
from layerprobe.classify.tasks.label_sets import (
    MULTILABEL,
    each_f1,
    each_precision,
    each_recall,
    each_uar,
    log_loss,
    members_of,
    probabilities,
    read,
    temperature,
)
from layerprobe.classify.tasks.task import Reading

RNG = np.random.default_rng(0)
Y = RNG.random((200, 4)) < (0.5, 0.3, 0.1, 0.7)
PREDICTED = Y ^ (RNG.random((200, 4)) < 0.2)


def test_scores_are_those_of_scikit_learn():
    scores = MULTILABEL.scores(MULTILABEL.statistics(Y, PREDICTED, None, 4))
    assert scores["label_f1"] == pytest.approx(reference.f1_score(Y, PREDICTED, average="macro"))
    balanced = [reference.balanced_accuracy_score(Y[:, k], PREDICTED[:, k]) for k in range(4)]
    assert scores["label_uar"] == pytest.approx(np.mean(balanced))
    assert scores["exact_match"] == pytest.approx(reference.accuracy_score(Y, PREDICTED))
    sums = MULTILABEL.statistics(Y, PREDICTED, None, 4)
    np.testing.assert_allclose(each_f1(sums), reference.f1_score(Y, PREDICTED, average=None))
    np.testing.assert_allclose(each_recall(sums), reference.recall_score(Y, PREDICTED, average=None))
    np.testing.assert_allclose(each_precision(sums), reference.precision_score(Y, PREDICTED, average=None))
    np.testing.assert_allclose(each_uar(sums), balanced)


def test_chance_is_that_of_random_labels():
    y = np.tile(Y, (500, 1))
    drawn = np.column_stack([RNG.permutation(column) for column in y.T])
    expected = reference.f1_score(y, drawn, average="macro")
    assert MULTILABEL.chance(y) == pytest.approx(expected, abs=0.005)
    absent = np.column_stack([y, np.zeros(len(y), bool)])  # a label that no tested clip has does not count
    assert MULTILABEL.chance(absent) == MULTILABEL.chance(y)


def test_sums_of_clusters_add_up_and_are_scored_together():
    clusters = np.arange(200) % 7 * 2
    sums = MULTILABEL.statistics(Y, PREDICTED, clusters, 4)
    assert sums[:, 0].tolist() == np.bincount(np.arange(200) % 7).tolist()
    np.testing.assert_allclose(sums.sum(0), MULTILABEL.statistics(Y, PREDICTED, None, 4))
    for measure in MULTILABEL.measures.values():
        np.testing.assert_allclose(measure.score(sums), [measure.score(row) for row in sums])


def test_a_label_that_never_occurs_and_is_not_predicted_does_not_count():
    y = np.array([[True, False], [False, False]])
    assert MULTILABEL.score(y, y, classes=2, metric="label_f1") == 1
    assert MULTILABEL.score(y, ~y, classes=2, metric="label_f1") == 0


def test_temperature_lowers_the_log_loss_and_that_is_scikit_learns():
    scores = np.where(Y, 1.0, -1.0) * 9 + 8 * RNG.standard_normal(Y.shape)
    T = temperature(scores, Y)
    assert T > 1
    p = probabilities(scores, T)
    expected = np.mean([reference.log_loss(Y[:, k], p[:, k]) for k in range(4)])
    assert log_loss(Y, p) == pytest.approx(expected)
    assert log_loss(Y, p) < min(log_loss(Y, probabilities(scores, T * factor)) for factor in (0.8, 1.25))


def test_cells_are_read_as_sets():
    labels = read(["a", "b", "c"], ["sad;angry", "angry", "calm ; sad"], "x", Reading())
    assert labels.classes == ("angry", "calm", "sad")
    assert labels.y.tolist() == [[True, False, True], [True, False, False], [False, True, True]]
    assert members_of(["", "b|a"], ["a", "b"], separator="|").tolist() == [[False, False], [True, True]]


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        (["a;b", "a;;b", ";"], r"holds cells with an empty label \(c1: 'a;;b', c2: ';'\); write labels with"),
        (["a", "b"], "no cell of column 'x' holds two labels with ';' between them; give their --separator"),
        (["a;b", "a", "c;a"], "every clip has the label a in column 'x'; remove it"),
    ],
)
def test_what_is_no_column_of_sets(texts, message):
    with pytest.raises(InputError, match=message):
        read([f"c{number}" for number in range(len(texts))], texts, "x", Reading())
