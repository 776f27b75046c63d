"""Coverage on new speakers, by simulation."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.special import softmax

from layerprobe.classify.scores.conformal import least_groups, prediction_sets, set_threshold

CLASSES = 4


def draw(rng: np.random.Generator, speakers: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(N, K) probabilities, (N,) classes and (N,) speakers: each speaker shifts the scores by its own offset.

    Speakers have very different numbers of clips, and those with many are the easy ones.
    """
    rows, labels, of = [], [], []
    for speaker in range(speakers):
        hard = rng.random() < 0.3
        clips = 4 if hard else int(rng.integers(4, 60))
        offset = rng.normal(0, 2.5 if hard else 0.5, CLASSES)
        y = rng.integers(0, CLASSES, clips)
        rows.append(softmax(2.0 * np.eye(CLASSES)[y] + offset + rng.normal(0, 0.7, (clips, CLASSES)), 1))
        labels.append(y)
        of.append(np.full(clips, speaker))
    return np.concatenate(rows), np.concatenate(labels), np.concatenate(of)


def covered(coverage: float, *, by_speaker: bool, speakers: int = 30, repeats: int = 300) -> float:
    """The share of new speakers' clips, each speaker counting equally, whose set holds the true label."""
    rng = np.random.default_rng(0)
    shares = []
    for _ in range(repeats):
        probability, y, of = draw(rng, speakers)
        scores = 1 - probability[np.arange(len(y)), y]
        groups = of if by_speaker else np.arange(len(y))
        threshold = set_threshold(scores, groups, coverage=coverage)
        new, truth, _ = draw(rng, 1)
        shares.append(prediction_sets(new, threshold)[np.arange(len(truth)), truth].mean())
    return float(np.mean(shares))


@pytest.mark.parametrize("coverage", [0.8, 0.9])
def test_new_speakers_are_covered_at_the_stated_rate(coverage: float) -> None:
    share = covered(coverage, by_speaker=True)
    assert coverage - 3 * 0.25 / math.sqrt(300) <= share <= coverage + 0.08


def test_clips_counted_as_independent_would_not_be() -> None:
    assert covered(0.9, by_speaker=False) < 0.87


def test_too_few_speakers_give_all_labels() -> None:
    assert [least_groups(coverage) for coverage in (0.5, 0.8, 0.9, 0.95)] == [1, 4, 9, 19]
    scores = np.linspace(0.1, 0.9, 80)
    assert set_threshold(scores, np.arange(80) % 8, coverage=0.9) == math.inf
    assert set_threshold(scores, np.arange(80) % 10, coverage=0.9) <= 0.9
    assert prediction_sets(np.array([[0.6, 0.4]]), math.inf).all()


def test_a_set_is_never_empty() -> None:
    sets = prediction_sets(np.array([[0.5, 0.3, 0.2], [0.98, 0.01, 0.01]]), 0.1)
    assert sets.tolist() == [[True, False, False], [True, False, False]]
