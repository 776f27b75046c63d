from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn import metrics as reference

from classify import metrics

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
    for score in metrics.SCORES.values():
        np.testing.assert_allclose(score(counts), [score(table) for table in counts])


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


def corpus(rng: np.random.Generator, speakers: int) -> np.ndarray:
    """Counts by speaker, each speaker with a recall of its own around 0.6 and 2 to 19 clips of a class."""
    counts = np.zeros((speakers, 2, 2))
    for speaker in range(speakers):
        easy = rng.beta(6, 4)
        for label in range(2):
            clips = rng.integers(2, 20)
            right = rng.binomial(clips, easy)
            counts[speaker, label, label], counts[speaker, label, 1 - label] = right, clips - right
    return counts


def test_intervals_that_resample_speakers_cover_the_truth_and_those_of_clips_do_not() -> None:
    rng = np.random.default_rng(0)
    by_speaker = by_clip = 0
    for seed in range(150):
        counts = corpus(rng, 30)
        told = metrics.interval(counts, metric="uar", seed=seed, resamples=300)
        by_speaker += told.low <= 0.6 <= told.high
        clips = np.repeat(np.eye(4).reshape(4, 2, 2), counts.sum(0).ravel().astype(int), axis=0)
        told = metrics.interval(clips, metric="uar", seed=seed, resamples=300)
        by_clip += told.low <= 0.6 <= told.high
    assert 0.90 <= by_speaker / 150 <= 0.98
    assert by_clip / 150 < 0.85


def test_an_interval_holds_its_value_and_is_the_same_for_the_same_seed() -> None:
    counts = corpus(np.random.default_rng(1), 12)
    told = metrics.interval(counts, metric="accuracy", seed=3)
    assert told.low < told.value < told.high
    assert told == metrics.interval(counts, metric="accuracy", seed=3)
    assert told != metrics.interval(counts, metric="accuracy", seed=4)


def test_one_cluster_has_no_interval() -> None:
    told = metrics.interval(np.array([[[3, 1], [1, 3]]]), metric="uar", seed=0)
    assert told.value == 0.75
    assert np.isnan([told.low, told.high]).all()
