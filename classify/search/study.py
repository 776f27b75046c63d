"""One complete study: every outer fold, layer and head searched, scored once, written to a run folder."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from layerprobe.cache.common.console import stage
from layerprobe.cache.common.disk import abandoned_files
from layerprobe.cache.common.places import portable
from layerprobe.cache.common.text import format_percent
from layerprobe.cache.store.feature_store import FeatureStore
from layerprobe.classify.config import EMOBOX, LATER, RUNTIME_OPTIONS, StudyConfig
from layerprobe.classify.data.protocols import describe_protocol
from layerprobe.classify.data.splits import shared_speakers
from layerprobe.classify.heads.boosting import tree_device
from layerprobe.classify.heads.registry import heads_of
from layerprobe.classify.runs import run_folder
from layerprobe.classify.runs.cost import RunTimer
from layerprobe.classify.runs.run_record import is_finished, new_record, peak_memory, recorded_settings
from layerprobe.classify.scores.layer_weights import LAYER_WEIGHTS
from layerprobe.classify.scores.selection import result_rows, select_system, systems_of
from layerprobe.classify.search.ensemble.rounds import make_ensembles
from layerprobe.classify.search.plan import Plan, make_plan
from layerprobe.classify.search.progress import ProgressCallback
from layerprobe.classify.search.sharing.server import is_server, refuse_password, without_password
from layerprobe.classify.search.storage import silence_optuna
from layerprobe.classify.search.strategies.quick import probe_all
from layerprobe.classify.search.strategies.rounds import search_all
from layerprobe.classify.search.summary import search_cost, summarise
from layerprobe.embed.manifest.clips import Clip


def run_study(
    clips: Sequence[Clip],
    store: FeatureStore,
    out: Path,
    config: StudyConfig,
    *,
    excluded: Mapping[str, str] | None = None,
    command: Mapping[str, Any] | None = None,
    on_start: Callable[[Plan], None] | None = None,
    report: ProgressCallback | None = None,
) -> Path:
    """Search, score and write the run folder `out`, which is returned.

    excluded: clip id → reason, for clips to leave out. command: the user's options, recorded in run.json so
    that the run can be repeated. on_start: called with the plan once the study is known to be possible and
    unfinished. report: called with `Progress` after each trial.

    An interrupted run resumes and ends with the same files; a finished one is left as it is; one with fewer
    trials continues, and ends as if it had had all of them from the start. Raises InputError for data that
    cannot be studied, and for a folder that holds another run.
    """
    silence_optuna()
    refuse_password(config.storage)
    plan = make_plan(clips, store, config, excluded=excluded)
    plan.studies()  # raises for layers and heads that do not exist
    record = study_record(plan, command)
    protocol = describe_folds(plan, clips)
    if (search := _search_with_fewer_trials(out, plan)) is not None:
        record = {**record, "search": search}
    elif is_finished(out, record):
        return out
    run_folder.make_run_folder(out)
    if on_start is not None:
        on_start(plan)
    do = "give this process its own --out" if is_server(config.storage) else "wait for it"
    with run_folder.locked_run(out, do=do):
        _write(out, plan, record, protocol=protocol, report=report)
    return out


def _write(
    out: Path,
    plan: Plan,
    record: Mapping[str, Any],
    *,
    protocol: Mapping[str, Any] | None,
    report: ProgressCallback | None,
) -> None:
    """Run the study and write its files; run.json says that it is finished when all others are there."""
    timer, data, folds = RunTimer(out), plan.data, plan.folds
    abandoned_files(out, remove=True)
    before = _read_record(out)
    if before.get("fingerprint") == record["fingerprint"]:
        record = {**record, **({"search": before["search"]} if "search" in before else {})}
    elif before:  # the same study with fewer trials: what follows from them is computed again
        for folder in (run_folder.PARTIAL_RESULTS, run_folder.CONTROLS):
            shutil.rmtree(out / folder, ignore_errors=True)
    run_folder.write_json(out / run_folder.RUN, record)
    run_folder.write_splits(out, data, folds)
    name = record.get("search", record["fingerprint"])
    if plan.config.quick:
        results = probe_all(plan, report=report)
    else:
        results = search_all(plan, out, name, report=report, timer=timer)
        results |= make_ensembles(plan, out, results)
    searched = timer.seconds()
    run_folder.write_results(out, result_rows(data, folds, results, seed=plan.config.seed))
    run_folder.write_predictions(out, data, folds, systems_of(results))
    summary = {**summarise(plan, results), "protocol": protocol}
    run_folder.write_json(out / run_folder.SUMMARY, summary)
    with stage("draw the layers"):
        from layerprobe.classify.search.layer_figure import draw_layer_weights, draw_layers

        draw_layers(summary, out / "figures")
        if LAYER_WEIGHTS in summary:
            draw_layer_weights(summary, out / "figures")
    seconds = {"search": searched, "write": timer.seconds() - searched}
    jobs = 1 if plan.config.quick else plan.jobs  # a quick look has threads, no workers
    finished = {"finished": True, "jobs": jobs, "seconds": seconds, "peak_memory": peak_memory()}
    if any(id.head == "xgboost" for id in results):
        finished["xgboost_device"] = tree_device()
    cost = search_cost(plan, select_system(results), seconds=searched)
    run_folder.write_json(out / run_folder.RUN, {**record, **finished, "cost": cost})
    shutil.rmtree(out / run_folder.PARTIAL_RESULTS, ignore_errors=True)


def describe_folds(plan: Plan, clips: Sequence[Clip]) -> dict[str, Any] | None:
    """The summary's entry on a protocol or a benchmark's folds; None for others."""
    config = plan.config
    if config.protocol is not None:
        return describe_protocol(config.protocol, clips, target=config.target)
    if plan.splits is None or not (config.splits or "").startswith(EMOBOX):
        return None
    shared = shared_speakers(plan.data, list(plan.folds))
    leaks = "the table names no speakers, so it is not known"
    if shared is not None:
        leaks = f"{format_percent(shared)} of the test clips have a speaker who is in training, too"
    return {
        "name": config.split_name,
        "corpus": config.split_name.removeprefix(EMOBOX),
        "rule": "the folds of EmoBox (Ma et al. 2024, Interspeech)",
        "speaker_disjoint": shared == 0,
        "leaks": leaks if shared else "no speaker" if shared == 0 else leaks,
        "deviations": list(plan.splits.deviations),
    }


def _read_record(out: Path) -> dict[str, Any]:
    """run.json of an earlier run in `out`; empty if there is none."""
    return run_folder.read_json(out / run_folder.RUN) if (out / run_folder.RUN).exists() else {}


def _search_with_fewer_trials(out: Path, plan: Plan) -> str | None:
    """The name in the storage of the trials in `out` if it holds this study with fewer trials, else None.

    Each trial is seeded by its number, so continuing equals a study of all trials from the start.
    """
    before = _read_record(out)
    trials = before.get("config", {}).get("trials")
    if not isinstance(trials, int) or not 0 < trials < plan.config.trials:
        return None
    fewer = replace(plan, config=replace(plan.config, trials=trials))
    same = before.get("fingerprint") == study_record(fewer, None)["fingerprint"]
    return str(before.get("search", before["fingerprint"])) if same else None


def study_record(plan: Plan, command: Mapping[str, Any] | None) -> dict[str, Any]:
    """run.json of a new run. Its fingerprint covers clips, labels, states and settings."""
    data, extraction = plan.data, plan.store.extraction
    settings = recorded_settings(plan.config, later=LATER)
    if plan.config.storage is not None:
        settings["storage"] = without_password(plan.config.storage)  # run folders are shared
    # Heads that search no kernels because of --memory; others that stream have the same results as in memory.
    known = heads_of(plan.config.task)
    linear = [head for head in plan.config.heads if known[head].kernel and plan.streams(head)]
    deciding = {
        # Of splits the folds decide, not their place: they are added below.
        "config": {name: settings[name] for name in settings if name not in (*RUNTIME_OPTIONS, "splits")},
        "exact": plan.exact,
        "states": extraction.fingerprint(),
        "clips": [data.ids, data.keys, data.y.tolist(), data.partitions],
        "speakers": None if data.speakers is None else data.speakers.tolist(),
        **({"quick": True} if plan.config.quick else {}),
        **({"linear_only": linear} if linear else {}),
    }
    if plan.config.splits is not None and plan.splits is not None:  # the folds decide, not their place
        deciding["splits"] = [plan.splits.assignment, plan.splits.validation]
    return new_record(
        "classify",
        deciding=deciding,
        settings=settings,
        command=command,
        model=extraction.model,
        states=extraction.fingerprint(),
        store=portable(plan.store.folder),
        whole_kernels=plan.exact,
        **({"linear_only": linear} if linear else {}),
    )
