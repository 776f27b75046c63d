"""The same study on other states: runs beside a run, and how the selected system stands to theirs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np

from layerprobe.cache.store.feature_store import FeatureStore
from layerprobe.classify.config import MIX
from layerprobe.classify.controls.refit import answered
from layerprobe.classify.runs import folder as runfolder
from layerprobe.classify.scores.bootstrap import score_intervals
from layerprobe.classify.scores.paired import differences
from layerprobe.classify.scores.scoring import Scorer
from layerprobe.classify.search.jobs import Plan
from layerprobe.classify.search.progress import Report
from layerprobe.classify.search.study import run_study
from layerprobe.embed.manifest.clips import Clip


def run_rival(
    out: Path,
    plan: Plan,
    clips: Sequence[Clip],
    store: FeatureStore,
    *,
    command: Mapping[str, Any],
    report: Report | None = None,
) -> Path:
    """Run the study of `plan` on the states of another store, into the run folder `out`.

    The same clips, folds, heads and trials; all of the store's layers, or those of the plan that it holds.
    What was done before is not done again. Raises InputError as `run_study` does.
    """
    asked = [name for name in plan.config.layers if name in (*store.extraction.layers, MIX)]
    whole = not asked or set(asked) == {MIX}
    config = replace(plan.config, layers=() if whole else tuple(asked), storage=None)
    return run_study(clips, store, out, config, excluded=plan.data.excluded, command=command, report=report)


def rivals_of(out: Path, folder: Path, plan: Plan) -> list[dict[str, Any]]:
    """Each finished run in `folder`: its selected system, and by how much that of `out` is better.

    Intervals resample speakers, the same for both.
    """
    told = []
    scorer = Scorer(plan.data, plan.folds, seed=plan.config.seed)
    own = scorer.counts(answered(out, plan))
    for run in sorted(folder.glob(f"*/{runfolder.SUMMARY}")):
        if not runfolder.read_json(run.parent / runfolder.RUN).get("finished"):
            continue
        summary = runfolder.read_json(run)
        counts = np.stack([own, scorer.counts(answered(run.parent, plan))], axis=1)
        (apart,) = differences(counts, [(0, 1)], metric="uar", seed=plan.config.seed)
        score = score_intervals(counts, metric="uar", seed=plan.config.seed)[1]
        told.append(
            {
                "run": str(run.parent.relative_to(out)),
                "model": summary["model"],
                "layer": summary["selected"]["layer"],
                "head": summary["selected"]["head"],
                "uar": asdict(score),
                "selected_minus_it": asdict(apart),
            }
        )
    return told
