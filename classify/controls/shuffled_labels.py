"""Control: the selected system trained on labels shuffled within each speaker, and its selectivity."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from layerprobe.cache.common.console import stage
from layerprobe.classify.controls.checkpoint import Step, run_steps
from layerprobe.classify.controls.refit import SelectedFold, predictions_by_fold, refit
from layerprobe.classify.features.lru_cache import LruCache
from layerprobe.classify.scores.paired import differences
from layerprobe.classify.scores.scoring import Scorer
from layerprobe.classify.search.nested import derive_seed
from layerprobe.classify.search.plan import Plan

SHUFFLES = 10


@stage("shuffled labels")
def shuffled_labels(out: Path, plan: Plan, selected: list[SelectedFold]) -> dict[str, Any]:
    """Score of the selected system with shuffled training labels, and its selectivity. out: the run folder.

    The score is the first of the task. Layer, head and parameters of each outer fold stay as selected. Labels
    are shuffled within each speaker, or over all training clips where no speakers are named, so each speaker
    keeps its class frequencies: a score above chance comes from recognising the speaker. Selectivity is the
    real score minus the mean shuffled one (Hewitt & Liang 2019, with label shuffling as the control task and
    real test labels).

    uar, or ccc of a regression: mean, standard deviation and each score. movable: share of training clips
    whose speaker has clips with another label; only they can change. p: permutation test of "shuffled labels
    score as high" (Ojala & Garriga 2010; counted as in Phipson & Smyth 2010, so at least 1 / (SHUFFLES + 1)).
    """
    steps = [
        Step(name=f"shuffled-{one.fold}", function=_fold, arguments=(plan, one, SHUFFLES)) for one in selected
    ]
    results = run_steps(out, steps, jobs=plan.jobs)
    scorer = Scorer(plan.data, plan.folds, seed=plan.config.seed)
    real = scorer.counts(predictions_by_fold(out, plan))
    shuffles = zip(*(result["predicted"] for result in results), strict=True)
    shuffled = [scorer.counts([np.array(rows) for rows in shuffle]) for shuffle in shuffles]
    metric, measure = plan.data.rules.main, plan.data.rules.measures[plan.data.rules.main]
    scores = [float(measure.score(counts.sum(0))) for counts in shuffled]
    both = np.stack([real.astype(np.float64), np.mean(shuffled, axis=0)], axis=1)
    (selectivity,) = differences(both, [(0, 1)], metric=metric, seed=plan.config.seed)
    as_high = sum(score >= float(measure.score(real.sum(0))) for score in scores)
    return {
        metric: {"value": float(np.mean(scores)), "sd": float(np.std(scores, ddof=1)), "scores": scores},
        "selectivity": asdict(selectivity),
        "p": (1 + as_high) / (1 + len(scores)),
        "shuffles": SHUFFLES,
        "within": "all clips" if plan.data.speakers is None else "speaker",
        "movable": float(np.mean([result["movable"] for result in results])),
    }


def _fold(plan: Plan, selected: SelectedFold, shuffles: int) -> dict[str, Any]:
    """One outer fold: predictions for its test rows after each shuffle."""
    fold, data = plan.folds[selected.fold].outer, plan.data
    cache = LruCache(plan.config.memory // plan.jobs)
    speakers = np.zeros(len(data), np.int64) if data.speakers is None else data.speakers
    predicted = []
    for number in range(shuffles):
        rng = np.random.default_rng(derive_seed(plan.config.seed, "shuffled", selected.fold, number))
        y = shuffle_within(data.y, speakers, fold.train, rng)
        predicted.append(refit(plan, selected, fold, cache=cache, section="fold", y=y).tolist())
    return {"predicted": predicted, "movable": movable(data.y[fold.train], speakers[fold.train])}


def shuffle_within(
    y: np.ndarray, groups: np.ndarray, rows: np.ndarray, rng: np.random.Generator
) -> np.ndarray:
    """(N,) labels, those of `rows` permuted within each group."""
    drawn = rng.permutation(rows)
    shuffled = y.copy()
    shuffled[rows[np.argsort(groups[rows], kind="stable")]] = y[
        drawn[np.argsort(groups[drawn], kind="stable")]
    ]
    return shuffled


def movable(y: np.ndarray, groups: np.ndarray) -> float:
    """Share of rows in a group with more than one label."""
    mixed = [group for group in np.unique(groups) if len(np.unique(y[groups == group], axis=0)) > 1]
    return float(np.isin(groups, mixed).mean())
