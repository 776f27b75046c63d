"""Greedy selection against brute force, and what it promises."""

from __future__ import annotations

import numpy as np
from sklearn.metrics import balanced_accuracy_score, log_loss

from layerprobe.classify.search.ensemble.greedy import greedy_weights


def made(
    members: int = 3, *, rows: int = 40, classes: int = 3, seed: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    y = rng.permutation(np.arange(rows) % classes)
    raw = rng.random((members, rows, classes)) + 0.5 * np.eye(classes)[y]
    return raw / raw.sum(2, keepdims=True), y


def by_brute_force(P: np.ndarray, y: np.ndarray, picks: int) -> np.ndarray:
    """Caruana's loop, with every average computed anew and scored by scikit-learn."""
    picked: list[int] = []
    rounds = []
    for _ in range(picks):
        options = []
        for member in range(len(P)):
            average = np.mean([P[k] for k in [*picked, member]], axis=0)
            score = balanced_accuracy_score(y, average.argmax(1))
            options.append((round(score, 12), -log_loss(y, average), -member))
        best = max(options)
        picked.append(-best[2])
        rounds.append((best[:2], picked.copy()))
    _, chosen = max(rounds, key=lambda entry: (entry[0], -len(entry[1])))
    return np.bincount(chosen, minlength=len(P)) / len(chosen)


def test_weights_are_those_of_brute_force() -> None:
    for seed in range(20):
        P, y = made(seed=seed)
        np.testing.assert_allclose(greedy_weights(P, y, metric="uar", picks=6), by_brute_force(P, y, 6))


def test_the_average_is_no_worse_than_the_best_member() -> None:
    for seed in range(10):
        P, y = made(5, seed=seed)
        weights = greedy_weights(P, y, metric="accuracy")
        assert abs(weights.sum() - 1) < 1e-12
        alone = [(member.argmax(1) == y).mean() for member in P]
        assert (np.tensordot(weights, P, 1).argmax(1) == y).mean() >= max(alone)


def test_members_that_err_on_other_clips_are_both_picked() -> None:
    y = np.array([0, 1] * 10)
    right, wrong = np.eye(2)[y] * 0.8 + 0.1, np.eye(2)[1 - y] * 0.2 + 0.4
    first, second = right.copy(), right.copy()
    first[:4], second[-4:] = wrong[:4], wrong[-4:]
    weights = greedy_weights(np.stack([first, second]), y, metric="uar")
    np.testing.assert_allclose(weights, 0.5)


def test_a_useless_member_has_no_weight() -> None:
    y = np.array([0, 1] * 10)
    good = np.eye(2)[y] * 0.8 + 0.1
    weights = greedy_weights(np.stack([1 - good, good]), y, metric="macro_f1")
    np.testing.assert_array_equal(weights, [0, 1])
