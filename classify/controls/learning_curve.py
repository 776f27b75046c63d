"""Control: the learning curve of the selected system, its score with fewer training speakers."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from layerprobe.classify.controls.checkpoint import Step, run_steps
from layerprobe.classify.controls.refit import SelectedFold, refit
from layerprobe.classify.data.dataset import Dataset
from layerprobe.classify.data.splits import Fold
from layerprobe.classify.features.lru_cache import LruCache
from layerprobe.classify.scores.scoring import Scorer
from layerprobe.classify.search.nested import derive_seed
from layerprobe.classify.search.plan import Plan

NAME = "learning_curve"
OLD_NAME = "economy"  # in files of earlier versions, and in the seeds of draws, which must not change
SHARES = (0.1, 0.2, 0.35, 0.5, 0.75, 1.0)
DRAWS = 5
ATTEMPTS = 50  # to draw speakers with clips of every class


def learning_curve(out: Path, plan: Plan, selected: list[SelectedFold]) -> dict[str, Any]:
    """Score against the share of training speakers, or of training clips where no speakers are named.

    The score is the first of the task. For each share, speakers are drawn DRAWS times in every outer fold,
    and the fold's selected system, which inner folds selected on all speakers, is fitted to their clips. A
    share too small to draw clips of every class is left out, and so is one that draws as many speakers as the
    next. uar, or ccc of a regression: mean over draws and
    standard deviation, null for all speakers, which is one draw. out: the run folder.
    """
    steps = [Step(name=f"{NAME}-{one.fold}", function=_fold, arguments=(plan, one)) for one in selected]
    results = [result["shares"] for result in run_steps(out, steps, jobs=plan.jobs)]
    scorer = Scorer(plan.data, plan.folds, seed=plan.config.seed)
    metric, measure = plan.data.rules.main, plan.data.rules.measures[plan.data.rules.main]
    points = []
    for share_, *folds in zip(SHARES, *results, strict=True):
        draws = list(zip(*folds, strict=False))  # each with one entry per fold, as many as all folds have
        if not draws:
            continue
        scores = [
            float(measure.score(scorer.counts([np.array(fold["predicted"]) for fold in draw]).sum(0)))
            for draw in draws
        ]
        sizes = {
            name: float(np.mean([fold[name] for draw in draws for fold in draw]))
            for name in ("speakers", "clips")
        }
        sd = float(np.std(scores, ddof=1)) if len(draws) > 1 else None
        score = {"value": float(np.mean(scores)), "sd": sd}
        points.append({"share": share_, **sizes, "draws": len(draws), metric: score})
    return {"of": "clips" if plan.data.speakers is None else "speakers", "points": points}


def _fold(plan: Plan, selected: SelectedFold) -> dict[str, Any]:
    """One outer fold: for each share and draw, the size of the training set and the predicted classes."""
    fold, data = plan.folds[selected.fold].outer, plan.data
    cache = LruCache(plan.config.memory // plan.jobs)
    speakers = np.arange(len(data)) if data.speakers is None else data.speakers
    shares: list[list[dict[str, Any]]] = []
    distinct = distinct_shares([len(np.unique(speakers[each.outer.train])) for each in plan.folds])
    for proportion in SHARES:
        shares.append([])
        if proportion not in distinct:
            continue
        for number in range(DRAWS if proportion < 1 else 1):
            rng = np.random.default_rng(
                derive_seed(plan.config.seed, OLD_NAME, selected.fold, proportion, number)
            )
            rows = draw_groups(data, speakers, fold.train, proportion, rng)
            if rows is None:
                break
            part, section = Fold(rows, fold.test), (proportion, number)
            shares[-1].append(
                {
                    "speakers": len(np.unique(speakers[rows])),
                    "clips": len(rows),
                    "predicted": refit(plan, selected, part, cache=cache, section=section).tolist(),
                }
            )
    return {"shares": shares}


def distinct_shares(groups: Sequence[int]) -> tuple[float, ...]:
    """Those of SHARES that draw other numbers of groups than the next.

    groups: how many each fold trains on.
    """
    by_sizes = {tuple(_groups_of(size, share) for size in groups): share for share in SHARES}
    return tuple(by_sizes.values())


def _groups_of(groups: int, share: float) -> int:
    return max(1, round(share * groups))


def draw_groups(
    data: Dataset, groups: np.ndarray, rows: np.ndarray, proportion: float, rng: np.random.Generator
) -> np.ndarray | None:
    """Those of `rows` in a random proportion of their groups; None if no draw has every class.

    Nor may all clips of a draw have labels of their own, or all the same number.
    """
    names, classes = np.unique(groups[rows]), data.members[rows].any(0).sum()
    count = _groups_of(len(names), proportion)
    for _ in range(ATTEMPTS):
        drawn = rows[np.isin(groups[rows], rng.choice(names, count, replace=False))]
        enough = classes < len(drawn) if classes else len(np.unique(data.y[drawn])) > 1
        several = data.members[drawn]
        if enough and several.any(0).sum() == classes and not several.all(0).any():
            return drawn
    return None
