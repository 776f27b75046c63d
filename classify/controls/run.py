"""A study with its audit and its controls, from clips to a finished run folder."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from layerprobe.cache.common.errors import InputError
from layerprobe.cache.common.interrupts import Interrupted
from layerprobe.classify.config import EvaluationConfig, StudyConfig
from layerprobe.classify.search.console import print_plan

if TYPE_CHECKING:
    from layerprobe.cache.store.feature_store import FeatureStore
    from layerprobe.embed.manifest.clips import Clip


def run(
    clips: Sequence[Clip],
    store: FeatureStore,
    out: Path,
    config: StudyConfig,
    *,
    command: Mapping[str, Any] | None = None,
    evaluation: EvaluationConfig | None = None,
) -> dict[str, Any]:
    """Search while a person watches; the run's summary.

    command: recorded, for `--from`. evaluation: what to report next to the score; None for nothing.
    """
    from layerprobe.classify.controls.baselines import run_baselines
    from layerprobe.classify.controls.controls import evaluate_run
    from layerprobe.classify.runs.folder import SUMMARY, read_json
    from layerprobe.classify.search.plan import plan_of
    from layerprobe.classify.search.progress import live_display
    from layerprobe.classify.search.study import run_study

    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        told = f"cannot be written ({error.strerror})"
        raise InputError(told, where=str(out), do="choose another folder for --out") from error
    try:
        with live_display(f"classify {store.extraction.model}") as report:
            run_study(clips, store, out, config, command=command, begin=print_plan, report=report)
        if evaluation is not None:
            plan = plan_of(clips, store, config)
            if evaluation.controls == "full":
                run_baselines(out, plan, clips)
            evaluate_run(out, plan, clips, evaluation)
    except KeyboardInterrupt:
        raise Interrupted(f"finished trials are kept in {out}; the same command resumes") from None
    return read_json(out / SUMMARY)
