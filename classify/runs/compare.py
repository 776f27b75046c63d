"""Runs side by side on the same clips: scores with intervals, paired tests, who is near the best."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import get_args

import numpy as np

from layerprobe.cache.common.errors import InputError
from layerprobe.classify.config import Metric
from layerprobe.classify.data.protocols import PROTOCOLS
from layerprobe.classify.runs.cost_table import BreakEven, Prices, RunCost, break_even, remarks, run_cost
from layerprobe.classify.runs.predictions import (
    SystemPredictions,
    check_same_clips,
    predictions_of,
    read_predictions,
)
from layerprobe.classify.scores import metrics
from layerprobe.classify.scores.bootstrap import score_intervals
from layerprobe.classify.scores.metrics import SCORES, Interval
from layerprobe.classify.scores.paired import (
    NOISE,
    CorrectedT,
    Difference,
    McNemar,
    corrected_t,
    differences,
    holm,
    mcnemar,
    near_best,
)
from layerprobe.classify.scores.results import SELECTED


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One system: its scores, each with an interval that resamples speakers, and how it stands to the best.

    within_noise: no difference from the best that holds after correction for all that were tested.
    """

    run: str
    system: str
    model: str
    split: str
    scores: dict[Metric, Interval]
    best: bool
    within_noise: bool


@dataclass(frozen=True, kw_only=True)
class Pair:
    """Two entries by their numbers, `first` minus `second`; each p beside its Holm-corrected one.

    corrected is None with fewer than two folds.
    """

    first: int
    second: int
    difference: Difference
    difference_holm: float
    mcnemar: McNemar
    mcnemar_holm: float
    corrected: CorrectedT | None
    corrected_holm: float | None


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """entries and bills: in the order given. pairs: each two of them. break_even: each fine-tuning against
    each run of heads. notes: what to keep in mind when reading it.
    """

    metric: Metric
    clips: int
    speakers: int | None
    folds: int
    entries: tuple[Entry, ...]
    pairs: tuple[Pair, ...]
    bills: tuple[RunCost, ...]
    break_even: tuple[BreakEven, ...]
    notes: tuple[str, ...]


def compare(
    runs: Sequence[Path],
    *,
    system: str = SELECTED,
    metric: Metric = "uar",
    seed: int = 0,
    prices: Prices | None = None,
) -> Comparison:
    """Compare runs, pair by pair.

    system: which of each run's systems, `selected` or `LAYER/HEAD`. metric: of the differences and of the
    folds; McNemar's test is on right answers. seed: of the resampling. prices: for the bills.

    Reads run.json, splits.json and predictions.csv. Raises InputError, naming every difference, unless all
    runs were tested on the same clips with the same labels, speakers and folds.
    """
    if len(runs) < 2:
        raise InputError(f"{len(runs)} run given", do="name two run folders or more")
    twice = [run for number, run in enumerate(runs) if run in runs[:number]]
    if twice:
        raise InputError(f"{twice[0]} is given twice")
    _check_metric(metric)
    answers = [predictions_of(run, system) for run in runs]
    for other in answers[1:]:
        check_same_clips(answers[0], other)
    counts = _counts(answers)
    pairs = _pairs(answers, counts, metric, seed)
    best = int(np.argmax([_score(each, metric) for each in answers]))
    apart = [pair for pair in pairs if best in (pair.first, pair.second) and pair.difference_holm < NOISE]
    worse = {number for pair in apart for number in (pair.first, pair.second)} - {best}
    prices = prices or Prices()
    bills = [run_cost(each.told, prices) for each in answers]
    billed = list(zip(answers, bills, strict=True))
    near = [number not in worse for number in range(len(answers))]
    return Comparison(
        metric=metric,
        clips=len(answers[0].clips),
        speakers=None if answers[0].speakers is None else len(np.unique(answers[0].speakers)),
        folds=len(set(answers[0].folds.tolist())),
        entries=tuple(_entries(answers, counts, best=best, near=near, seed=seed)),
        pairs=tuple(pairs),
        bills=tuple(bills),
        break_even=tuple(break_even([(each.run, bill) for each, bill in billed])),
        notes=(
            *_notes(answers),
            *remarks([(each.run, each.told, bill) for each, bill in billed], prices),
        ),
    )


def rank(run: Path, *, metric: Metric = "uar", seed: int = 0) -> list[Entry]:
    """Every layer and head of one run, best first, and which of them are within noise of the best.

    Raises InputError.
    """
    _check_metric(metric)
    answers = [each for name, each in read_predictions(run).items() if name != SELECTED]
    if not answers:
        raise InputError("holds no answers of single layers and heads", where=str(run))
    for other in answers[1:]:
        check_same_clips(answers[0], other)
    counts = _counts(answers)
    best, near = near_best(counts, metric=metric, seed=seed)
    entries = _entries(answers, counts, best=best, near=near, seed=seed)
    return sorted(entries, key=lambda entry: -entry.scores[metric].value)


def _pairs(answers: Sequence[SystemPredictions], counts: np.ndarray, metric: Metric, seed: int) -> list[Pair]:
    numbers = list(combinations(range(len(answers)), 2))
    apart = differences(counts, numbers, metric=metric, seed=seed)
    right = [each.predicted == each.labels for each in answers]
    exact = [mcnemar(right[a], right[b]) for a, b in numbers]
    over_folds = [_over_folds(answers[a], answers[b], metric) for a, b in numbers]
    tested = [each for each in over_folds if each is not None]  # all of them, or with one fold none
    apart_holm = holm([each.p for each in apart])
    exact_holm = holm([each.p for each in exact])
    folds_holm = holm([each.p for each in tested])
    return [
        Pair(
            first=a,
            second=b,
            difference=apart[k],
            difference_holm=apart_holm[k],
            mcnemar=exact[k],
            mcnemar_holm=exact_holm[k],
            corrected=over_folds[k],
            corrected_holm=folds_holm[k] if tested else None,
        )
        for k, (a, b) in enumerate(numbers)
    ]


def _over_folds(first: SystemPredictions, second: SystemPredictions, metric: Metric) -> CorrectedT | None:
    folds = np.unique(first.folds)
    apart = [
        _score(first, metric, first.folds == fold) - _score(second, metric, first.folds == fold)
        for fold in folds
    ]
    trained = np.mean([len(first.training[fold]) for fold in folds.tolist()])
    return corrected_t(np.array(apart), tested=len(first.clips) / len(folds), trained=float(trained))


def _entries(
    answers: Sequence[SystemPredictions], counts: np.ndarray, *, best: int, near: Sequence[bool], seed: int
) -> list[Entry]:
    scores = {name: score_intervals(counts, metric=name, seed=seed) for name in get_args(Metric)}
    return [
        Entry(
            run=str(each.run),
            system=each.system,
            model=str(each.told.get("model", "")),
            split=_split(each),
            scores={name: intervals[number] for name, intervals in scores.items()},
            best=number == best,
            within_noise=near[number],
        )
        for number, each in enumerate(answers)
    ]


def _counts(answers: Sequence[SystemPredictions]) -> np.ndarray:
    """(clusters, R, K, K) confusion counts by speaker, or by clip where speakers are not known."""
    names = np.unique([each.predicted for each in answers] + [answers[0].labels])
    speakers = answers[0].clips if answers[0].speakers is None else answers[0].speakers
    y = np.searchsorted(names, answers[0].labels)
    return np.stack(
        [
            metrics.cluster_counts(y, np.searchsorted(names, each.predicted), speakers, classes=len(names))
            for each in answers
        ],
        axis=1,
    )


def _score(answers: SystemPredictions, metric: Metric, rows: np.ndarray | slice = slice(None)) -> float:
    names = np.unique([answers.predicted, answers.labels])
    counts = metrics.confusion(
        np.searchsorted(names, answers.labels[rows]),
        np.searchsorted(names, answers.predicted[rows]),
        classes=len(names),
    )
    return float(SCORES[metric](counts))


def _notes(answers: Sequence[SystemPredictions]) -> list[str]:
    notes = []
    first = answers[0]
    if first.speakers is None:
        notes.append("no speakers are named: clips are resampled instead, and the intervals are too narrow")
    elif len(np.unique(first.speakers)) == 1:
        notes.append("of a single speaker there are no intervals, and no p over speakers: nobody to resample")
    other = [str(each.run) for each in answers[1:] if _training(each) != _training(first)]
    if other:
        notes.append(f"not trained on the same clips as {first.run}: {', '.join(other)}")
    if any(_heard(each) for each in answers):
        notes.append("the split is random: test speakers were heard in training, and the scores show it")
    return notes


def _heard(answers: SystemPredictions) -> bool:
    """Whether the split lets test speakers be heard in training."""
    protocol = PROTOCOLS.get(_split(answers))
    return _split(answers) == "random" if protocol is None else not protocol.rule.speaker_disjoint


def _split(answers: SystemPredictions) -> str:
    return str(answers.config.get("protocol") or answers.config.get("split", ""))


def _training(answers: SystemPredictions) -> set[frozenset[str]]:
    return set(answers.training.values())


def _check_metric(metric: str) -> None:
    if metric not in get_args(Metric):
        raise InputError(f"metric '{metric}' is not known", do=f"choose from {', '.join(get_args(Metric))}")
