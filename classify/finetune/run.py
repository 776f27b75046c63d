"""The entry point `finetune`: from clips and splits to a finished run folder."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from layerprobe.cache.common.console import progress, say
from layerprobe.cache.common.disk import MORE_SHARED_MEMORY, abandoned_files, shared_memory_fault
from layerprobe.cache.common.errors import InputError
from layerprobe.cache.common.interrupts import STATUS, GracefulStop, Interrupted
from layerprobe.classify.data.dataset import Dataset
from layerprobe.classify.data.splits import Assignment, OuterFold
from layerprobe.classify.finetune.config import LATER, RUNTIME_OPTIONS, FinetuneConfig
from layerprobe.classify.finetune.cross_validation import WORK, CrossValidation, ProgressCallback
from layerprobe.classify.finetune.data import load_data
from layerprobe.classify.finetune.figures import draw_curves, write_curves
from layerprobe.classify.finetune.networks import check_trainable
from layerprobe.classify.finetune.parallel.folds import FoldShare, alone, own_folds
from layerprobe.classify.finetune.parallel.group import connected, end_silently, find_group
from layerprobe.classify.finetune.saving.transformers_model import obstacle
from layerprobe.classify.finetune.training import check_options
from layerprobe.classify.finetune.validation import validation_folds, validation_note
from layerprobe.classify.runs import run_folder
from layerprobe.classify.runs.cost import CostMeter
from layerprobe.classify.runs.run_record import is_finished, new_record, peak_memory, recorded_settings
from layerprobe.classify.scores.selection import describe, result_rows, systems_of
from layerprobe.classify.search.storage import silence_optuna
from layerprobe.embed.checkpoints.source import ModelSource, files_hash
from layerprobe.embed.config import DEFAULT_CACHE
from layerprobe.embed.manifest.clips import Clip
from layerprobe.embed.models.presets import canonical_name
from layerprobe.embed.models.sources import find_model

PACKAGES = ("numpy", "torch", "transformers", "accelerate", "peft", "optuna")


def finetune(
    clips: Sequence[Clip],
    assignment: Assignment,
    *,
    model: str,
    out: Path,
    config: FinetuneConfig,
    revision: str | None = None,
    cache: Path = DEFAULT_CACHE,
    command: Mapping[str, Any] | None = None,
    share: FoldShare | None = None,
    report: ProgressCallback | None = None,
) -> dict[str, Any] | None:
    """Fine-tune on each fold's training clips, test once, write the run folder `out`; return its summary.

    assignment: ids of the (training, test) clips of each outer fold, as in splits.json or from
    `protocols.protocol_folds`; other clips are left out. model, revision: as for `embed`. cache: folder of
    the hash cache. command: recorded in run.json. share: the folds to train, where other processes train the
    rest of the run; the one that finds all folds trained completes it, and the others return None. report:
    receives the progress of every step. Under torchrun, all processes but the first return None.

    An interrupted run is resumed; a finished one is left unchanged. Ctrl-C and SIGTERM raise
    KeyboardInterrupt after a last checkpoint. Raises InputError.
    """
    group = find_group(os.environ)
    device, precision = check_options(model, config, group)
    silence_optuna()
    source = find_model(model, revision=revision)
    check_trainable(source, config)
    if config.keep_models and (why := obstacle(source.config, config)):
        say(f"note: only `predict` can use the kept models: transformers has no model for {why}")
    with connected(group, device):
        hashed = group.from_first(lambda: None if source.folder is None else files_hash(source, cache))
        recordings, data = group.from_first(lambda: load_data(clips, assignment, config, cache))
        folds = group.from_first(lambda: validation_folds(data, assignment, config))
        own = list(range(len(folds))) if share is None else share.folds(len(folds))
        run = _record(
            data,
            folds,
            config,
            source,
            weights=hashed or f"seed:{config.seed}",
            precision=precision,
            processes=group.size,
            command=command,
        )
        if group.from_first(lambda: is_finished(out, run, ignored=RUNTIME_OPTIONS)):
            return run_folder.read_json(out / run_folder.SUMMARY) if group.is_first else None
        try:
            with GracefulStop() as stop, own_folds(out, share, own) if group.is_first else nullcontext():
                cross_validation = CrossValidation(
                    out=out,
                    run=run,
                    source=source,
                    data=data,
                    folds=folds,
                    recordings=recordings,
                    config=config,
                    device=device,
                    precision=precision,
                    stop=stop,
                    spending=CostMeter(out, device, part="" if share is None else str(share)),
                    own=own,
                    group=group,
                    report=report,
                )
                return _run(cross_validation, share)
        except OSError as error:
            if fault := shared_memory_fault():  # it filled up during the run
                raise InputError(fault, do=f"{MORE_SHARED_MEMORY}; the same command resumes") from error
            message = f"cannot be written ({error.strerror})"
            raise InputError(message, where=str(out), do="choose another folder for --out") from error


def _record(
    data: Dataset,
    folds: Sequence[OuterFold],
    config: FinetuneConfig,
    source: ModelSource,
    *,
    weights: str,
    precision: str,
    processes: int,
    command: Mapping[str, Any] | None,
) -> dict[str, Any]:
    """The content of run.json at the start."""
    settings = recorded_settings(config, later=LATER)
    if processes > 1:  # each has --batch-size clips of a batch
        settings["processes"] = processes
    deciding = {
        "config": {name: value for name, value in settings.items() if name not in RUNTIME_OPTIONS},
        "precision": precision,
        "model": [source.architecture(), weights, source.normalise],
        "clips": [data.ids, data.keys, data.y.tolist()],
        "folds": [[fold.outer.train.tolist(), fold.outer.test.tolist()] for fold in folds],
        "validation": [[inner.test.tolist() for inner in fold.inner] for fold in folds],
    }
    return new_record(
        "finetune",
        deciding=deciding,
        settings=settings,
        command=command,
        packages=PACKAGES,
        model=canonical_name(source.name),
        revision=source.revision,
        weights=weights,
        precision=precision,
    )


def _run(cross_validation: CrossValidation, share: FoldShare | None) -> dict[str, Any] | None:
    """Train this process's folds, and complete the run if all are trained: its summary, else None."""
    run, out = cross_validation.run, cross_validation.out
    if not cross_validation.group.is_first:
        for number in cross_validation.own:
            cross_validation.train(number)
        return None
    with alone(out, share):
        abandoned_files(out, remove=True)
        begun = (out / run_folder.RUN).exists() and (out / run_folder.SPLITS).exists()
        if share is None or not begun:
            run_folder.write_json(out / run_folder.RUN, run)
            run_folder.write_splits(out, cross_validation.data, cross_validation.folds)
    for number in cross_validation.own:
        cross_validation.train(number)
    with alone(out, share):
        if not is_finished(out, run, ignored=RUNTIME_OPTIONS):
            if cross_validation.untrained():
                return None
            _complete(cross_validation)
    return run_folder.read_json(out / run_folder.SUMMARY)


def _complete(cross_validation: CrossValidation) -> None:
    """Write the files that combine the results of all folds; run.json says last that the run is finished."""
    run, out, config = cross_validation.run, cross_validation.out, cross_validation.config
    data, folds = cross_validation.data, cross_validation.folds
    fold_results = [cross_validation.fold_result(number) for number in range(len(folds))]
    results = {result.id: result for result in fold_results}
    run_folder.write_results(out, result_rows(data, folds, results, seed=config.seed))
    run_folder.write_predictions(out, data, folds, systems_of(results))
    note = validation_note(data, folds)
    summary = describe(data, folds, results, config=config, model=run["model"], notes=[note])
    run_folder.write_json(out / run_folder.SUMMARY, summary)
    curves = [cross_validation.curve(number) for number in range(len(folds))]
    write_curves(out, curves)
    draw_curves(
        curves,
        [result.params["epoch"] for result in fold_results],
        metric=config.metric,
        title=f"{run['model']}, fine-tuned: {config.target}",
        folder=out / "figures",
    )
    cost = replace(
        cross_validation.spending.total(), trained_parameters=cross_validation.trained_parameters()
    )
    finished = {"finished": True, "seconds": {"train": cost.wall_s}, "peak_memory": peak_memory()}
    run_folder.write_json(out / run_folder.RUN, {**run, **finished, "cost": asdict(cost)})
    for folder in (run_folder.PARTIAL_RESULTS, WORK):
        shutil.rmtree(out / folder, ignore_errors=True)
    cross_validation.spending.close()


def finetune_with_progress(
    clips: Sequence[Clip], assignment: Assignment, *, model: str, out: Path, **options: Any
) -> dict[str, Any] | None:
    """Fine-tune as `classify.finetune.run.finetune` does, with a progress line; returns what it returns.

    Raises Interrupted if the user stops the run; finished folds and the last checkpoint stay in `out`.
    """
    try:
        with progress(f"finetune {model}") as line:
            return finetune(
                clips,
                assignment,
                model=model,
                out=out,
                report=lambda now: line.update(now.share, now.status),
                **options,
            )
    except KeyboardInterrupt:
        if not find_group(os.environ).is_first:  # nobody waits for it any more
            end_silently(STATUS, grace=1.0)
        saved = f"finished folds and the last checkpoint are kept in {out}"
        raise Interrupted(f"{saved}; the same command resumes") from None
