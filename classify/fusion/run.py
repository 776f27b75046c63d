"""`run_fusion`: a study of each model on the same folds, and the fusion of what they selected."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from layerprobe.cache.common.console import stage
from layerprobe.cache.common.interrupts import Interrupted
from layerprobe.cache.common.text import program
from layerprobe.cache.store.feature_store import FeatureStore
from layerprobe.classify.config import LATER, EvaluationConfig, StudyConfig
from layerprobe.classify.controls.evaluation import run_and_evaluate
from layerprobe.classify.controls.refit import selected_folds
from layerprobe.classify.fusion.early import early_plan, early_results
from layerprobe.classify.fusion.gain import describe_fusion
from layerprobe.classify.fusion.late import late_units, run_late
from layerprobe.classify.fusion.sources import MODELS, Source, make_sources
from layerprobe.classify.layer_names import FUSION, LATE, Fuse
from layerprobe.classify.runs import run_folder
from layerprobe.classify.runs.cost import RunTimer
from layerprobe.classify.runs.run_record import is_finished, new_record, peak_memory, recorded_settings
from layerprobe.classify.scores.results import StudyId, StudyResult
from layerprobe.classify.scores.selection import describe, result_rows, systems_of
from layerprobe.classify.search.parallel import run_parallel
from layerprobe.classify.search.progress import ProgressCallback, live_display
from layerprobe.classify.search.storage import silence_optuna
from layerprobe.classify.search.study import study_record
from layerprobe.embed.manifest.clips import Clip


def run_fusion(
    clips: Sequence[Clip],
    stores: Sequence[FeatureStore],
    out: Path,
    config: StudyConfig,
    *,
    fuse: Fuse,
    command: Mapping[str, Any] | None = None,
    evaluation: EvaluationConfig | None = None,
) -> dict[str, Any]:
    """Study each model in `out`/models, fuse them, and write the run folder `out`; returns its summary.

    fuse: early, late or both. evaluation: of the single models' runs. In each outer fold, layers, heads,
    parameters and weights are those that the inner folds choose; the outer test partition is predicted once.
    An interrupted run resumes. Raises InputError for models that cannot be fused, and Interrupted on Ctrl-C.
    """
    silence_optuna()
    sources = make_sources(clips, stores, config, out)
    if fuse != LATE:
        early_plan(sources)  # raises for what cannot be joined
    record = _record(sources, config, fuse=fuse, command=command)
    if is_finished(out, record):
        return run_folder.read_json(out / run_folder.SUMMARY)
    out.mkdir(parents=True, exist_ok=True)
    try:
        with run_folder.locked_run(out):
            run_folder.write_json(out / run_folder.RUN, record)
            for source in sources:
                store, own = source.plan.store, source.plan.config
                run_and_evaluate(clips, store, source.run, own, command=command, evaluation=evaluation)
            with live_display(f"fusion of {record['model']}") as report:
                return _write(out, sources, record, config, fuse=fuse, report=report)
    except KeyboardInterrupt:
        raise Interrupted(f"finished studies are kept in {out}; the same command resumes") from None


def _record(
    sources: Sequence[Source], config: StudyConfig, *, fuse: Fuse, command: Mapping[str, Any] | None
) -> dict[str, Any]:
    """run.json. Its fingerprint covers those of the single models' runs."""
    runs = [study_record(source.plan, None)["fingerprint"] for source in sources]
    settings = {**recorded_settings(config, later=LATER), "fuse": fuse}
    return new_record(
        FUSION,
        deciding={"fuse": fuse, "runs": runs},
        settings=settings,
        command=command,
        model=" + ".join(source.plan.store.extraction.model for source in sources),
        models=[source.plan.store.extraction.model for source in sources],
        runs={source.name: fingerprint for source, fingerprint in zip(sources, runs, strict=True)},
    )


def _write(
    out: Path,
    sources: Sequence[Source],
    record: Mapping[str, Any],
    config: StudyConfig,
    *,
    fuse: Fuse,
    report: ProgressCallback | None,
) -> dict[str, Any]:
    """Fuse the finished studies and write the files; run.json is the last."""
    timer, plan = RunTimer(out), sources[0].plan
    results: dict[StudyId, StudyResult] = {}
    if fuse != LATE:
        early = early_results(sources, out, run=record["fingerprint"], report=report, timer=timer)
        results |= {result.id: result for result in early}
    results = _late(sources, fuse=fuse) | results
    data, folds = plan.data, plan.folds
    run_folder.write_splits(out, data, folds)
    run_folder.write_results(out, result_rows(data, folds, results, seed=config.seed))
    run_folder.write_predictions(out, data, folds, systems_of(results))
    model, split = record["model"], config.split_name
    summary = describe(data, folds, results, config=config, model=model, split=split, notes=_notes(out))
    summary["fusion"] = describe_fusion(data, folds, results, seed=config.seed)
    run_folder.write_json(out / run_folder.SUMMARY, summary)
    from layerprobe.classify.fusion.figure import draw_fusion  # matplotlib

    draw_fusion(summary, out / "figures")
    finished = {"finished": True, "jobs": plan.jobs, "peak_memory": peak_memory()}
    cost = _cost(sources, own=timer.seconds())
    run_folder.write_json(out / run_folder.RUN, {**record, **finished, "cost": cost})
    shutil.rmtree(out / run_folder.PARTIAL_RESULTS, ignore_errors=True)
    return run_folder.read_json(out / run_folder.SUMMARY)


@stage("late fusion")
def _late(sources: Sequence[Source], *, fuse: Fuse) -> dict[StudyId, StudyResult]:
    """The single models' selected systems, then late fusion unless only early is asked for; fold by fold."""
    plan = sources[0].plan
    selected = {
        source.name: selected_folds(run_folder.read_json(source.run / run_folder.SUMMARY, holding="selected"))
        for source in sources
    }
    units = late_units(sources, selected, memory=plan.config.memory // plan.jobs)
    results = run_parallel(run_late, units, jobs=plan.jobs, shared=sources)
    made = {result.id: result for result in results}
    order = [*(source.name for source in sources), *(id.layer for id in made if id.head == LATE)]
    kept = [id for id in made if id.head != LATE or fuse != "early"]
    return {id: made[id] for id in sorted(kept, key=lambda id: (order.index(id.layer), id.fold))}


def _notes(out: Path) -> list[str]:
    models = out / MODELS
    return [
        f"audit and controls are those of the single models' runs, in {models}",
        f"no bundle holds several models; `{program()} bundle make` makes one of each run in {models}",
    ]


def _cost(sources: Sequence[Source], *, own: float) -> dict[str, Any]:
    """That of the single models' runs and of the fusion, in one process after the other."""
    costs = [run_folder.read_json(source.run / run_folder.RUN)["cost"] for source in sources]
    seconds = own + sum(cost["wall_s"] for cost in costs)
    extractions = [cost["extraction"] for cost in costs]
    known = [one for one in extractions if one is not None]
    extraction = None
    if len(known) == len(extractions):
        extraction = {**known[0], "wall_s": sum(one["wall_s"] for one in known)}
    peak = max(cost["peak_memory_bytes"] for cost in costs)
    return {
        "wall_s": seconds, "device": "cpu", "device_s": seconds, "peak_memory_bytes": peak,
        "trained_parameters": None, "extraction": extraction,
    }  # fmt: skip
