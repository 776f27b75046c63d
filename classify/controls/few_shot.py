"""Control: few-shot curves of the selected system, by clips of each class and of each new speaker."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from layerprobe.classify.controls.checkpoint import Step, run_steps
from layerprobe.classify.controls.refit import SelectedFold, refit
from layerprobe.classify.data.splits import Fold
from layerprobe.classify.features.lru_cache import LruCache
from layerprobe.classify.search.nested import derive_seed
from layerprobe.classify.search.plan import Plan
from layerprobe.classify.tasks.classification import CLASSIFICATION

NAME = "few_shot"
SHOTS = (2, 4, 8, 16, 32)  # training clips of each class, of any training speaker
OWN_SHOTS = (0, 1, 2, 4)  # clips of each class of each test speaker, beside all training clips
DRAWS = 5


def few_shot(out: Path, plan: Plan, selected: list[SelectedFold]) -> dict[str, Any]:
    """UAR with few training clips, and with few clips of the tested speakers. out: the run folder.

    clips: for each number of SHOTS, so many clips of each class are drawn from the training partition; the
    complete test partition is predicted. A number that a class does not have is left out.

    own_clips: so many clips of each class of every test speaker are added to the training partition
    (OWN_SHOTS), and the speaker's other clips are predicted. The clips that the largest number would take are
    never predicted, so that all numbers are tested on the same clips. Null where no speakers are named.

    Layer, head and parameters of each outer fold stay as selected. uar: mean over DRAWS draws and standard
    deviation.
    """
    steps = [Step(name=f"{NAME}-{one.fold}", function=_fold, arguments=(plan, one)) for one in selected]
    results = run_steps(out, steps, jobs=plan.jobs)
    named = plan.data.speakers is not None
    return {
        "clips": _points(plan, [result["clips"] for result in results], SHOTS),
        "own_clips": _points(plan, [result["own_clips"] for result in results], OWN_SHOTS) if named else None,
    }


def _points(
    plan: Plan, folds: list[list[list[dict[str, Any]]]], shots: tuple[int, ...]
) -> list[dict[str, Any]]:
    """The score for each number of shots. folds: for each fold, number and draw, the size and predictions."""
    points = []
    for number, *by_fold in zip(shots, *folds, strict=True):
        scores, sizes = [], []
        for draws in zip(*by_fold, strict=False):
            rows = np.concatenate([np.array(fold["tested"], np.int64) for fold in draws])
            predicted = np.concatenate([np.array(fold["predicted"], np.int64) for fold in draws])
            true, classes = plan.data.y[rows], len(plan.data.classes)
            scores.append(CLASSIFICATION.score(true, predicted, classes=classes, metric="uar"))
            sizes.append(float(np.mean([fold["clips"] for fold in draws])))
        if scores:
            score = {"value": float(np.mean(scores)), "sd": float(np.std(scores, ddof=1))}
            points.append(
                {"shots": number, "clips": float(np.mean(sizes)), "draws": len(scores), "uar": score}
            )
    return points


def _fold(plan: Plan, selected: SelectedFold) -> dict[str, Any]:
    """One outer fold: for each number of shots and draw, training clips, tested rows, predicted classes."""
    fold, data, seed = plan.folds[selected.fold].outer, plan.data, plan.config.seed
    cache = LruCache(plan.config.memory // plan.jobs)
    clips: list[list[dict[str, Any]]] = [[] for _ in SHOTS]
    own: list[list[dict[str, Any]]] = [[] for _ in OWN_SHOTS]

    def predict(part: Fold, section: tuple[str, int, int]) -> dict[str, Any]:
        predicted = refit(plan, selected, part, cache=cache, section=section)
        return {"clips": len(part.train), "tested": part.test.tolist(), "predicted": predicted.tolist()}

    for draw in range(DRAWS):
        rng = np.random.default_rng(derive_seed(seed, NAME, selected.fold, draw))
        order = rng.permutation(fold.train)
        for place, shots in enumerate(SHOTS):
            rows = first_of_groups(order, data.y[order], shots)
            if np.bincount(data.y[rows], minlength=len(data.classes)).min() == shots:
                clips[place].append(predict(Fold(rows, fold.test), ("clips", draw, shots)))
        if data.speakers is None:
            continue
        order = rng.permutation(fold.test)
        group = data.speakers[order] * len(data.classes) + data.y[order]
        tested = np.setdiff1d(fold.test, first_of_groups(order, group, max(OWN_SHOTS)))
        for place, shots in enumerate(OWN_SHOTS):
            train = np.sort(np.concatenate([fold.train, first_of_groups(order, group, shots)]))
            if len(tested):
                own[place].append(predict(Fold(train, tested), ("own", draw, shots)))
    return {"clips": clips, "own_clips": own}


def first_of_groups(rows: np.ndarray, group: np.ndarray, count: int) -> np.ndarray:
    """The first `count` rows of each group, ascending. rows, group: (n,)."""
    within = np.zeros(len(rows), np.int64)
    for name in np.unique(group):
        within[group == name] = np.arange((group == name).sum())
    return np.sort(rows[within < count])
