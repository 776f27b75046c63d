"""A whole study: every outer fold, layer and head searched, scored once, written to a run folder."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from optuna.trial import TrialState

from layerprobe.cache.common.disk import abandoned_files, locked
from layerprobe.cache.common.errors import InputError
from layerprobe.cache.store.feature_store import FeatureStore
from layerprobe.classify.config import RUNTIME_OPTIONS, StudyConfig
from layerprobe.classify.data.protocols import describe_protocol
from layerprobe.classify.heads.boosting import tree_device
from layerprobe.classify.runs import folder as runfolder
from layerprobe.classify.runs.cost import Watch
from layerprobe.classify.runs.record import begin, is_finished, peak_memory
from layerprobe.classify.scores.results import StudyId, StudyResult
from layerprobe.classify.scores.selection import result_rows, select_system, systems_of
from layerprobe.classify.search.figure import draw_layers
from layerprobe.classify.search.jobs import jobs_of, run_job
from layerprobe.classify.search.nested import TrialDone
from layerprobe.classify.search.parallel import run_parallel
from layerprobe.classify.search.plan import Plan, plan_of
from layerprobe.classify.search.progress import Progress, Report
from layerprobe.classify.search.storage import Trials, quiet, without_password
from layerprobe.classify.search.summary import cost_of, summarise
from layerprobe.embed.manifest.clips import Clip

LOCK = ".lock"


def run_study(
    clips: Sequence[Clip],
    store: FeatureStore,
    out: Path,
    config: StudyConfig,
    *,
    excluded: Mapping[str, str] | None = None,
    command: Mapping[str, Any] | None = None,
    begin: Callable[[Plan], None] | None = None,
    report: Report | None = None,
) -> Path:
    """Search, score and write the run folder `out`, which is returned.

    excluded: clip id → reason, for clips to keep out. command: what the person typed, recorded in run.json so
    that the run can be repeated. begin: called with what is about to be searched, once it is known to be
    possible and not done yet. report: called with `Progress` after each trial.

    A run that was cut short goes on where it was; its files come out the same as those of an unbroken run. A
    finished one is left as it is. Raises InputError for data that cannot be studied so and for a folder that
    holds another run.
    """
    quiet()
    plan = plan_of(clips, store, config, excluded=excluded)
    studies = plan.studies()
    run = run_record(plan, command)
    told = describe_protocol(config.protocol, clips, target=config.target) if config.protocol else None
    if is_finished(out, run):
        return out
    out.mkdir(parents=True, exist_ok=True)
    if begin is not None:
        begin(plan)
    try:
        with locked(out / LOCK, wait=False):
            _write(out, plan, studies, run, told, report)
    except BlockingIOError:
        raise InputError("another process is at work on this run", where=str(out), do="wait for it") from None
    return out


def _write(
    out: Path,
    plan: Plan,
    studies: Sequence[StudyId],
    run: Mapping[str, Any],
    protocol: Mapping[str, Any] | None,
    report: Report | None,
) -> None:
    watch = Watch(out)
    data, folds = plan.data, plan.folds
    abandoned_files(out, remove=True)
    runfolder.write_json(out / runfolder.RUN, run)
    runfolder.write_splits(out, data, folds)
    outcomes = _search(plan, studies, out, run["fingerprint"], report, watch)
    searched = watch.seconds()
    runfolder.write_results(out, result_rows(data, folds, outcomes, seed=plan.config.seed))
    runfolder.write_predictions(out, data, folds, systems_of(outcomes))
    summary = {**summarise(plan, outcomes), "protocol": protocol}
    runfolder.write_json(out / runfolder.SUMMARY, summary)
    draw_layers(summary, out / "figures")
    seconds = {"search": searched, "write": watch.seconds() - searched}
    finished = {"finished": True, "jobs": plan.jobs, "seconds": seconds, "peak_memory": peak_memory()}
    if any(id.head == "xgboost" for id in studies):
        finished["xgboost_device"] = tree_device()
    cost = cost_of(plan, select_system(outcomes), seconds=searched)
    runfolder.write_json(out / runfolder.RUN, {**run, **finished, "cost": cost})
    shutil.rmtree(out / runfolder.PARTIAL_RESULTS, ignore_errors=True)


def _search(
    plan: Plan,
    studies: Sequence[StudyId],
    out: Path,
    fingerprint: str,
    report: Report | None,
    watch: Watch,
) -> dict[StudyId, StudyResult]:
    """Every study's outcome, in the order of `studies`; what an earlier run did is not done again."""
    trials = Trials(plan.config.storage, out=out, run=fingerprint)
    outcomes = {id: outcome for id in studies if (outcome := runfolder.load_result(out, id))}
    rest = [id for id in studies if id not in outcomes]
    done = {id: trials.of(id) for id in rest}
    timeout = plan.config.timeout
    progress = Progress(
        studies=len(studies),
        trials_each=plan.config.trials,
        deadline=None if timeout is None else time.monotonic() + timeout,
    )
    for outcome in outcomes.values():
        progress.resume(outcome.id, [outcome.inner_score], trials=outcome.trials)
    for id, held in done.items():
        progress.resume(id, [trial.value for trial in held if trial.value is not None], trials=len(held))
    for message in run_parallel(run_job, jobs_of(plan, rest, done, jobs=plan.jobs), jobs=plan.jobs):
        if isinstance(message, TrialDone):
            trials.add(message.id, message.trial)
            complete = message.trial.state == TrialState.COMPLETE
            progress.add(message.id, message.trial.value if complete else None)
        else:
            runfolder.save_result(out, message)
            watch.save()
            outcomes[message.id] = message
        if report is not None:
            report(progress)
    return {id: outcomes[id] for id in studies}


def run_record(plan: Plan, command: Mapping[str, Any] | None) -> dict[str, Any]:
    """run.json of a run that begins.

    Its fingerprint covers what decides the results: clips, labels, states and configuration.
    """
    data, extraction = plan.data, plan.store.extraction
    settings = asdict(plan.config)
    if plan.config.storage is not None:
        settings["storage"] = without_password(plan.config.storage)  # run folders are shared
    deciding = {
        "config": {name: value for name, value in settings.items() if name not in RUNTIME_OPTIONS},
        "exact": plan.exact,
        "states": extraction.fingerprint(),
        "clips": [data.ids, data.keys, data.y.tolist(), data.partitions],
        "speakers": None if data.speakers is None else data.speakers.tolist(),
    }
    return begin(
        "classify",
        deciding=deciding,
        settings=settings,
        command=command,
        model=extraction.model,
        states=extraction.fingerprint(),
        store=str(plan.store.folder.resolve()),
        whole_kernels=plan.exact,
    )
