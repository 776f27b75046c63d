"""Baselines: the same study on acoustic features and on the same model with random weights."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from layerprobe.cache.common.console import say, stage
from layerprobe.cache.common.errors import InputError
from layerprobe.cache.common.text import format_count
from layerprobe.cache.identity.extraction import FRAME
from layerprobe.cache.store.feature_store import FeatureStore
from layerprobe.classify.config import MIX, StudyConfig
from layerprobe.classify.controls.refit import predictions_by_fold
from layerprobe.classify.heads.registry import heads_of
from layerprobe.classify.layer_names import layer_parts
from layerprobe.classify.runs.run_folder import CONTROLS, RUN, SUMMARY, read_json
from layerprobe.classify.scores.intervals import score_intervals
from layerprobe.classify.scores.paired import differences
from layerprobe.classify.scores.scoring import Scorer
from layerprobe.classify.search.plan import Plan
from layerprobe.classify.search.progress import ProgressCallback, live_display
from layerprobe.classify.search.study import run_study
from layerprobe.embed.config import EmbedConfig
from layerprobe.embed.manifest.clips import Clip
from layerprobe.embed.models.presets import ACOUSTIC_PRESETS, FUNCTIONALS, RANDOM

INSTEAD = "logreg"  # of heads that read layers together, where a baseline has one layer


@stage("baselines")
def run_baselines(out: Path, plan: Plan, clips: Sequence[Clip]) -> None:
    """Run the study of `plan` on each baseline, as run folders in `out/controls`.

    Missing states are embedded first, with the options of the study's own states. A baseline that fails with
    an InputError is reported and left out.
    """
    from layerprobe.embed.extract.run import embed_with_progress  # loads torch

    for name, config in _baselines(plan).items():
        try:
            done = embed_with_progress(clips, config)
            if done.stopped:
                raise KeyboardInterrupt
            store = FeatureStore(done.store)
            if missing := store.missing(plan.data.keys):
                what = f"it has no states of {format_count(len(missing), 'clip')} of the study"
                raise InputError(what, do="it is left out, since it would be tested on other clips")
            folder = out / CONTROLS / name
            folder.mkdir(parents=True, exist_ok=True)
            with live_display(f"baseline {config.model}") as report:
                command = {"control_of": str(out)}
                run_baseline(folder, plan, clips, store, command=command, report=report)
        except InputError as error:
            say(f"note: no baseline {config.model}: {error}")


def _baselines(plan: Plan) -> dict[str, EmbedConfig]:
    """Folder name → extraction of each baseline that differs from the study's own states."""
    own = plan.store.extraction
    if own.model in ACOUSTIC_PRESETS:
        say(f"note: {own.model} is not a network, so there are no mfcc and random-weights baselines")
        return {}
    frames = own.stats == (FRAME,)
    options: dict[str, Any] = {
        "cache": plan.store.cache,
        "stats": EmbedConfig.stats if frames else own.stats,
        "frames": frames,
        "channels": own.channels,
        "track": own.track,
    }
    baselines = {"mfcc": EmbedConfig(model="mfcc", **options)}
    if not frames and find_spec("opensmile") is not None:
        sound = {name: options[name] for name in ("cache", "channels", "track")}
        baselines |= {name.replace(":", "-"): EmbedConfig(model=name, **sound) for name in FUNCTIONALS}
    if own.model.startswith(RANDOM):
        say(f"note: {own.model} has no trained weights, so there is no random-weights baseline")
    else:
        options |= {"layers": ",".join(own.layers), "dtype": own.dtype, "window": own.window}
        baselines["random"] = EmbedConfig(model=RANDOM + own.model, **options)
    return baselines


def run_baseline(
    out: Path,
    plan: Plan,
    clips: Sequence[Clip],
    store: FeatureStore,
    *,
    command: Mapping[str, Any],
    report: ProgressCallback | None = None,
) -> Path:
    """Run the study of `plan` on the states of another store, into the run folder `out`.

    Clips, folds and trials stay the same; layers and heads are those of `adapt_config`. An interrupted run
    resumes. Raises InputError as `run_study` does.
    """
    config = replace(adapt_config(plan.config, store), storage=None)
    return run_study(clips, store, out, config, excluded=plan.data.excluded, command=command, report=report)


def adapt_config(config: StudyConfig, store: FeatureStore) -> StudyConfig:
    """The configuration for another model's store.

    Layers are those named that the store has, or else all of its layers. Where it has a single layer, heads
    that read layers together are left out, or replaced by INSTEAD, and so are ensembles of a single head.
    """
    stored = {*store.extraction.layers, MIX}
    layers = tuple(name for name in config.layers if stored.issuperset(layer_parts(name)))
    if set(layers) <= {MIX} and config.layers != (MIX,):
        layers = ()
    if len(store.extraction.layers) > 1:
        return replace(config, layers=layers)
    known = heads_of(config.task)
    alone = tuple(head for head in config.heads if head not in known or not known[head].together)
    heads = alone or (INSTEAD,)
    return replace(config, layers=(), heads=heads, ensemble=config.ensemble if len(heads) > 1 else 0)


def baseline_scores(out: Path, plan: Plan) -> list[dict[str, Any]]:
    """Score of each finished baseline's selected system, and how much higher that of the run `out` is.

    The score is the first of the task. Both have 95 % intervals; the difference is paired, with the same
    speakers resampled.
    """
    scores, metric = [], plan.data.rules.main
    scorer = Scorer(plan.data, plan.folds, seed=plan.config.seed)
    own = scorer.counts(predictions_by_fold(out, plan))
    for summary_file in sorted((out / CONTROLS).glob(f"*/{SUMMARY}")):
        run = summary_file.parent
        if not read_json(run / RUN).get("finished"):
            continue
        summary = read_json(summary_file)
        counts = np.stack([own, scorer.counts(predictions_by_fold(run, plan))], axis=1)
        (difference,) = differences(counts, [(0, 1)], metric=metric, seed=plan.config.seed)
        scores.append(
            {
                "run": str(run.relative_to(out)),
                "model": summary["model"],
                "layer": summary["selected"]["layer"],
                "head": summary["selected"]["head"],
                metric: asdict(score_intervals(counts, metric=metric, seed=plan.config.seed)[1]),
                "selected_minus_it": asdict(difference),
            }
        )
    return scores
