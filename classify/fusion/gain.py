"""What a fusion gains over the best single model, and its figure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.figure import Figure

from layerprobe.classify.data.dataset import Dataset
from layerprobe.classify.data.splits import OuterFold
from layerprobe.classify.plotting import COLOURS, DASHED, GREY, KINDS, STYLE, draw_points, save, set_title
from layerprobe.classify.scores.bootstrap import score_intervals
from layerprobe.classify.scores.paired import differences
from layerprobe.classify.scores.results import SELECTED, StudyId, StudyResult
from layerprobe.classify.scores.scoring import Scorer
from layerprobe.classify.scores.selection import select_system

NAME = "fusion"


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


def draw_fusion(summary: Mapping[str, Any], folder: Path) -> list[Path]:
    """Draw the UAR of single models and fusions, one below the other, as SVG, PDF and PNG; the files."""
    fusion = summary["fusion"]
    singles = [entry for entry in summary["layers"] if entry["head"] == SELECTED]
    rows = [(entry["layer"], entry["uar"], COLOURS[1]) for entry in singles]
    rows.append(("best single", fusion["best_single"]["uar"], GREY))
    rows += [(f"{entry['kind']} fusion", entry["uar"], COLOURS[0]) for entry in fusion["kinds"]]
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(6.4, 1.4 + 0.4 * len(rows)), layout="constrained")
        axes = figure.subplots()
        draw_points(axes, rows)
        axes.axvline(summary["chance"], color=GREY, linestyle=DASHED, linewidth=1)
        axes.set_xlabel(f"unweighted average recall (dashed: chance {summary['chance']:.3g})")
        set_title(axes, f"{summary['model']}: {summary['target']}\nbars: 95 %")
        return [save(figure, folder / f"{NAME}.{kind}") for kind in KINDS]
