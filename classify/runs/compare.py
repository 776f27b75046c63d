"""Compare runs on the same clips: scores with intervals, paired tests, systems within noise of the best."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

import numpy as np

from layerprobe.cache.common.errors import InputError
from layerprobe.classify.config import AUTO, METRICS, Metric, chosen_metric
from layerprobe.classify.data.protocols import PROTOCOLS
from layerprobe.classify.runs.cost_table import BreakEven, Prices, RunCost, break_even, cost_notes, run_cost
from layerprobe.classify.runs.label_codes import label_codes
from layerprobe.classify.runs.read_predictions import (
    SystemPredictions,
    check_same_clips,
    read_predictions,
    read_system,
)
from layerprobe.classify.runs.run_folder import RUN, SUMMARY, read_json, reporting_damage
from layerprobe.classify.scores.bootstrap import Interval
from layerprobe.classify.scores.intervals import score_intervals
from layerprobe.classify.scores.paired import (
    NOISE,
    CorrectedT,
    Difference,
    corrected_t,
    differences,
    holm,
    near_best,
)
from layerprobe.classify.scores.results import SELECTED
from layerprobe.classify.tasks.registry import MEASURES, TASKS


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One system: its scores with intervals that resample speakers, and its rank.

    within_noise: no significant difference from the best, corrected for multiple tests.
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
    """Two entries by their numbers, `first` minus `second`; each test with its Holm-corrected p.

    corrected: None with fewer than two folds.
    """

    first: int
    second: int
    difference: Difference
    difference_holm: float
    corrected: CorrectedT | None
    corrected_holm: float | None


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """entries, costs: in the order of the runs. pairs: every two of them. break_even: each fine-tuning with
    each run of heads. notes: what limits the comparison.
    """

    metric: Metric
    clips: int
    speakers: int | None
    folds: int
    entries: tuple[Entry, ...]
    pairs: tuple[Pair, ...]
    costs: tuple[RunCost, ...]
    break_even: tuple[BreakEven, ...]
    notes: tuple[str, ...]


def compare(
    runs: Sequence[Path],
    *,
    system: str = SELECTED,
    metric: Metric = AUTO,
    seed: int = 0,
    prices: Prices | None = None,
) -> Comparison:
    """Compare runs, pair by pair: intervals and p over speakers, the corrected t-test over folds.

    system: which of each run's systems, `selected` or `LAYER/HEAD`. metric: of the differences, by default
    the first of the task. seed: of the resampling. prices: for the costs.

    Reads run.json, splits.json and predictions.csv. Raises InputError, naming every difference, unless all
    runs were tested on the same clips with the same labels, speakers and folds.
    """
    if len(runs) < 2:
        raise InputError(f"{len(runs)} run given", do="name two run folders or more")
    twice = [run for number, run in enumerate(runs) if run in runs[:number]]
    if twice:
        raise InputError(f"{twice[0]} is given twice")
    systems = [read_system(run, system) for run in runs]
    for other in systems[1:]:
        check_same_clips(systems[0], other)
    metric = chosen_metric(metric, systems[0].task, maximised=False)
    counts = _counts(systems)
    pairs = _pairs(systems, counts, metric, seed)
    best = int(np.argmax(MEASURES[metric].better(np.array([_score(each, metric) for each in systems]))))
    apart = [pair for pair in pairs if best in (pair.first, pair.second) and pair.difference_holm < NOISE]
    worse = {number for pair in apart for number in (pair.first, pair.second)} - {best}
    prices = prices or Prices()
    costs = []
    for each in systems:
        with reporting_damage(each.run / RUN):
            costs.append(run_cost(each.record, prices))
    near = [number not in worse for number in range(len(systems))]
    return Comparison(
        metric=metric,
        clips=len(systems[0].clips),
        speakers=None if systems[0].speakers is None else len(np.unique(systems[0].speakers)),
        folds=len(set(systems[0].folds.tolist())),
        entries=tuple(_entries(systems, counts, best=best, near=near, seed=seed)),
        pairs=tuple(pairs),
        costs=tuple(costs),
        break_even=tuple(break_even(list(zip(runs, costs, strict=True)))),
        notes=(
            *_notes(systems),
            *cost_notes(
                [(each.run, each.record, cost) for each, cost in zip(systems, costs, strict=True)], prices
            ),
        ),
    )


def rank(run: Path, *, metric: Metric = AUTO, seed: int = 0) -> list[Entry]:
    """Every layer and head of one run, best first by the metric, as of `compare`. Raises InputError."""
    systems = [each for name, each in read_predictions(run).items() if name != SELECTED]
    if not systems:
        raise InputError("holds no predictions of single layers and heads", where=str(run))
    for other in systems[1:]:
        check_same_clips(systems[0], other)
    metric = chosen_metric(metric, systems[0].task, maximised=False)
    counts = _counts(systems)
    best, near = near_best(counts, metric=metric, seed=seed)
    entries = _entries(systems, counts, best=best, near=near, seed=seed)
    sign = 1 if MEASURES[metric].larger_is_better else -1
    return sorted(entries, key=lambda entry: -sign * entry.scores[metric].value)


def _pairs(systems: Sequence[SystemPredictions], counts: np.ndarray, metric: Metric, seed: int) -> list[Pair]:
    numbers = list(combinations(range(len(systems)), 2))
    apart = differences(counts, numbers, metric=metric, seed=seed)
    over_folds = [_over_folds(systems[a], systems[b], metric) for a, b in numbers]
    tested = [each for each in over_folds if each is not None]  # all, or none with a single fold
    apart_holm = holm([each.p for each in apart])
    folds_holm = holm([each.p for each in tested])
    return [
        Pair(
            first=a,
            second=b,
            difference=apart[k],
            difference_holm=apart_holm[k],
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
    systems: Sequence[SystemPredictions], counts: np.ndarray, *, best: int, near: Sequence[bool], seed: int
) -> list[Entry]:
    names = METRICS[systems[0].task]
    scores = {name: score_intervals(counts, metric=name, seed=seed) for name in names}
    return [
        Entry(
            run=str(each.run),
            system=each.system,
            model=str(each.record.get("model", "")),
            split=each.split,
            scores={name: intervals[number] for name, intervals in scores.items()},
            best=number == best,
            within_noise=near[number],
        )
        for number, each in enumerate(systems)
    ]


def _counts(systems: Sequence[SystemPredictions]) -> np.ndarray:
    """(clusters, R, *S) statistics of the task by speaker, or by clip if speakers are unknown."""
    first, task = systems[0], TASKS[systems[0].task]
    speakers = first.clips if first.speakers is None else first.speakers
    names, y, predicted = label_codes(first, [each.predicted for each in systems])
    return np.stack([task.statistics(y, each, speakers, names) for each in predicted], axis=1)


def _score(predictions: SystemPredictions, metric: Metric, rows: np.ndarray | slice = slice(None)) -> float:
    task = TASKS[predictions.task]
    names, y, (predicted,) = label_codes(predictions, [predictions.predicted])
    return float(MEASURES[metric].score(task.statistics(y[rows], predicted[rows], None, names)))


def _notes(systems: Sequence[SystemPredictions]) -> list[str]:
    notes = []
    first = systems[0]
    if first.speakers is None:
        notes.append("no speakers are named: clips are resampled instead, and the intervals are too narrow")
    elif len(np.unique(first.speakers)) == 1:
        notes.append("a single speaker cannot be resampled: there are no intervals, and no p over speakers")
    training = set(first.training.values())
    other = [str(each.run) for each in systems[1:] if set(each.training.values()) != training]
    if other:
        notes.append(f"not trained on the same clips as {first.run}: {', '.join(other)}")
    if any(_leaks_speakers(each) for each in systems):
        notes.append(
            f"the split is {first.split}: test speakers are in the training partition, "
            "which raises the scores"
        )
    return notes


def _leaks_speakers(predictions: SystemPredictions) -> bool:
    """Whether the split puts speakers into both training and test."""
    if predictions.config.get("splits"):
        share = read_json(predictions.run / SUMMARY)["audit"].get("test_clips_of_training_speakers")
        return bool(share)
    protocol = PROTOCOLS.get(predictions.split)
    return predictions.split == "random" if protocol is None else not protocol.rule.speaker_disjoint
