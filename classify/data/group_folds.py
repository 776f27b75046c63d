"""Assign groups (speakers) to folds of balanced size and class counts, however uneven the groups are."""

from __future__ import annotations

import numpy as np

PASSES = 50


def balanced_group_folds(y: np.ndarray, groups: np.ndarray, *, folds: int, seed: int) -> np.ndarray:
    """The fold of each group, (G,).

    y: (N,) class numbers from 0, or (N, K) bool for clips with several labels. groups: (N,) numbers from 0;
    G ≥ folds.

    The cost is first the number of (fold, class) pairs without a clip, then the squared relative deviation of
    every fold's class counts from an even share, with the fold's size as one more class. Groups are placed
    greedily, largest first; then single groups are moved and pairs swapped while that lowers the cost.
    scikit-learn's StratifiedGroupKFold stops after the greedy pass, which leaves folds uneven where a few
    speakers have half of the clips.
    """
    member = y if y.ndim == 2 else y[:, None] == np.arange(int(y.max()) + 1)
    counts = np.zeros((int(groups.max()) + 1, member.shape[1] + 1))
    np.add.at(counts, groups, np.hstack([member, np.ones((len(y), 1))]))
    share = counts.sum(0) / folds
    share[share == 0] = 1.0
    scaled = counts / share

    rng = np.random.default_rng(seed)
    order = rng.permutation(len(counts))
    order = order[np.argsort(-counts[order, -1], kind="stable")]
    fold_of = np.full(len(counts), -1)
    load = np.zeros((folds, scaled.shape[1]))
    for place, group in enumerate(order):
        # Once just enough groups are left to fill the empty folds, only those are allowed.
        empty = load[:, -1] == 0
        allowed = empty if empty.sum() >= len(order) - place else np.ones(folds, bool)
        growth = ((load + scaled[group] - 1) ** 2).sum(1) - ((load - 1) ** 2).sum(1)
        fold_of[group] = int(np.where(allowed, growth, np.inf).argmin())
        load[fold_of[group]] += scaled[group]
    _improve(fold_of, scaled, load)
    return fold_of


def stratified_folds(y: np.ndarray, folds: int, *, seed: int) -> np.ndarray:
    """(N,) fold numbers, stratified by class: clips sorted by class are assigned to the folds in turn."""
    rng = np.random.default_rng(seed)
    shuffled = rng.permutation(len(y))
    ordered = shuffled[np.argsort(y[shuffled], kind="stable")]
    fold_of = np.empty(len(y), np.int64)
    fold_of[ordered] = np.arange(len(y)) % folds
    return fold_of


def _cost(load: np.ndarray) -> np.ndarray:
    """Cost of folds (…, classes + 1), summed over the last axis; a missing class outweighs the rest."""
    return ((load - 1) ** 2).sum(-1) + 1e6 * (load == 0).sum(-1)


def _improve(fold_of: np.ndarray, scaled: np.ndarray, load: np.ndarray) -> None:
    """Move or swap groups while the cost falls. Changes `fold_of` and `load` in place."""
    size = np.bincount(fold_of, minlength=len(load))
    for _ in range(PASSES):
        moved = False
        for group, own in enumerate(scaled):
            here = fold_of[group]
            without = np.where(np.isclose(load[here], own), 0.0, load[here] - own)
            if size[here] > 1:
                gain = _cost(load[here]) - _cost(without) + _cost(load) - _cost(load + own)
                gain[here] = 0
                there = int(gain.argmax())
                if gain[there] > 1e-9:
                    load[here], load[there] = without, load[there] + own
                    size[here], size[there] = size[here] - 1, size[there] + 1
                    fold_of[group] = there
                    moved = True
                    continue
            # Swap with the partner that lowers the cost of the two folds most.
            new_here = _clean(without + scaled)
            new_there = _clean(load[fold_of] - scaled + own)
            gain = _cost(load[here]) + _cost(load)[fold_of] - _cost(new_here) - _cost(new_there)
            gain[fold_of == here] = 0
            partner = int(gain.argmax())
            if gain[partner] > 1e-9:
                there = fold_of[partner]
                load[here], load[there] = new_here[partner], new_there[partner]
                fold_of[group], fold_of[partner] = there, here
                moved = True
        if not moved:
            return


def _clean(load: np.ndarray) -> np.ndarray:
    """Set rounding errors of subtracted shares to zero, so that they do not count as clips."""
    return np.where(np.abs(load) < 1e-9, 0.0, load)
