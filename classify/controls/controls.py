"""The controls of a finished run: each in a file of its own, made once, together in the summary."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from layerprobe.cache.common.disk import locked
from layerprobe.cache.common.errors import InputError
from layerprobe.classify.audit.audit import Audit, audit
from layerprobe.classify.config import EvaluationConfig
from layerprobe.classify.controls.baselines import baseline_runs
from layerprobe.classify.controls.checkpoint import FOLDER, clear
from layerprobe.classify.controls.figures import draw_controls, draw_learning_curve
from layerprobe.classify.controls.learning_curve import learning_curve
from layerprobe.classify.controls.probe_targets import usual_columns
from layerprobe.classify.controls.probes import probe_columns
from layerprobe.classify.controls.refit import chosen_of
from layerprobe.classify.controls.shuffled_labels import shuffled_labels
from layerprobe.classify.runs import folder as runfolder
from layerprobe.classify.search.plan import Plan
from layerprobe.classify.search.study import LOCK
from layerprobe.embed.manifest.clips import Clip

AUDIT = "audit.json"


def run_controls(
    out: Path, plan: Plan, clips: Sequence[Clip], summary: Mapping[str, Any], trust: EvaluationConfig
) -> dict[str, Any]:
    """What `trust` asks for, made where it is not there yet.

    out: the run. The runs beside it, if any, lie in `out/controls`; see `classify.controls.baselines`.
    """
    folder = out / FOLDER
    if trust.controls == "none":
        return {}
    chosen = chosen_of(summary)
    told: dict[str, Any] = {
        "shuffled": _once(folder, "shuffled", lambda: shuffled_labels(out, folder, plan, chosen)),
        "probes": _once(folder, "probes", lambda: _probes(folder, plan, clips)),
    }
    if trust.controls == "full":
        told["economy"] = _once(folder, "economy", lambda: learning_curve(folder, plan, chosen))
        told["runs"] = baseline_runs(out, folder, plan)
    clear(folder)
    return told


def _once(folder: Path, name: str, make: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    file = folder / f"{name}.json"
    if not file.exists():
        folder.mkdir(exist_ok=True)
        runfolder.write_json(file, make())
    return runfolder.read_json(file)


def _probes(folder: Path, plan: Plan, clips: Sequence[Clip]) -> dict[str, Any]:
    names = usual_columns(clips, plan.config.target)
    return probe_columns(folder, plan.store, plan.data, clips, names, jobs=plan.jobs, seed=plan.config.seed)


def evaluate_run(out: Path, plan: Plan, clips: Sequence[Clip], trust: EvaluationConfig) -> None:
    """Add to the finished run in `out` what `trust` asks for and it does not have yet.

    plan: the run's own. clips: the whole table. Every result has a file of its own in the run folder, from
    which summary.json is made anew; a run that was cut short here stays a finished run, and goes on with what
    it has. Raises InputError where another process is at work on the run.
    """
    try:
        with locked(out / LOCK, wait=False):
            told = dict(runfolder.read_json(out / runfolder.SUMMARY, holding="controls"))
            before = dict(told)
            if trust.audit:
                told["audit"] = {**told["audit"], **_audit(out, plan, clips)}
            told["controls"] = {**told["controls"], **run_controls(out, plan, clips, told, trust)}
            if told != before:
                runfolder.write_json(out / runfolder.SUMMARY, told)
                _draw(told, out / "figures")
            _record(out, trust)
    except BlockingIOError:
        raise InputError("another process is at work on this run", where=str(out), do="wait for it") from None


def _audit(out: Path, plan: Plan, clips: Sequence[Clip]) -> dict[str, Any]:
    """audit.json, made if it is not there, in short: what is not fine, and the names of what is."""
    if not (out / AUDIT).exists():
        parts = [
            (
                [plan.data.ids[row] for row in fold.outer.train],
                [plan.data.ids[row] for row in fold.outer.test],
            )
            for fold in plan.folds
        ]
        cache = plan.store.cache
        runfolder.write_json(
            out / AUDIT, _plain(audit(clips, target=plan.config.target, cache=cache, assignment=parts))
        )
    full = runfolder.read_json(out / AUDIT)
    return {
        "verdict": full["verdict"],
        "findings": [
            {name: found.get(name, found.get("told")) for name in ("item", "verdict", "message")}
            for found in full["findings"]
            if found["verdict"] != "fine"
        ],
        "fine": [found["item"] for found in full["findings"] if found["verdict"] == "fine"],
        "unchecked": full["unchecked"],
    }


def _draw(summary: Mapping[str, Any], folder: Path) -> None:
    if "probes" in summary["controls"]:
        draw_controls(summary, folder)
    if "economy" in summary["controls"]:
        draw_learning_curve(summary, folder)


def _plain(found: Audit) -> dict[str, Any]:
    lists = {name: [vars(row) for row in getattr(found, name)] for name in ("findings", "classes", "folds")}
    return {**vars(found), **lists, "verdict": found.verdict}


def _record(out: Path, trust: EvaluationConfig) -> None:
    """What the last command asked for, so that `--from` asks for it too."""
    run = runfolder.read_json(out / runfolder.RUN)
    command: Mapping[str, Any] = {**run["command"], "audit": trust.audit, "controls": trust.controls}
    if run["command"] != command:
        runfolder.write_json(out / runfolder.RUN, {**run, "command": command})
