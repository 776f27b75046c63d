"""Probes for classes: logistic regression on each layer, its control task, the code of the labels; scores."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from layerprobe.cache.store.feature_store import FeatureStore
from layerprobe.classify.controls.probes.description_length import code_lengths, coding_blocks
from layerprobe.classify.controls.probes.targets import FOLDS, Target
from layerprobe.classify.controls.shuffled_labels import shuffle_within
from layerprobe.classify.features.scaling import orthogonal_columns, standardise
from layerprobe.classify.heads.solvers.newton import Solver, cross_entropy
from layerprobe.classify.scores.bootstrap import Interval, mean_intervals
from layerprobe.classify.scores.intervals import score_intervals
from layerprobe.classify.scores.paired import differences
from layerprobe.classify.scores.sums import ratio, sum_intervals
from layerprobe.classify.search.nested import derive_seed
from layerprobe.classify.tasks.confusion import cluster_counts
from layerprobe.classify.tasks.task import sums_by_cluster

C = 3.0  # of the regression, relative to the power of its inputs, as for the head `logreg`
SHUFFLES = 2  # of the labels, for the control task


def probe_layer(
    X: np.ndarray, targets: Sequence[Target], groups: np.ndarray | None, *, seed: int
) -> dict[str, Any]:
    """For each target what its probes say of the states X (N, D) of one layer.

    predicted: (N,) classes, -1 for unused rows. control: (SHUFFLES, N) classes predicted by probes whose
    training labels were shuffled. bits: (N,) code length of each label. groups: (N,) speakers, within which
    labels are shuffled and which coding does not divide; None where they are unknown. For the target
    `speaker`, labels are shuffled over all training rows, and rows are coded one by one.
    """
    found: dict[str, Any] = {}
    for within in (False, True):
        own = [target for target in targets if target.within_speakers == within]
        known = None if within else groups
        for same in _with_same_folds(own):
            found |= _predictions(X, same, known, seed=seed)
        if own:
            rows = np.arange(len(X)) if known is None else known
            blocks = coding_blocks(rows, seed=order_seed(seed))
            coded = code_lengths(X, blocks, [(target.y, len(target.classes)) for target in own])
            for target, bits in zip(own, coded, strict=True):
                found[target.name]["bits"] = bits.tolist()
    return found


def order_seed(seed: int) -> int:
    """Decides the order in which labels are coded, from the seed of the probes."""
    return derive_seed(seed, "order of coding")


def _with_same_folds(targets: Sequence[Target]) -> list[list[Target]]:
    """The targets in groups that share their folds, and so their scaled states."""
    groups: dict[bytes, list[Target]] = {}
    for target in targets:
        groups.setdefault(target.folds.tobytes(), []).append(target)
    return list(groups.values())


def _predictions(
    X: np.ndarray, targets: Sequence[Target], groups: np.ndarray | None, *, seed: int
) -> dict[str, Any]:
    """predicted and control of `probe_layer`, for targets with the same folds."""
    rows = np.full((len(targets), 1 + SHUFFLES, len(X)), -1)
    within = np.zeros(len(X), np.int64) if groups is None else groups
    for fold in range(FOLDS):
        tested = targets[0].folds == fold
        train, test = orthogonal_columns(*standardise(X[~tested], X[tested], variance=True))
        for number, target in enumerate(targets):
            used = target.y[tested] >= 0
            for draw in range(1 + SHUFFLES):
                y = target.y
                if draw > 0:
                    rng = np.random.default_rng(derive_seed(seed, "control task", target.name, fold, draw))
                    y = control_labels(y, within, np.flatnonzero(~tested & (y >= 0)), rng)
                scores = fit_scores(train, y[~tested], test, classes=len(target.classes))
                rows[number, draw, tested] = np.where(used, scores.argmax(1), -1)
    return {
        target.name: {"predicted": own[0].tolist(), "control": own[1:].tolist()}
        for target, own in zip(targets, rows, strict=True)
    }


def control_labels(
    y: np.ndarray, groups: np.ndarray, rows: np.ndarray, rng: np.random.Generator
) -> np.ndarray:
    """(N,) labels, those of `rows` shuffled within each group, or between groups where each has one label."""
    names, first, codes = np.unique(groups[rows], return_index=True, return_inverse=True)
    own = y[rows][first]
    if len(names) < 2 or not np.array_equal(own[codes], y[rows]):
        return shuffle_within(y, groups, rows, rng)
    shuffled = y.copy()
    shuffled[rows] = rng.permutation(own)[codes]
    return shuffled


def fit_scores(train: np.ndarray, y: np.ndarray, test: np.ndarray, *, classes: int) -> np.ndarray:
    """(m, K) scores of the test rows; training rows with y = -1 have no weight."""
    used = y >= 0
    balance = used.sum() / (classes * np.bincount(y[used], minlength=classes))
    weight = np.where(used, balance[y], 0.0)
    power = float(np.square(train).sum(dtype=np.float64) / len(train))
    solver = Solver(
        train, np.where(used, y, 0), weight, classes=classes, loss=cross_entropy, curvature=1 / classes
    )
    W, b = solver.solve(penalty=power * (2 if classes == 2 else 1) / C)
    return test @ W + b


def class_scores(
    target: Target, results: Sequence[Mapping[str, Any]], clusters: np.ndarray, *, seed: int
) -> list[dict[str, Any]]:
    """One entry for each layer's result of `probe_layer`. clusters: (N,) speakers, or clips.

    uar: of the probe. control: UAR with shuffled training labels, the mean over shuffles. selectivity: UAR
    minus control (Hewitt & Liang 2019), with the same speakers resampled. bits: code length of all labels.
    bits_per_label: its mean. compression: log2(K), the length of the uniform code, over bits_per_label; 1 if
    the layer says nothing.
    """
    used = target.y >= 0
    y, clusters = target.y[used], clusters[used]
    predicted = np.array([result["predicted"] for result in results])[:, used]
    control = np.array([result["control"] for result in results])[:, :, used]  # (L, SHUFFLES, N)
    bits = np.array([result["bits"] for result in results])[:, used]
    if target.within_speakers:  # the speakers are the classes: their recalls are resampled
        uars, means, gains = _recalls(y, predicted, control, seed=seed)
    else:
        uars, means, gains = _counts(y, predicted, control, clusters, len(target.classes), seed=seed)
    sums = np.stack([sums_by_cluster(bits.T, clusters), sums_by_cluster(np.ones_like(bits.T), clusters)], -1)
    lengths = sum_intervals(sums, ratio, sums[:, 0, 1], within=(0, np.inf), seed=seed)
    uniform = float(np.log2(len(target.classes)))
    return [
        {
            "uar": asdict(uar),
            "control": {"value": mean},
            "selectivity": asdict(gain),
            "bits": float(own.sum()),
            "bits_per_label": asdict(length),
            "compression": asdict(_inverse(length, uniform)),
        }
        for uar, mean, gain, own, length in zip(uars, means, gains, bits, lengths, strict=True)
    ]


def by_layer(store: FeatureStore, scores: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """The entries of a store's layers, each with the layer's name."""
    return [{"layer": layer, **score} for layer, score in zip(store.extraction.layers, scores, strict=True)]


def _counts(
    y: np.ndarray,
    predicted: np.ndarray,
    control: np.ndarray,
    clusters: np.ndarray,
    classes: int,
    *,
    seed: int,
) -> tuple[list[Interval], list[float], list[Interval]]:
    """UAR, mean control and selectivity of L layers, from confusion counts of each cluster."""

    def counts(rows: np.ndarray) -> np.ndarray:
        return cluster_counts(y, rows, clusters, classes=classes)

    real = np.stack([counts(rows) for rows in predicted], axis=1)
    shuffled = np.stack([np.mean([counts(rows) for rows in own], axis=0) for own in control], axis=1)
    layers = len(predicted)
    uars = score_intervals(real, metric="uar", seed=seed)
    pairs = [(layer, layers + layer) for layer in range(layers)]
    gains = differences(np.concatenate([real, shuffled], axis=1), pairs, metric="uar", seed=seed)
    means = [uar.value - gain.value for uar, gain in zip(uars, gains, strict=True)]
    return uars, means, [Interval(gain.value, gain.low, gain.high) for gain in gains]


def _recalls(
    y: np.ndarray, predicted: np.ndarray, control: np.ndarray, *, seed: int
) -> tuple[list[Interval], list[float], list[Interval]]:
    """As `_counts`, where each class is one speaker."""
    sizes = np.bincount(y)

    def recall(rows: np.ndarray) -> np.ndarray:
        return np.bincount(y, weights=rows == y, minlength=len(sizes)) / sizes

    real = np.stack([recall(rows) for rows in predicted], axis=1)
    shuffled = np.stack([np.mean([recall(rows) for rows in own], axis=0) for own in control], axis=1)
    gains = np.stack([real - shuffled, np.ones_like(real)], axis=-1)
    intervals = sum_intervals(gains, ratio, np.ones(len(sizes)), within=(-1, 1), seed=seed)
    return mean_intervals(real, seed=seed), shuffled.mean(0).tolist(), intervals


def _inverse(length: Interval, uniform: float) -> Interval:
    """uniform / length: a longer code compresses less."""
    with np.errstate(divide="ignore"):
        value, low, high = (float(np.divide(uniform, x)) for x in (length.value, length.high, length.low))
    return Interval(value, low, high)
