"""A whole study: every outer fold, layer and head searched, scored once, written to a run folder."""

from __future__ import annotations

import hashlib
import json
import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from optuna.trial import FrozenTrial, TrialState

from cache.errors import InputError
from cache.store import FeatureStore
from classify import runfolder
from classify.config import MANNER, StudyConfig
from classify.dataset import Dataset, join
from classify.figures import draw_layers
from classify.heads import HEADS
from classify.machine import peak_memory, versions
from classify.progress import Progress, Report
from classify.search import Outcome, StudyId, TrialDone, search
from classify.sharing import Shared, States
from classify.splits import OuterFold, outer_folds
from classify.storage import Trials, quiet
from classify.summary import rows_of, summarise, systems_of
from classify.workers import job_count, messages
from embed.manifest import Clip


@dataclass(frozen=True, kw_only=True)
class Unit:
    """What a worker does in one go: the heads of one layer on one outer fold, which share arrays."""

    store: FeatureStore
    data: Dataset
    fold: OuterFold
    config: StudyConfig
    studies: tuple[StudyId, ...]
    done: dict[StudyId, list[FrozenTrial]]
    seconds: float | None  # for each study
    memory: int  # bytes to keep


def run_study(
    clips: Sequence[Clip],
    store: FeatureStore,
    out: Path,
    config: StudyConfig,
    *,
    excluded: Mapping[str, str] | None = None,
    command: Mapping[str, Any] | None = None,
    report: Report | None = None,
) -> Path:
    """Search, score and write the run folder `out`, which is returned.

    excluded: clip id → reason, for clips to keep out. command: what the person typed, recorded in run.json so
    that the run can be repeated. report: called with `Progress` after each trial.

    A run that was cut short goes on where it was; its files come out the same as those of an unbroken run. A
    finished one is left as it is. Raises InputError for data that cannot be studied so and for a folder that
    holds another run.
    """
    began = time.monotonic()
    quiet()
    data = join(clips, store, target=config.target, excluded=excluded)
    layers = _layers(store, config)
    _check_names("statistic", config.stats, store.extraction.stats)
    _check_names("head", config.heads, tuple(HEADS))
    folds = outer_folds(
        data, split=config.split, folds=config.folds, inner_folds=config.inner_folds, seed=config.seed
    )
    run = _run_record(data, store, config, command)
    if _is_finished(out, run):
        return out
    runfolder.write_json(out / runfolder.RUN, run)
    runfolder.write_splits(out, data, folds)

    ids = [StudyId(f, layer, head) for layer in layers for f in range(len(folds)) for head in config.heads]
    outcomes = _search_all(out, ids, store, data, folds, config, run["fingerprint"], report)
    searched = time.monotonic() - began
    runfolder.write_results(out, rows_of(outcomes, data, folds))
    runfolder.write_predictions(out, data, folds, systems_of(outcomes))
    summary = summarise(outcomes, data, folds, config, store.extraction.model)
    runfolder.write_json(out / runfolder.SUMMARY, summary)
    draw_layers(summary, out / "figures")
    stages = {"search": searched, "write": time.monotonic() - began - searched}
    runfolder.write_json(
        out / runfolder.RUN, {**run, "finished": True, "seconds": stages, "peak_memory": peak_memory()}
    )
    shutil.rmtree(out / runfolder.OUTCOMES, ignore_errors=True)
    return out


def _search_all(
    out: Path,
    ids: Sequence[StudyId],
    store: FeatureStore,
    data: Dataset,
    folds: Sequence[OuterFold],
    config: StudyConfig,
    fingerprint: str,
    report: Report | None,
) -> dict[StudyId, Outcome]:
    """Every study's outcome, in the order of `ids`."""
    trials = Trials(config.storage, out=out, run=fingerprint)
    outcomes = {id: outcome for id in ids if (outcome := runfolder.load_outcome(out, id))}
    open_ids = [id for id in ids if id not in outcomes]
    done = {id: trials.of(id) for id in open_ids}
    progress = Progress(studies=len(ids), trials_each=config.trials)
    for outcome in outcomes.values():
        progress.resume(outcome.id, [outcome.inner_score], trials=outcome.trials)
    for id, held in done.items():
        scores = [t.value for t in held if t.state == TrialState.COMPLETE and t.value is not None]
        progress.resume(id, scores, trials=len(held))
    jobs = job_count(config.jobs)
    units = _units(open_ids, store, data, folds, config, done, jobs)
    for message in messages(run_unit, units, jobs=jobs):
        if isinstance(message, TrialDone):
            trials.add(message.id, message.trial)
            progress.add(
                message.id, message.trial.value if message.trial.state == TrialState.COMPLETE else None
            )
        else:
            runfolder.save_outcome(out, message)
            outcomes[message.id] = message
        if report is not None:
            report(progress)
    return {id: outcomes[id] for id in ids}


def _units(
    ids: Sequence[StudyId],
    store: FeatureStore,
    data: Dataset,
    folds: Sequence[OuterFold],
    config: StudyConfig,
    done: Mapping[StudyId, list[FrozenTrial]],
    jobs: int,
) -> list[Unit]:
    """Heads of a layer and fold go together, unless that would leave processes idle."""
    groups: dict[tuple[object, ...], list[StudyId]] = {}
    together = len({(id.fold, id.layer) for id in ids}) >= 4 * jobs
    for id in ids:
        groups.setdefault((id.fold, id.layer) if together else (id,), []).append(id)
    return [
        Unit(
            store=store,
            data=data,
            fold=folds[group[0].fold],
            config=config,
            studies=tuple(group),
            done={id: done[id] for id in group},
            seconds=None if config.timeout is None else config.timeout * jobs / max(1, len(ids)),
            memory=config.memory // jobs,
        )
        for group in groups.values()
    ]


def run_unit(unit: Unit) -> Iterator[TrialDone | Outcome]:
    """Yield each trial as it ends, and each study's outcome."""
    quiet()
    layer = unit.studies[0].layer
    stats = unit.config.stats or unit.store.extraction.stats
    states = States(unit.store.layer(layer, unit.data.keys, stats=stats), stats, unit.data.speakers)
    parts = len(unit.fold.inner) + 1

    def share(train: Any, test: Any) -> Shared:
        return Shared(
            states,
            unit.data.y,
            train=train,
            test=test,
            classes=len(unit.data.classes),
            budget=unit.memory // parts,
        )

    inner = [share(fold.train, fold.test) for fold in unit.fold.inner]
    outer = share(unit.fold.outer.train, unit.fold.outer.test)
    for id in unit.studies:
        deadline = None if unit.seconds is None else time.monotonic() + unit.seconds
        yield from search(id, inner, outer, unit.data.y, unit.config, done=unit.done[id], deadline=deadline)


def _layers(store: FeatureStore, config: StudyConfig) -> tuple[str, ...]:
    _check_names("layer", config.layers, store.extraction.layers)
    return config.layers or store.extraction.layers


def _check_names(what: str, asked: Sequence[str], held: Sequence[str]) -> None:
    for name in asked:
        if name not in held:
            raise InputError(f"{what} '{name}' is not there", do=f"choose from {', '.join(held)}")


def _run_record(
    data: Dataset, store: FeatureStore, config: StudyConfig, command: Mapping[str, Any] | None
) -> dict[str, Any]:
    """run.json. Its fingerprint covers what decides the results: clips, labels, states and configuration."""
    settings = asdict(config)
    deciding = {
        "config": {name: value for name, value in settings.items() if name not in MANNER},
        "states": store.extraction.fingerprint(),
        "clips": [data.ids, data.keys, data.y.tolist(), data.parts],
        "speakers": None if data.speakers is None else data.speakers.tolist(),
    }
    text = json.dumps(deciding, sort_keys=True)
    return {
        "schema": 1,
        "kind": "classify",
        "fingerprint": hashlib.sha256(text.encode()).hexdigest()[:16],
        "finished": False,
        "command": dict(command or {}),
        "config": settings,
        "model": store.extraction.model,
        "states": store.extraction.fingerprint(),
        "store": str(store.folder),
        **versions(),
    }


def _is_finished(out: Path, run: Mapping[str, Any]) -> bool:
    """Whether `out` holds this very run, whole. Raises InputError where it holds another."""
    out.mkdir(parents=True, exist_ok=True)
    if not (out / runfolder.RUN).exists():
        return False
    held = runfolder.read_json(out / runfolder.RUN)
    if held.get("fingerprint") == run["fingerprint"]:
        return bool(held.get("finished"))
    before, now = held.get("config", {}), json.loads(json.dumps(run["config"]))
    changed = [
        f"{name} {before.get(name)} → {now[name]}"
        for name in now
        if name not in MANNER and before.get(name) != now[name]
    ]
    raise InputError(
        f"holds another run ({', '.join(changed) or 'its clips, labels or states differ'})",
        where=str(out),
        do="choose another folder, or delete this one",
    )
