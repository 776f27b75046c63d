"""What a fusion gains over the best single model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from layerprobe.classify.data.dataset import Dataset
from layerprobe.classify.data.splits import OuterFold
from layerprobe.classify.scores.intervals import score_intervals
from layerprobe.classify.scores.paired import differences
from layerprobe.classify.scores.results import SELECTED, StudyId, StudyResult
from layerprobe.classify.scores.scoring import Scorer
from layerprobe.classify.scores.selection import select_system


def describe_fusion(
    data: Dataset, folds: Sequence[OuterFold], results: Mapping[StudyId, StudyResult], *, seed: int
) -> dict[str, Any]:
    """`fusion` of summary.json: the best single model, and for each fusion its UAR minus that one's.

    The best single model of an outer fold is the one with the best inner score, as a study without fusion
    would select it. Differences are paired, with 95 % intervals that resample speakers.
    """
    singles = {id: result for id, result in results.items() if id.head == SELECTED}
    best = select_system(singles)
    kinds = list(dict.fromkeys(id.head for id in results if id.head != SELECTED))
    systems = [best, *(select_system(results, head=kind) for kind in kinds)]
    scorer = Scorer(data, folds, seed=seed)
    counts = np.stack([scorer.counts([one.predicted for one in system]) for system in systems], axis=1)
    scores = score_intervals(counts, metric="uar", seed=seed)
    gains = differences(counts, [(number, 0) for number in range(1, len(systems))], metric="uar", seed=seed)
    return {
        "best_single": {"uar": asdict(scores[0]), "folds": [result.id.layer for result in best]},
        "kinds": [
            {
                "kind": kind,
                "uar": asdict(score),
                "minus_best_single": asdict(gain),
                "folds": [{"fold": result.id.fold, **result.details} for result in system],
            }
            for kind, score, gain, system in zip(kinds, scores[1:], gains, systems[1:], strict=True)
        ],
    }
