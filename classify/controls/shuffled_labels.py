"""The control that learns nothing: the selected system on labels shuffled within each speaker."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from layerprobe.classify.controls.checkpoint import Step, results
from layerprobe.classify.controls.refit import Chosen, answered, each_fold, refit
from layerprobe.classify.features.lru_cache import LruCache
from layerprobe.classify.scores.metrics import uar
from layerprobe.classify.scores.paired import differences
from layerprobe.classify.scores.scoring import Scorer
from layerprobe.classify.search.nested import derive
from layerprobe.classify.search.plan import Plan, share, states_of

SHUFFLES = 10


def shuffled_labels(out: Path, folder: Path, plan: Plan, chosen: list[Chosen]) -> dict[str, Any]:
    """What the selected system scores when its training labels are shuffled, and its selectivity.

    Layer, head and parameters of each outer fold stay as inner folds chose them. Labels are shuffled within
    each speaker, so that how often a speaker has a class stays as it is: what is left above chance is read
    from the speaker. Selectivity is the real score minus the mean shuffled one (Hewitt & Liang 2019, whose
    control task it is here, with real labels in the test part). Without speakers labels are shuffled over
    all training clips.

    uar: mean, standard deviation and each score. movable: the share of training clips whose speaker has clips
    of another class, without which shuffling changes nothing. p: of "shuffled labels do as well", by counting
    (Phipson & Smyth 2010), so that it is 1 / (SHUFFLES + 1) at the least.
    """
    parts = [Step(name=f"shuffled-{one.fold}", make=_fold, arguments=(plan, one, SHUFFLES)) for one in chosen]
    made = results(folder, parts, jobs=plan.jobs)
    scorer = Scorer(plan.data, plan.folds, seed=plan.config.seed)
    real = scorer.counts(answered(out, plan))
    shuffled = [scorer.counts(repeat) for repeat in each_fold([part["predicted"] for part in made])]
    scores = [float(uar(counts.sum(0))) for counts in shuffled]
    both = np.stack([real.astype(np.float64), np.mean(shuffled, axis=0)], axis=1)
    (apart,) = differences(both, [(0, 1)], metric="uar", seed=plan.config.seed)
    as_good = sum(score >= float(uar(real.sum(0))) for score in scores)
    return {
        "uar": {"value": float(np.mean(scores)), "sd": float(np.std(scores, ddof=1)), "scores": scores},
        "selectivity": asdict(apart),
        "p": (1 + as_good) / (1 + len(scores)),
        "shuffles": SHUFFLES,
        "within": "all clips" if plan.data.speakers is None else "speaker",
        "movable": float(np.mean([part["movable"] for part in made])),
    }


def _fold(plan: Plan, chosen: Chosen, shuffles: int) -> dict[str, Any]:
    """One outer fold: the classes given to its test rows after each shuffle."""
    fold, data = plan.folds[chosen.fold].outer, plan.data
    kept = LruCache(plan.config.memory // plan.jobs)
    layers = states_of(plan, plan.layers_of(chosen.layer), kept=kept.section("states"))
    shared = share(plan, layers, fold, kept=kept.section("fold"))
    groups = np.zeros(len(data), np.int64) if data.speakers is None else data.speakers
    predicted = []
    for number in range(shuffles):
        rng = np.random.default_rng(derive(plan.config.seed, "shuffled", chosen.fold, number))
        y = shuffle_within(data.y, groups, fold.train, rng)
        predicted.append(refit(shared.relabelled(y), chosen, seed=plan.config.seed).tolist())
    return {"predicted": predicted, "movable": movable(data.y[fold.train], groups[fold.train])}


def shuffle_within(
    y: np.ndarray, groups: np.ndarray, rows: np.ndarray, rng: np.random.Generator
) -> np.ndarray:
    """(N,) labels, those of `rows` permuted within each group."""
    lots = rng.permutation(len(rows))
    stay = rows[np.argsort(groups[rows], kind="stable")]
    drawn = rows[lots][np.argsort(groups[rows][lots], kind="stable")]
    changed = y.copy()
    changed[stay] = y[drawn]
    return changed


def movable(y: np.ndarray, groups: np.ndarray) -> float:
    """The share of rows in whose group there is another label than theirs."""
    pairs = np.unique(np.stack([groups, y]), axis=1)
    several = np.unique(pairs[0], return_counts=True)
    return float(np.isin(groups, several[0][several[1] > 1]).mean())
