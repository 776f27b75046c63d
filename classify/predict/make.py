"""Make the bundle of a finished run: refit its selected system on all clips, and save it with a model card.

Layer and head are those that the outer folds selected most often. Parameters are searched again, as in an
outer fold, on inner folds of all clips: the study estimates the score of this procedure, and no test score
chooses.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save_file

import layerprobe
from layerprobe.cache.common.console import progress, stage
from layerprobe.cache.common.errors import InputError, ModelError
from layerprobe.cache.common.interrupts import Interrupted
from layerprobe.cache.common.text import program
from layerprobe.cache.identity.extraction import Extraction
from layerprobe.cache.store.feature_store import FeatureStore
from layerprobe.classify.config import METRICS, WITHOUT_ONE_LABEL, StudyConfig, main_metric, task_of
from layerprobe.classify.layer_names import ENSEMBLE
from layerprobe.classify.predict.card import model_card
from layerprobe.classify.predict.fitting.ensemble import candidates, fit_ensemble
from layerprobe.classify.predict.fitting.search import FittedSystem, fit_system
from layerprobe.classify.predict.system import HELD_OUT
from layerprobe.classify.runs.bundle_files import (
    BUNDLE,
    CARD,
    MANIFEST,
    check_folder,
    check_labels,
    read_bundle,
    write_bundle,
)
from layerprobe.classify.runs.run_folder import (
    PREDICTIONS,
    RUN,
    SUMMARY,
    locked_run,
    read_csv,
    read_json,
    reading_table,
)
from layerprobe.classify.runs.run_record import read_recorded
from layerprobe.classify.scores.results import SELECTED, system_label
from layerprobe.classify.search.plan import Plan, make_plan
from layerprobe.classify.search.storage import TrialStorage, silence_optuna
from layerprobe.classify.search.study import study_record
from layerprobe.embed.checkpoints.configuration import WAV2VEC2_LIKE
from layerprobe.embed.manifest.clips import Clip
from layerprobe.embed.models.presets import ACOUSTIC_PRESETS
from layerprobe.embed.models.sources import find_model

EXPORTABLE = "exportable"  # folder of the bundle that is not the selected system's
LINEAR = "logreg"  # the head that transformers can run, see `transformers_export`
PROBABILITY_SCORES = ("log_loss", "calibration_error")


@stage("make the bundle")
def make_bundle(
    run: Path,
    clips: Sequence[Clip],
    store: FeatureStore,
    config: StudyConfig,
    *,
    out: Path | None = None,
    exportable: bool = False,
) -> Path:
    """Refit the selected system of the finished run `run`, and save it in `out`; by default `run`/bundle.

    clips, store, config: of the run. exportable: instead of the selected system, the best one of logistic
    regression on the mean of one layer; by default in `run`/exportable. A bundle of this run that is already
    there stays. An interrupted call resumes. Raises InputError if the run is not finished, or was made on
    other clips or states, and for an exportable bundle of a model that transformers cannot cut.
    """
    out = out or run / (EXPORTABLE if exportable else BUNDLE)
    check_folder(out)
    record = read_json(run / RUN)
    if config.quick:
        what, do = "holds a quick look, in which nothing was tuned", "run classify without --quick"
        raise InputError(what, where=str(run), do=do)
    if record.get("kind") != "classify" or not record.get("finished"):
        raise InputError("holds no finished run of classify", where=str(run), do="finish it first")
    if exportable:
        _check_exportable(store.extraction)
    silence_optuna()
    try:
        with locked_run(run), progress("bundle") as line:
            summary = read_json(run / SUMMARY, holding="selected")
            layer, head = selected_system(summary, exportable=exportable)
            if _is_made(out, record["fingerprint"], layer, head, exportable=exportable):
                return out
            plan = make_plan(clips, store, config)
            if study_record(plan, None)["fingerprint"] != record["fingerprint"]:
                what = "was made on other clips, labels or states than the table and the cache have now"
                raise InputError(what, where=str(run), do="run classify again, into another --out")
            check_labels(list(plan.data.classes), where=str(run))
            line.update(0.0, f"{system_label(layer, head)}, fitted to all {len(plan.data)} clips")
            # Names of Optuna studies: apart from those of the run, of which they are no outer fold.
            name = f"{record['fingerprint']}-{'exportable' if exportable else BUNDLE}"
            if exportable:
                plan = replace(plan, config=replace(config, stats=("mean",), scalings=("standard",)))
            storage = TrialStorage(config.storage, out=run, run=name)
            if head == ENSEMBLE:
                pairs = candidates(summary)
                fitted = fit_ensemble(plan, pairs, grouped=plan.grouped, storage=storage)
            else:
                fitted = fit_system(plan, layer=layer, head=head, grouped=plan.grouped, storage=storage)
            return _write(out, run, plan, fitted, summary, record, exportable=exportable)
    except KeyboardInterrupt:
        raise Interrupted(
            f"the run is complete; run `{program()} bundle make {shlex.quote(str(run))}` for its bundle"
        ) from None


def _check_exportable(extraction: Extraction) -> None:
    """Raise InputError for a model that `bundle export` refuses, whatever the head."""
    reason, name = "", extraction.model
    if name in ACOUSTIC_PRESETS:
        reason = f"acoustic features ({name})"
    else:
        with suppress(ModelError):  # a model that was moved: `bundle export` finds out
            kind = find_model(name, revision=extraction.revision or None, offline=True).config["model_type"]
            reason = "" if kind in WAV2VEC2_LIKE else f"{name}, a model of type {kind}, cut after a layer"
    if reason:
        do = f"study a model of type {', '.join(WAV2VEC2_LIKE)}"
        raise InputError(f"transformers cannot run {reason}", do=do)


def make_bundle_of(run: Path, *, out: Path | None = None, exportable: bool = False) -> Path:
    """As `make_bundle`, with clips, states and settings as recorded in the run folder."""
    if not run.is_dir():
        what = "is a file, no run folder" if run.exists() else "no such folder"
        raise InputError(what, where=str(run), do="name the run folder of a finished classify")
    recorded = read_recorded(run, runtime={})
    clips = recorded.read_clips()
    return make_bundle(run, clips, recorded.store, recorded.config, out=out, exportable=exportable)


def selected_system(summary: Mapping[str, Any], *, exportable: bool = False) -> tuple[str, str]:
    """Layer and head: selected most often, or if `exportable` the layer with the best logistic regression."""
    if not exportable:
        return str(summary["selected"]["layer"]), str(summary["selected"]["head"])
    if (task := task_of(summary)) in WITHOUT_ONE_LABEL:
        raise InputError(f"the run is {WITHOUT_ONE_LABEL[task]}, and transformers can run a classification")
    entries = [entry for entry in summary["layers"] if entry["head"] == LINEAR]
    if not entries:
        do = f"run classify with {LINEAR} among its --heads"
        raise InputError(f"the run has no {LINEAR}, the head that transformers can run", do=do)
    return str(max(entries, key=lambda entry: float(entry[main_metric(summary)]["value"]))["layer"]), LINEAR


def _is_made(out: Path, run: str, layer: str, head: str, *, exportable: bool) -> bool:
    """Whether `out` holds this bundle, complete; an incomplete or damaged one is made again."""
    if not (out / MANIFEST).is_file():
        return False
    try:
        manifest = read_bundle(out)
    except InputError:
        return False
    wanted = {"run": run, "layer": layer, "head": head, "exportable": exportable}
    return all(manifest.get(name) == value for name, value in wanted.items())


def _write(
    out: Path,
    run: Path,
    plan: Plan,
    fitted: FittedSystem,
    summary: Mapping[str, Any],
    record: Mapping[str, Any],
    *,
    exportable: bool,
) -> Path:
    extraction = json.loads(plan.store.extraction.to_json())
    content: dict[str, Any] = {
        "kind": "frozen",
        "version": layerprobe.__version__,
        "run": record["fingerprint"],
        "exportable": exportable,
        "target": plan.config.target,
        "task": plan.config.task,
        **({"separator": plan.config.separator} if plan.config.task == "multilabel" else {}),
        "labels": list(plan.data.classes),
        "extraction": extraction,
        "layer": fitted.layer,
        "head": fitted.head,
        "params": fitted.params,
        **({"members": fitted.members} if fitted.members else {}),
        "inner_score": fitted.inner_score,
        "trials": fitted.trials,
        "metric": plan.config.metric,
        "split": summary["selected"]["split"],
        "scores": _scores(summary, fitted, exportable=exportable),
        "leaked": summary["audit"]["test_clips_of_training_speakers"],
        "data": {
            name: summary["data"][name]
            for name in ("clips", "speakers", "classes", "numbers")
            if name in summary["data"]
        },
        "chance": summary["chance"],
    }

    system = f"{fitted.layer}/{fitted.head}" if exportable else SELECTED
    held_out = held_out_scores(run, system) if plan.data.y.dtype.kind == "i" else {}

    def write(folder: Path) -> dict[str, Any]:
        if held_out:
            save_file(held_out, folder / HELD_OUT)
        (folder / CARD).write_text(model_card(content), encoding="utf-8")
        return {**content, "system": fitted.system.save(folder)}

    return write_bundle(out, write)


def held_out_scores(run: Path, system: str) -> dict[str, np.ndarray]:
    """`scores` of each clip that a run tested, 1 minus the probability of its true label, and its `groups`.

    These are numbers of speakers. Where no speakers are named, every clip has a number of its own. Raises
    InputError for a damaged file.
    """
    path = run / PREDICTIONS
    with reading_table(path):
        header, *lines = read_csv(path)
        cells = (dict(zip(header, line, strict=True)) for line in lines)
        rows = [row for row in cells if row["system"] == system]
        scores = [1 - float(row[f"p_{row['label']}"]) for row in rows]
        speakers = [row["speaker"] or f"clip {number}" for number, row in enumerate(rows)]
    return {"scores": np.array(scores), "groups": np.unique(speakers, return_inverse=True)[1]}


def _scores(summary: Mapping[str, Any], fitted: FittedSystem, *, exportable: bool) -> dict[str, Any]:
    """Scores of the run with their intervals: of its selected system, or of the layer and head."""
    entry = summary["selected"]
    if exportable:
        entry = next(
            row for row in summary["layers"] if (row["layer"], row["head"]) == (fitted.layer, fitted.head)
        )
    names = (*METRICS[task_of(summary)], *PROBABILITY_SCORES)
    return {name: entry[name] for name in names if name in entry}
