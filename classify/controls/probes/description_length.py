"""Minimum description length of labels, by online coding (Voita & Titov 2020, section 3.2).

"Information-theoretic probing with minimum description length" asks how many bits it takes to send the labels
to someone who has the states. The labels are sent block by block: the first with a uniform code, each further
one with the probabilities of a probe that was trained on all blocks before it. A layer from which a label is
easy to learn has a short code, since few clips suffice to predict the rest.

What is chosen here: blocks are made of complete speakers, so that a code is short only if it holds for new
speakers. They end at `BLOCK_ENDS` of the clips, rounded up to complete speakers; the paper's ends below 3.2 %
are left out, which would be a few clips. Speakers with few clips come first, in random order among equals, so
that the blocks have about these sizes and the uniform code is paid for few clips. The code is a mixture of
probes with several penalties and of the class frequencies, so it is at most log2(5) = 2.3 bits longer than
that of the best of them, and no penalty has to be chosen.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from layerprobe.classify.features.scaling import SameFeaturesError, orthogonal_columns, standardise
from layerprobe.classify.heads.solvers.newton import Solver, cross_entropy

BLOCK_ENDS = (0.032, 0.0625, 0.125, 0.25, 0.5, 1.0)  # of the clips
PENALTIES = (0.03, 0.3, 3.0, 30.0)  # C relative to the power of the inputs, as for the head `logreg`
PRIOR = 0.5  # clips added to each class (Krichevsky & Trofimov 1981): a class that is new has a code, too


def coding_blocks(groups: np.ndarray, *, seed: int) -> list[np.ndarray]:
    """Row numbers of each block, in the order in which they are coded.

    groups: (N,) speakers, none of which is divided; the number of each row where rows are coded one by one.
    """
    _, codes, sizes = np.unique(groups, return_inverse=True, return_counts=True)
    drawn = np.random.default_rng(seed).permutation(len(sizes))
    order = drawn[np.argsort(sizes[drawn], kind="stable")]
    place = np.empty(len(sizes), np.int64)
    place[order] = np.arange(len(sizes))
    rows = np.argsort(place[codes], kind="stable")
    ends = np.cumsum(sizes[order])  # of each group, in the order of coding
    wanted = np.array(BLOCK_ENDS) * len(groups)
    stops = np.unique(ends[np.searchsorted(ends, np.minimum(wanted, ends[-1]) - 1e-9)])
    return np.split(rows, stops[:-1].tolist())


def code_lengths(
    X: np.ndarray, blocks: Sequence[np.ndarray], targets: Sequence[tuple[np.ndarray, int]]
) -> list[np.ndarray]:
    """For each target the (N,) bits of each row's label, 0 for unused rows.

    X: (N, D). targets: (N,) classes with -1 for unused rows, and the number of classes K.
    """
    scores: list[list[np.ndarray]] = [[] for _ in targets]  # (block, 1 + penalties) log probabilities
    for number in range(1, len(blocks)):
        known, coded = np.concatenate(blocks[:number]), blocks[number]
        train, test = _prepared(X[known], X[coded])
        for (y, classes), of_blocks in zip(targets, scores, strict=True):
            of_blocks.append(_log_probabilities(train, y[known], test, y[coded], classes=classes))
    return [
        _bits(y, classes, blocks, of_blocks) for (y, classes), of_blocks in zip(targets, scores, strict=True)
    ]


def _bits(
    y: np.ndarray, classes: int, blocks: Sequence[np.ndarray], scores: Sequence[np.ndarray]
) -> np.ndarray:
    """(N,) bits of each row: the uniform code for the first block, then that of the mixture.

    The mixture has the mean over its members of the probability of everything sent so far. Its code for a row
    is what the row adds to the negative logarithm of that mean.
    """
    bits = np.zeros(len(y))
    first = blocks[0]
    bits[first] = np.where(y[first] >= 0, np.log2(classes), 0.0)
    if scores:
        sums = np.cumsum(np.concatenate(scores), axis=0)
        largest = sums.max(1, keepdims=True)
        total = largest[:, 0] + np.log(np.exp(sums - largest).mean(1))
        bits[np.concatenate(blocks[1:])] = -np.diff(total, prepend=0.0) / np.log(2)
    return bits


def _prepared(train: np.ndarray, test: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Standardised rows with orthogonal columns; a column of zeros where all training rows are equal."""
    try:
        return orthogonal_columns(*standardise(train, test, variance=True))
    except SameFeaturesError:
        return np.zeros((len(train), 1), np.float32), np.zeros((len(test), 1), np.float32)


def _log_probabilities(
    train: np.ndarray, y: np.ndarray, test: np.ndarray, truth: np.ndarray, *, classes: int
) -> np.ndarray:
    """(m, 1 + len(PENALTIES)) log probabilities of the true classes; 0 for unused rows.

    The first column has the class frequencies. Each probability p of t training rows becomes
    (t p + PRIOR) / (t + classes PRIOR).
    """
    used, coded = y >= 0, truth >= 0
    rows, count = train[used], int(used.sum())
    present, codes = np.unique(y[used], return_inverse=True)
    members = [np.tile(np.bincount(codes) / max(count, 1), (len(test), 1))]
    if len(present) > 1 and rows.any():
        power = float(np.square(rows).sum(dtype=np.float64) / count)
        solver = Solver(
            rows, codes, np.ones(count), classes=len(present), loss=cross_entropy, curvature=1 / len(present)
        )
        for C in PENALTIES:
            W, b = solver.solve(penalty=power * (2 if len(present) == 2 else 1) / C)
            scores = (test @ W + b).astype(np.float64)
            P = np.exp(scores - scores.max(1, keepdims=True))
            members.append(P / P.sum(1, keepdims=True))
    out = np.zeros((len(test), 1 + len(PENALTIES)))
    place = np.full(classes, -1)
    place[present] = np.arange(len(present))
    column = place[np.where(coded, truth, 0)]
    for number in range(1 + len(PENALTIES)):
        P = members[min(number, len(members) - 1)]
        p = np.zeros(len(test))  # of classes that are new
        p[column >= 0] = P[column >= 0, column[column >= 0]]
        out[:, number] = np.where(coded, np.log((count * p + PRIOR) / (count + classes * PRIOR)), 0.0)
    return out
