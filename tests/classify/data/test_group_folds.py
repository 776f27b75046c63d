from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from sklearn.model_selection import StratifiedGroupKFold

from layerprobe.classify.data.group_folds import balanced_group_folds

# Clips of BAVED's sixty speakers: a few hold most of the corpus.
UNEVEN = (
    [349, 340, 306, 105, 90, 63, 63, 63, 57, 42, 36, 33, 30, 27, 27, 24, 21, 21, 18, 18] + [6] * 24 + [3] * 16
)


def corpus(shares: list[int], classes: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    groups = np.repeat(np.arange(len(shares)), shares)
    return rng.integers(0, classes, len(groups)), groups


@given(
    shares=st.lists(st.integers(1, 40), min_size=2, max_size=30),
    classes=st.integers(2, 5),
    folds=st.integers(2, 6),
    seed=st.integers(0, 100),
)
def test_every_group_has_one_fold_and_no_fold_is_empty(
    shares: list[int], classes: int, folds: int, seed: int
) -> None:
    folds = min(folds, len(shares))
    y, groups = corpus(shares, classes, seed)
    fold_of = balanced_group_folds(y, groups, folds=folds, seed=seed)
    assert fold_of.shape == (len(shares),)
    assert set(fold_of) == set(range(folds))
    np.testing.assert_array_equal(fold_of, balanced_group_folds(y, groups, folds=folds, seed=seed))


@given(folds=st.integers(2, 6), classes=st.integers(2, 4), extra=st.integers(0, 8), seed=st.integers(0, 50))
def test_every_fold_holds_every_class_where_that_is_possible(
    folds: int, classes: int, extra: int, seed: int
) -> None:
    """Each class is spoken by `folds` speakers of its own, and some speakers say anything."""
    rng = np.random.default_rng(seed)
    y = [k for k in range(classes) for _ in range(folds) for _ in range(3)]
    groups = [k * folds + g for k in range(classes) for g in range(folds) for _ in range(3)]
    for more in range(extra):
        y += rng.integers(0, classes, 20).tolist()
        groups += [classes * folds + more] * 20
    fold_of = balanced_group_folds(np.array(y), np.array(groups), folds=folds, seed=seed)[np.array(groups)]
    for fold in range(folds):
        assert set(np.array(y)[fold_of == fold]) == set(range(classes))


def imbalance(y: np.ndarray, fold_of: np.ndarray, folds: int) -> float:
    sizes = np.array([[((fold_of == f) & (y == k)).sum() for k in range(3)] for f in range(folds)])
    even = sizes.sum(0) / folds
    return float((((sizes - even) / even) ** 2).sum())


def test_uneven_speakers_are_dealt_more_evenly_than_by_greed_alone() -> None:
    y, groups = corpus(UNEVEN, 3, 0)
    ours, theirs = [], []
    for seed in range(5):
        ours.append(imbalance(y, balanced_group_folds(y, groups, folds=5, seed=seed)[groups], 5))
        fold_of = np.empty(len(y), int)
        greedy = StratifiedGroupKFold(5, shuffle=True, random_state=seed)
        for fold, (_, test) in enumerate(greedy.split(y, y, groups)):
            fold_of[test] = fold
        theirs.append(imbalance(y, fold_of, 5))
    assert max(ours) < 0.02
    assert max(ours) < min(theirs)


def test_the_seed_decides_among_equal_ways() -> None:
    y, groups = corpus([6] * 20, 2, 0)
    ways = {tuple(balanced_group_folds(y, groups, folds=4, seed=seed)) for seed in range(5)}
    assert len(ways) > 1


def test_several_labels_are_balanced_at_once() -> None:
    rng = np.random.default_rng(0)
    groups = np.repeat(np.arange(20), 12)
    y = rng.random((240, 3)) < rng.uniform(0.1, 0.9, (20, 3))[groups]
    fold_of = balanced_group_folds(y, groups, folds=4, seed=0)[groups]
    shares = np.array([y[fold_of == fold].sum(0) for fold in range(4)]) / y.sum(0)
    assert np.abs(shares - 0.25).max() < 0.06


def test_one_label_for_each_clip_is_the_same_as_its_class() -> None:
    rng = np.random.default_rng(1)
    groups, y = np.repeat(np.arange(15), 8), rng.integers(0, 3, 120)
    by_class = balanced_group_folds(y, groups, folds=3, seed=2)
    np.testing.assert_array_equal(
        balanced_group_folds(y[:, None] == np.arange(3), groups, folds=3, seed=2), by_class
    )
