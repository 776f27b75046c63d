"""The task `multilabel`: a set of labels for each clip, written in one cell, such as `angry;sad`."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.optimize import minimize_scalar
from scipy.special import expit

from layerprobe.cache.common.errors import InputError
from layerprobe.cache.common.text import format_list
from layerprobe.classify.tasks.task import Labels, Measure, Reading, Task, mean_known, ratio, sums_by_cluster

CLIPS, EXACT = 0, 1  # the first of the sums; then true and false positives, false and true negatives
COUNTS = 2


def read(ids: Sequence[str], texts: Sequence[str], column: str, reading: Reading) -> Labels:
    """Raises InputError for cells with an empty label, no cell with two labels, and a label of all clips."""
    sets = [[part.strip() for part in text.split(reading.separator)] for text in texts]
    faults = [f"{id}: '{text}'" for id, text, parts in zip(ids, texts, sets, strict=True) if not all(parts)]
    if faults:
        what = f"column '{column}' holds cells with an empty label ({format_list(faults)})"
        raise InputError(what, do=f"write labels with one '{reading.separator}' between each two")
    if all(len(parts) == 1 for parts in sets):
        raise InputError(
            f"no cell of column '{column}' holds two labels with '{reading.separator}' between them",
            do="give their --separator, or omit --task multilabel",
        )
    classes = tuple(sorted({part for parts in sets for part in parts}))
    y = members_of(texts, classes, separator=reading.separator)
    if everywhere := [classes[k] for k in range(len(classes)) if y[:, k].all()]:
        what = f"every clip has the label {format_list(everywhere)} in column '{column}'"
        raise InputError(what, do="remove it: there is nothing to tell apart")
    return Labels(classes=classes, y=y)


def members_of(texts: Sequence[str], classes: Sequence[str], *, separator: str) -> np.ndarray:
    """(N, K) bool: which labels each cell names. Raises KeyError for a label that is not among `classes`."""
    number_of = {name: number for number, name in enumerate(classes)}
    y = np.zeros((len(texts), len(classes)), bool)
    for row, text in enumerate(texts):
        for part in text.split(separator):
            if part.strip():
                y[row, number_of[part.strip()]] = True
    return y


def members(y: np.ndarray, classes: int) -> np.ndarray:
    return y


def drawn_at_random(members: np.ndarray) -> float:
    """The expected macro F1 of labels that are drawn at random, each as often as clips have it.

    members: (m, K) bool. Of a label that a share p of clips has, recall, precision and F1 are then all p.
    """
    shares = members.mean(0)
    return float(shares[shares > 0].mean())


def decide(scores: np.ndarray) -> np.ndarray:
    """(m, K) scores, positive for labels that a clip has → (m, K) bool."""
    return np.asarray(scores > 0)


def statistics(y: np.ndarray, predicted: np.ndarray, clusters: np.ndarray | None, classes: int) -> np.ndarray:
    """(clusters, 2 + 4 K) or (2 + 4 K,): clips, those with the exact set, and counts for each label."""
    exact = (y == predicted).all(1)
    counts = [y & predicted, ~y & predicted, y & ~predicted, ~y & ~predicted]
    terms = np.hstack([np.ones((len(y), 1)), exact[:, None], *counts]).astype(np.float64)
    return sums_by_cluster(terms, clusters)


def label_counts(sums: np.ndarray) -> np.ndarray:
    """(…, 4, K): true and false positives, false and true negatives of each label."""
    return sums[..., COUNTS:].reshape(*sums.shape[:-1], 4, -1)


def each_recall(sums: np.ndarray) -> np.ndarray:
    """(…, K) recall of each label; NaN for one that does not occur."""
    tp, _, fn, _ = np.moveaxis(label_counts(sums), -2, 0)
    return ratio(tp, tp + fn)


def each_precision(sums: np.ndarray) -> np.ndarray:
    """(…, K) precision of each label; NaN for one that is not predicted."""
    tp, fp, _, _ = np.moveaxis(label_counts(sums), -2, 0)
    return ratio(tp, tp + fp)


def each_f1(sums: np.ndarray) -> np.ndarray:
    """(…, K) F1 of each label; NaN for one that neither occurs nor is predicted."""
    tp, fp, fn, _ = np.moveaxis(label_counts(sums), -2, 0)
    return ratio(2 * tp, 2 * tp + fp + fn)


def each_uar(sums: np.ndarray) -> np.ndarray:
    """(…, K) mean recall of clips with and without each label; NaN where all have it, or none has."""
    tp, fp, fn, tn = np.moveaxis(label_counts(sums), -2, 0)
    return (ratio(tp, tp + fn) + ratio(tn, tn + fp)) / 2


def macro_f1(sums: np.ndarray) -> np.ndarray:
    """The mean over labels of F1."""
    return mean_known(each_f1(sums))


def mean_uar(sums: np.ndarray) -> np.ndarray:
    """The mean over labels of UAR."""
    return mean_known(each_uar(sums))


def exact_match(sums: np.ndarray) -> np.ndarray:
    """The share of clips whose set of labels is exactly right."""
    return ratio(sums[..., EXACT], sums[..., CLIPS])


def temperature(scores: np.ndarray, y: np.ndarray) -> float:
    """The divisor of (N, K) scores that minimises the log loss of their sigmoids, one for all labels."""
    sign = np.where(y, -1.0, 1.0)

    def loss(log_t: float) -> float:
        return float(np.logaddexp(0, sign * scores * np.exp(-log_t)).mean())

    return float(np.exp(minimize_scalar(loss, bounds=(-5, 5), method="bounded").x))


def probabilities(scores: np.ndarray, temperature: float) -> np.ndarray:
    """(m, K) probabilities, of each label by itself: they do not sum to 1."""
    return np.asarray(expit(scores.astype(np.float64) / temperature))


def log_loss(y: np.ndarray, probability: np.ndarray) -> float:
    """Mean −log p of having or not having a label, over clips and labels, in nats; p is clipped at 1e-15."""
    right = np.where(y, probability, 1 - probability)
    return float(-np.log(np.clip(right, 1e-15, None)).mean())


MULTILABEL = Task(
    name="multilabel",
    read=read,
    members=members,
    strata=np.asarray,
    decide=decide,
    temperature=temperature,
    probabilities=probabilities,
    statistics=statistics,
    measures={
        "label_f1": Measure(score=macro_f1),
        "label_uar": Measure(score=mean_uar),
        "exact_match": Measure(score=exact_match),
    },
    chance=drawn_at_random,
)
