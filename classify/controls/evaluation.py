"""A study and its evaluation in one run folder: the search, then the audit of its data and its controls."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from layerprobe.cache.common.console import say
from layerprobe.cache.common.errors import InputError
from layerprobe.cache.common.interrupts import Interrupted
from layerprobe.cache.store.feature_store import FeatureStore
from layerprobe.classify.config import EvaluationConfig, StudyConfig
from layerprobe.classify.controls import few_shot
from layerprobe.classify.controls import learning_curve as curve
from layerprobe.classify.controls.baselines import baseline_scores, run_baselines
from layerprobe.classify.controls.checkpoint import STEPS, delete_steps, run_once
from layerprobe.classify.controls.probes.acoustics import TARGETS
from layerprobe.classify.controls.probes.columns import probe_columns
from layerprobe.classify.controls.probes.sound import probe_sound
from layerprobe.classify.controls.probes.targets import default_targets
from layerprobe.classify.controls.refit import selected_folds
from layerprobe.classify.controls.shuffled_labels import shuffled_labels
from layerprobe.classify.runs.run_folder import (
    CONTROLS,
    RUN,
    SUMMARY,
    locked_run,
    make_run_folder,
    read_json,
    reporting_damage,
    write_json,
)
from layerprobe.classify.search.console import print_plan
from layerprobe.classify.search.plan import Plan, make_plan
from layerprobe.classify.search.progress import live_display
from layerprobe.classify.search.study import run_study
from layerprobe.classify.tasks.votes import most_voted
from layerprobe.embed.manifest.clips import Clip

AUDIT = "audit.json"
FIGURES = "figures"


def run_and_evaluate(
    clips: Sequence[Clip],
    store: FeatureStore,
    out: Path,
    config: StudyConfig,
    *,
    command: Mapping[str, Any] | None = None,
    evaluation: EvaluationConfig | None = None,
) -> dict[str, Any]:
    """Run a study with a live display, then evaluate it; returns the run's summary.

    command: recorded in run.json, for `--from`. evaluation: None for none. Raises Interrupted on Ctrl-C, and
    InputError for data that cannot be studied or an `out` that cannot be written.
    """
    make_run_folder(out)
    try:
        with live_display(f"classify {store.extraction.model}") as report:
            run_study(clips, store, out, config, command=command, on_start=print_plan, report=report)
        if evaluation is not None:
            plan = make_plan(clips, store, config)
            if evaluation.controls == "full":
                run_baselines(out, plan, clips)
            evaluate_run(out, plan, clips, evaluation)
    except KeyboardInterrupt:
        raise Interrupted(f"finished trials are kept in {out}; the same command resumes") from None
    return read_json(out / SUMMARY)


def evaluate_run(out: Path, plan: Plan, clips: Sequence[Clip], evaluation: EvaluationConfig) -> None:
    """Add to the finished run in `out` what `evaluation` requires and the run does not have yet.

    plan: the run's own. clips: the complete table. Each result has a file of its own, from which summary.json
    is updated, so an interrupted evaluation leaves a finished run, and resumes. Baselines are only read here;
    `baselines.run_baselines` runs them. Raises InputError while another process works on the run.
    """
    if plan.config.task == "soft":
        clips = most_voted(clips, plan.config.target)  # probes and audit read one label of a clip
    with locked_run(out):
        summary = read_json(out / SUMMARY, holding="controls")
        updated = {**summary, "controls": _rename_learning_curve(out, summary["controls"])}
        if evaluation.audit:
            updated["audit"] = {**updated["audit"], **_audit(out, plan, clips)}
        if evaluation.controls != "none":
            full = evaluation.controls == "full"
            updated["controls"] |= _controls(out, plan, clips, summary, full=full)
        if updated != summary:
            from layerprobe.classify.controls.figures import (
                draw_controls,
                draw_few_shot,
                draw_learning_curve,
            )
            from layerprobe.classify.controls.probes.figure import write_probes_figure

            write_json(out / SUMMARY, updated)
            if "probes" in updated["controls"]:
                draw_controls(updated, out / FIGURES)
                write_probes_figure(updated, out / FIGURES)
            if curve.NAME in updated["controls"]:
                draw_learning_curve(updated, out / FIGURES)
            if few_shot.NAME in updated["controls"]:
                draw_few_shot(updated, out / FIGURES)
        _record(out, evaluation)


def _controls(
    out: Path, plan: Plan, clips: Sequence[Clip], summary: Mapping[str, Any], *, full: bool
) -> dict[str, Any]:
    """Results of all controls; finished ones are loaded from the run folder."""
    with reporting_damage(out / SUMMARY):
        selected = selected_folds(summary)

    def probes() -> dict[str, Any]:
        names = default_targets(clips, plan.config.target)
        return probe_columns(out, plan.store, plan.data, clips, names, jobs=plan.jobs, seed=plan.config.seed)

    controls: dict[str, Any] = {
        "shuffled": run_once(out, "shuffled", lambda: shuffled_labels(out, plan, selected)),
        "probes": run_once(out, "probes", probes),
    }
    if full:
        acoustics = _acoustics(out, plan, clips)
        controls |= {} if acoustics is None else {"acoustics": acoustics}
        controls[curve.NAME] = run_once(out, curve.NAME, lambda: curve.learning_curve(out, plan, selected))
        if plan.config.task == "classification":
            shots = run_once(out, few_shot.NAME, lambda: few_shot.few_shot(out, plan, selected))
            controls[few_shot.NAME] = shots
        controls["runs"] = baseline_scores(out, plan)
    delete_steps(out)
    return controls


def _acoustics(out: Path, plan: Plan, clips: Sequence[Clip]) -> dict[str, Any] | None:
    """Probes of the sound, or None with a note where it cannot be decoded."""

    def probes() -> dict[str, Any]:
        return probe_sound(out, plan.store, plan.data, clips, TARGETS, jobs=plan.jobs, seed=plan.config.seed)

    try:
        return run_once(out, "acoustics", probes)
    except InputError as error:
        say(f"note: no probes of the sound: {error}")
        return None


def _rename_learning_curve(out: Path, controls: Mapping[str, Any]) -> dict[str, Any]:
    """Give files and key of an earlier version, which called the curve `economy`, their current name."""
    folders = (out / CONTROLS, out / CONTROLS / STEPS, out / FIGURES)
    for file in [file for folder in folders for file in folder.glob(f"{curve.OLD_NAME}[-.]*")]:
        file.rename(file.with_name(file.name.replace(curve.OLD_NAME, curve.NAME)))
    return {curve.NAME if name == curve.OLD_NAME else name: result for name, result in controls.items()}


def _audit(out: Path, plan: Plan, clips: Sequence[Clip]) -> dict[str, Any]:
    """Write audit.json if it is missing; returns a digest: findings that are not fine, and items that are."""
    if not (out / AUDIT).exists():
        from layerprobe.classify.audit.audit import audit  # which reads sound, with torch

        ids = plan.data.ids
        folds = [fold.outer for fold in plan.folds]
        assignment = [([ids[row] for row in fold.train], [ids[row] for row in fold.test]) for fold in folds]
        cache = plan.store.cache
        result = audit(
            clips,
            target=plan.config.target,
            cache=cache,
            assignment=assignment,
            channels=plan.store.extraction.channels,
            track=plan.store.extraction.track,
        )
        write_json(out / AUDIT, {**asdict(result), "verdict": result.verdict})
    report = read_json(out / AUDIT)
    findings = [
        # Earlier versions call the message `told`.
        {key: finding.get(key, finding.get("told")) for key in ("item", "verdict", "message")}
        for finding in report["findings"]
    ]
    return {
        "verdict": report["verdict"],
        "findings": [finding for finding in findings if finding["verdict"] != "fine"],
        "fine": [finding["item"] for finding in findings if finding["verdict"] == "fine"],
        "unchecked": report["unchecked"],
    }


def _record(out: Path, evaluation: EvaluationConfig) -> None:
    """Record the evaluation in run.json, so that `--from` repeats it too."""
    run = read_json(out / RUN)
    recorded = {**run, "command": {**run["command"], **asdict(evaluation)}}
    if recorded != run:
        write_json(out / RUN, recorded)
