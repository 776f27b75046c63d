"""Label economy: what the selected system scores when fewer speakers are there to train on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from layerprobe.classify.controls.checkpoint import Step, results
from layerprobe.classify.controls.refit import Chosen, refit
from layerprobe.classify.data.splits import Fold
from layerprobe.classify.features.lru_cache import LruCache
from layerprobe.classify.scores.metrics import uar
from layerprobe.classify.scores.scoring import Scorer
from layerprobe.classify.search.nested import derive
from layerprobe.classify.search.plan import Plan, share, states_of

SHARES = (0.1, 0.2, 0.35, 0.5, 0.75, 1.0)
DRAWS = 5
TRIES = 50  # to draw speakers who have clips of every class


def learning_curve(folder: Path, plan: Plan, chosen: list[Chosen]) -> dict[str, Any]:
    """UAR against the share of training speakers; where none are named, of training clips.

    For each share speakers are drawn DRAWS times by the seed in every outer fold, and the fold's selected
    layer, head and parameters, which inner folds chose on all speakers, are fitted on their clips. A share so
    small that no draw has clips of every class is left out. uar: the mean over draws, and their standard
    deviation (null for the whole, which is one draw).
    """
    parts = [Step(name=f"economy-{one.fold}", make=_fold, arguments=(plan, one)) for one in chosen]
    made = [part["shares"] for part in results(folder, parts, jobs=plan.jobs)]
    scorer = Scorer(plan.data, plan.folds, seed=plan.config.seed)
    points = []
    for number, wanted in enumerate(SHARES):
        folds = [shares[number] for shares in made]
        draws = min(len(fold) for fold in folds)
        if not draws:
            continue
        scores = [
            float(uar(scorer.counts([np.array(fold[k]["predicted"], np.int64) for fold in folds]).sum(0)))
            for k in range(draws)
        ]
        points.append(
            {
                "share": wanted,
                "speakers": _mean(folds, "speakers", draws),
                "clips": _mean(folds, "clips", draws),
                "draws": draws,
                "uar": {
                    "value": float(np.mean(scores)),
                    "sd": float(np.std(scores, ddof=1)) if draws > 1 else None,
                },
            }
        )
    return {"of": "clips" if plan.data.speakers is None else "speakers", "points": points}


def _mean(folds: list[list[dict[str, Any]]], name: str, draws: int) -> float:
    return float(np.mean([fold[k][name] for fold in folds for k in range(draws)]))


def _fold(plan: Plan, chosen: Chosen) -> dict[str, Any]:
    """One outer fold: for each share and draw what was trained on and what was answered."""
    fold, data = plan.folds[chosen.fold].outer, plan.data
    kept = LruCache(plan.config.memory // plan.jobs)
    layers = states_of(plan, plan.layers_of(chosen.layer), kept=kept.section("states"))
    groups = np.arange(len(data)) if data.speakers is None else data.speakers
    shares: list[list[dict[str, Any]]] = []
    for wanted in SHARES:
        drawn: list[dict[str, Any]] = []
        for number in range(DRAWS if wanted < 1 else 1):
            rng = np.random.default_rng(derive(plan.config.seed, "economy", chosen.fold, wanted, number))
            rows = draw(data.y, groups, fold.train, wanted, rng)
            if rows is None:
                break
            shared = share(plan, layers, Fold(rows, fold.test), kept=kept.section((wanted, number)))
            drawn.append(
                {
                    "speakers": len(np.unique(groups[rows])),
                    "clips": len(rows),
                    "predicted": refit(shared, chosen, seed=plan.config.seed).tolist(),
                }
            )
        shares.append(drawn)
    return {"shares": shares}


def draw(
    y: np.ndarray, groups: np.ndarray, rows: np.ndarray, wanted: float, rng: np.random.Generator
) -> np.ndarray | None:
    """Those of `rows` that belong to a drawn share of their groups; None if no draw has every class."""
    names = np.unique(groups[rows])
    count = max(1, round(wanted * len(names)))
    for _ in range(TRIES):
        kept = rows[np.isin(groups[rows], rng.choice(names, count, replace=False))]
        if len(np.unique(y[kept])) == len(np.unique(y[rows])) and len(kept) > len(np.unique(y[rows])):
            return kept
    return None
