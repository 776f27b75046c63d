"""Conformal prediction: sets of labels that hold the true one at a stated rate, for clips of new speakers."""

from __future__ import annotations

import math

import numpy as np


def set_threshold(scores: np.ndarray, groups: np.ndarray, *, coverage: float) -> float:
    """The largest score that a label of a set may have, so that sets of new groups' clips have this coverage.

    scores: (N,) of the true labels of held-out clips, 1 minus their probability. groups: (N,) their speakers.
    Infinite, so that every label belongs to the set, where there are too few groups: fewer than
    coverage / (1 - coverage).

    Hierarchical conformal prediction (Lee, Barber & Willett 2023): every group counts equally, whatever its
    number of clips, and one more, the new one, counts as infinite. If the groups are exchangeable, a clip of
    a new group is covered with at least this probability. Counting clips alone would treat them as
    independent, and the sets would be too small.
    """
    _, group, counts = np.unique(groups, return_inverse=True, return_counts=True)
    weight = 1 / (len(counts) + 1) / counts[group]
    order = np.argsort(scores, kind="stable")
    reached = np.cumsum(weight[order])
    place = int(np.searchsorted(reached, coverage - 1e-12))
    return float(scores[order][place]) if place < len(scores) else math.inf


def least_groups(coverage: float) -> int:
    """Groups from which sets of this coverage can exclude a label."""
    return math.ceil(coverage / (1 - coverage) - 1e-9)


def prediction_sets(probability: np.ndarray, threshold: float) -> np.ndarray:
    """(m, K) booleans: the labels of each set, always the most probable one among them."""
    sets = 1 - probability <= threshold
    sets[np.arange(len(probability)), probability.argmax(1)] = True
    return np.asarray(sets)
