"""The task `soft`: the shares of the annotators' votes for each class, which a clip may have several of.

Votes are counts or shares in columns with one prefix, such as `p_angry` and `p_sad`, which `join_votes` puts
into one label, `angry=2;sad=1`. Predictions are distributions too. Macro F1 follows EMO-SUPERB (Wu et al.
2024, arXiv:2402.13018, and `emo-superb/expert.py` of its code): the classes of a clip are those with a share
above 1 / K, in truth and prediction.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from layerprobe.cache.common.errors import InputError
from layerprobe.cache.common.text import format_list
from layerprobe.classify.tasks import label_sets
from layerprobe.classify.tasks.calibration import probabilities
from layerprobe.classify.tasks.regression import no_temperature, number
from layerprobe.classify.tasks.task import Labels, Measure, Reading, Task, ratio, sums_by_cluster
from layerprobe.embed.manifest.clips import Clip

BETWEEN, EQUALS = ";", "="
DIGITS = 6  # of a share; what predictions.csv holds is then what was scored
LEAST = 10.0**-DIGITS  # a predicted share of 0 counts as this one in logarithms
WRITE = "write counts or shares of at least 0, and empty all cells of a clip without votes"


def join_votes(clips: Sequence[Clip], prefix: str) -> list[Clip]:
    """The clips with one label `prefix` in place of the columns that begin with it.

    A table with a column of this very name already holds such labels. A clip whose cells are all empty has
    none. Raises InputError that names every clip whose votes are incomplete, no numbers, negative or all 0.
    """
    columns = sorted({name for clip in clips for name in clip.labels if name.startswith(prefix)})
    if prefix in columns:
        return list(clips)
    classes = [name.removeprefix(prefix) for name in columns]
    if len(classes) < 2:
        what = f"--task soft needs a column of votes for each class, and {_found(columns)} with '{prefix}'"
        raise InputError(what, do="name their prefix: --target p_ for columns p_angry, p_sad")
    if odd := [name for name in columns if BETWEEN in name or EQUALS in name]:
        what = f"the names of classes hold '{BETWEEN}' or '{EQUALS}' ({format_list(odd)})"
        raise InputError(what, do="rename these columns")
    faults, joined = [], []
    for clip in clips:
        cells = [clip.labels.get(name, "").strip() for name in columns]
        votes = list(zip(classes, cells, strict=True)) if any(cells) else []
        if votes and (fault := _fault(votes)):
            faults.append(f"{clip.id}: {fault}")
        text = BETWEEN.join(f"{name}{EQUALS}{cell}" for name, cell in votes)
        others = {name: cell for name, cell in clip.labels.items() if name not in columns}
        joined.append(replace(clip, labels={**others, prefix: text}))
    if faults:
        whose = "1 clip has" if len(faults) == 1 else f"{len(faults):,} clips have"
        raise InputError(f"{whose} unusable votes ({format_list(faults)})", do=WRITE)
    return joined


def read(ids: Sequence[str], texts: Sequence[str], column: str, reading: Reading) -> Labels:
    """Labels such as `angry=2;sad=1` as shares. Raises InputError that names every clip with another one."""
    cells = [list(map(_pair, text.split(BETWEEN))) for text in texts]
    faults = [f"{id}: {fault}" for id, votes in zip(ids, cells, strict=True) if (fault := _fault(votes))]
    if faults:
        what = f"column '{column}' holds unusable votes ({format_list(faults)})"
        raise InputError(what, do=f"write such as angry{EQUALS}2{BETWEEN}sad{EQUALS}1")
    classes = classes_of(texts)
    if len(classes) < 2:
        what = f"column '{column}' holds votes for {format_list(list(classes)) or 'nothing'} only"
        raise InputError(what, do="a classifier needs two classes or more")
    y = shares_of(texts, classes)
    y = np.round(y / y.sum(1, keepdims=True), DIGITS)
    if absent := [name for name, votes in zip(classes, y.T, strict=True) if not votes.any()]:
        raise InputError(f"no clip has a vote for {format_list(absent)}", do="remove the column")
    return Labels(classes=classes, y=y)


def shares_of(texts: Sequence[str], classes: Sequence[str]) -> np.ndarray:
    """(N, K) numbers of labels such as `angry=0.75;sad=0.25`. Raises KeyError for another class."""
    place = {name: number for number, name in enumerate(classes)}
    y = np.zeros((len(texts), len(classes)))
    for row, text in enumerate(texts):
        for name, cell in map(_pair, text.split(BETWEEN)):
            y[row, place[name]] = float(cell)
    return y


def classes_of(texts: Sequence[str]) -> tuple[str, ...]:
    """The classes that labels such as `angry=0.75;sad=0.25` name, sorted."""
    return tuple(sorted({name for text in texts for name, _ in map(_pair, text.split(BETWEEN))}))


def text_of(shares: np.ndarray, classes: Sequence[str]) -> str:
    """The label with these (K,) shares."""
    cells = zip(classes, shares.tolist(), strict=True)
    return BETWEEN.join(f"{name}{EQUALS}{share:.{DIGITS}g}" for name, share in cells if share)


def most_voted(clips: Sequence[Clip], target: str) -> list[Clip]:
    """The clips, each labelled with its class of the most votes, the first of equals."""

    def label(text: str) -> str:
        votes = dict(_pair(part) for part in text.split(BETWEEN))
        return max(votes, key=lambda name: float(votes[name])) if text else ""

    return [replace(c, labels={**c.labels, target: label(c.labels.get(target, "").strip())}) for c in clips]


def _pair(part: str) -> tuple[str, str]:
    name, _, cell = part.partition(EQUALS)
    return name.strip(), cell.strip()


def _found(columns: Sequence[str]) -> str:
    return f"only {columns[0]} begins" if columns else "no column begins"


def _fault(votes: Sequence[tuple[str, str]]) -> str:
    """What is wrong with the votes of a clip, pairs of a class and its cell, or nothing."""
    total, seen = 0.0, set()
    for name, cell in votes:
        value = number(cell)
        if not name:
            return f"votes without a class, '{EQUALS if cell else ''}{cell}'"
        if name in seen:
            return f"{name} occurs twice"
        if not cell:
            return f"no number of votes for {name}"
        if value is None or not math.isfinite(value):
            return f"{name} has '{cell}', no number"
        if value < 0:
            return f"{name} has {value:g}"
        total += value
        seen.add(name)
    if math.isinf(total):
        return "the sum of its votes is infinite"
    return "" if total else "all votes are 0"


def above_chance(y: np.ndarray) -> np.ndarray:
    """(N, K) shares → (N, K) bool: above 1 / K, by more than shares are rounded."""
    return np.asarray(y > 1 / y.shape[1] + LEAST)


def members(y: np.ndarray, classes: int) -> np.ndarray:
    return above_chance(y)


def decide(scores: np.ndarray) -> np.ndarray:
    """(m, K) log probabilities up to a constant → (m, K) shares."""
    return np.round(probabilities(scores, 1.0), DIGITS)


def statistics(y: np.ndarray, predicted: np.ndarray, clusters: np.ndarray | None, classes: int) -> np.ndarray:
    """(clusters, 4 + 4 K) or (4 + 4 K,): as of `label_sets`, then the sums of log losses and of entropies."""
    counts = label_sets.statistics(above_chance(y), above_chance(predicted), clusters, classes)
    terms = np.column_stack([losses(y, predicted), losses(y, y)])
    return np.concatenate([counts, sums_by_cluster(terms, clusters)], axis=-1)


def losses(y: np.ndarray, predicted: np.ndarray) -> np.ndarray:
    """(N,) −Σ share · log predicted share, in nats; with y twice, the entropy of the votes."""
    return np.asarray(-(y * np.log(np.maximum(predicted, LEAST))).sum(1))


def macro_f1(sums: np.ndarray) -> np.ndarray:
    """The mean over classes of F1, a clip having the classes with a share above 1 / K."""
    return label_sets.macro_f1(sums[..., :-2])


def log_loss(sums: np.ndarray) -> np.ndarray:
    """The mean cross-entropy of the predicted shares, in nats; the least is the entropy of the votes."""
    return ratio(sums[..., -2], sums[..., label_sets.CLIPS])


def divergence(sums: np.ndarray) -> np.ndarray:
    """The mean Kullback-Leibler divergence of the predicted shares from the votes, in nats; 0 if equal."""
    return ratio(sums[..., -2] - sums[..., -1], sums[..., label_sets.CLIPS])


SOFT = Task(
    name="soft",
    read=read,
    members=members,
    strata=above_chance,
    decide=decide,
    temperature=no_temperature,  # heads minimise the log loss of these very distributions
    probabilities=probabilities,
    statistics=statistics,
    measures={
        "soft_f1": Measure(score=macro_f1),
        "soft_loss": Measure(score=log_loss, high=math.inf, larger_is_better=False),
        "soft_kl": Measure(score=divergence, high=math.inf, larger_is_better=False),
    },
    chance=label_sets.drawn_at_random,
)
