"""The same study on other states: runs beside a run, and how the selected system stands to theirs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np

from layerprobe.cache.common.console import say
from layerprobe.cache.common.errors import InputError
from layerprobe.cache.store.feature_store import FeatureStore
from layerprobe.classify.config import MIX
from layerprobe.classify.controls.refit import answered
from layerprobe.classify.runs import folder as runfolder
from layerprobe.classify.scores.bootstrap import score_intervals
from layerprobe.classify.scores.paired import differences
from layerprobe.classify.scores.scoring import Scorer
from layerprobe.classify.search.plan import Plan
from layerprobe.classify.search.progress import Report
from layerprobe.classify.search.study import run_study
from layerprobe.embed.manifest.clips import Clip


def run_baseline(
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


def baseline_runs(out: Path, folder: Path, plan: Plan) -> list[dict[str, Any]]:
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


def run_baselines(out: Path, plan: Plan, clips: Sequence[Clip]) -> None:
    """The study of `plan` on acoustic features and on random weights, as runs in `out/controls`.

    What is not cached is embedded first, as the study's own states were. One that cannot be made is told and
    left out: the run's own score stands without it.
    """
    from layerprobe.cache.identity.extraction import FRAME
    from layerprobe.cache.store.feature_store import FeatureStore
    from layerprobe.classify.controls.baselines import run_baseline
    from layerprobe.classify.controls.checkpoint import FOLDER
    from layerprobe.classify.search.progress import live_display
    from layerprobe.embed.config import EmbedConfig
    from layerprobe.embed.extract.run import embed_with_progress
    from layerprobe.embed.models.presets import ACOUSTIC_PRESETS, RANDOM

    of, cache = plan.store.extraction, plan.store.cache
    model, frames = of.model, of.stats == (FRAME,)
    stats = EmbedConfig.stats if frames else of.stats
    if model in ACOUSTIC_PRESETS:
        say(f"note: {model} is no network, so neither mfcc nor random weights are run beside it")
        return
    rivals = {"mfcc": EmbedConfig(model="mfcc", cache=cache, stats=stats, frames=frames)}
    if model.startswith(RANDOM):
        say(f"note: {model} has no trained weights, so no random weights are run beside it")
    else:
        rivals["random"] = EmbedConfig(
            model=RANDOM + model,
            cache=cache,
            layers=",".join(of.layers),
            stats=stats,
            frames=frames,
            dtype=of.dtype,
            window=of.window,
        )
    for name, config in rivals.items():
        try:
            done = embed_with_progress(clips, config)
            if done.stopped:
                raise KeyboardInterrupt
            store = FeatureStore(done.store)
            folder = out / FOLDER / name
            folder.mkdir(parents=True, exist_ok=True)
            with live_display(f"control {config.model}") as report:
                run_baseline(folder, plan, clips, store, command={"control_of": str(out)}, report=report)
        except InputError as error:
            say(f"note: no control {config.model}: {error}")
