from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn import metrics as reference

from layerprobe.classify.tasks import confusion as metrics
from layerprobe.classify.tasks.classification import CLASSIFICATION

LABELS = st.integers(2, 5).flatmap(
    lambda k: st.tuples(
        st.just(k), st.lists(st.tuples(st.integers(0, k - 1), st.integers(0, k - 1)), min_size=1, max_size=60)
    )
)


@given(drawn=LABELS)
def test_scores_are_scikit_learns(drawn: tuple[int, list[tuple[int, int]]]) -> None:
    classes, pairs = drawn
    y, predicted = np.array(pairs).T
    counts = metrics.confusion(y, predicted, classes=classes)
    np.testing.assert_array_equal(counts, reference.confusion_matrix(y, predicted, labels=range(classes)))
    present = np.unique(y)
    expected = reference.recall_score(y, predicted, labels=present, average="macro", zero_division=0)
    assert float(metrics.uar(counts)) == pytest.approx(expected)
    assert float(metrics.accuracy(counts)) == pytest.approx(reference.accuracy_score(y, predicted))
    seen = np.unique([y, predicted])
    expected = reference.f1_score(y, predicted, labels=seen, average="macro", zero_division=0)
    assert float(metrics.macro_f1(counts)) == pytest.approx(expected)


def test_recall_and_precision_by_class() -> None:
    counts = np.array([[8, 2, 0], [1, 3, 0], [0, 0, 0]])
    np.testing.assert_allclose(metrics.recall(counts), [0.8, 0.75, np.nan])
    np.testing.assert_allclose(metrics.precision(counts), [8 / 9, 0.6, np.nan])
    assert float(metrics.uar(counts)) == pytest.approx(0.775)


def test_scores_work_on_many_tables_at_once() -> None:
    counts = np.random.default_rng(0).integers(0, 9, (7, 3, 3))
    for measure in CLASSIFICATION.measures.values():
        np.testing.assert_allclose(measure.score(counts), [measure.score(table) for table in counts])


def test_log_loss_and_calibration_error_of_known_cases() -> None:
    p = np.array([[0.9, 0.1], [0.9, 0.1], [0.6, 0.4], [0.4, 0.6]])
    y = np.array([0, 1, 0, 1])
    assert metrics.log_loss(y, p) == pytest.approx(reference.log_loss(y, p))
    assert metrics.calibration_error(y, p) == pytest.approx(0.5 * 0.4 + 0.5 * 0.4)
    certain = np.array([[1.0, 0.0], [0.0, 1.0]])
    assert metrics.calibration_error(np.array([0, 1]), certain) == 0
    assert np.isfinite(metrics.log_loss(np.array([1, 0]), certain))


def test_cluster_counts_add_up_and_know_their_clusters() -> None:
    rng = np.random.default_rng(0)
    y, predicted, clusters = rng.integers(0, 3, 50), rng.integers(0, 3, 50), rng.choice([3, 8, 11], 50)
    counts = metrics.cluster_counts(y, predicted, clusters, classes=3)
    assert counts.shape == (3, 3, 3)
    np.testing.assert_array_equal(
        counts[1], metrics.confusion(y[clusters == 8], predicted[clusters == 8], classes=3)
    )
