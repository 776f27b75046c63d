"""Full fine-tuning of a model on fixed splits, into the run folder that `classify` writes."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch

from layerprobe.cache.common.disk import abandoned_files, locked
from layerprobe.cache.common.errors import InputError
from layerprobe.cache.common.interrupts import GracefulStop
from layerprobe.classify.data.dataset import Dataset, join_targets
from layerprobe.classify.data.splits import Assignment, OuterFold
from layerprobe.classify.finetune.config import RUNTIME_OPTIONS, FinetuneConfig
from layerprobe.classify.finetune.cross_validation import WORK, FoldTrainer, Report
from layerprobe.classify.finetune.data import Recording, load_recordings
from layerprobe.classify.finetune.figures import draw_curves, write_curves
from layerprobe.classify.finetune.validation import folds_of
from layerprobe.classify.runs import folder as runfolder
from layerprobe.classify.runs.cost import Spending
from layerprobe.classify.runs.record import begin, is_finished, peak_memory
from layerprobe.classify.scores.selection import describe, result_rows, systems_of
from layerprobe.classify.search.storage import quiet
from layerprobe.embed.config import DEFAULT_CACHE
from layerprobe.embed.manifest.clips import Clip
from layerprobe.embed.models.device import find_device, find_precision
from layerprobe.embed.models.presets import ACOUSTIC_PRESETS, canonical_name
from layerprobe.embed.models.sources import ModelSource, files_hash, find_model

PACKAGES = ("numpy", "torch", "transformers", "accelerate", "peft", "optuna")
LOCK = ".lock"


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
    report: Report | None = None,
) -> dict[str, Any]:
    """Fine-tune on each fold's training clips, test once, write the run folder `out`; returns its summary.

    assignment: for each outer fold the ids of its (training, test) clips, as in splits.json and as
    `protocols.protocol_folds` gives them; clips in none of them are left out. model, revision: as for `embed`.
    cache: where file hashes are remembered.

    A run that was cut short goes on where it was; a finished one is left as it is. Ctrl-C or SIGTERM end it
    with KeyboardInterrupt after a last checkpoint. Raises InputError.
    """
    if model in ACOUSTIC_PRESETS:
        raise InputError(
            f"--model {model} has no weights to fine-tune", do="classify probes acoustic features"
        )
    quiet()
    device, precision = _device(config)
    if config.report_to != "none" and find_spec(config.report_to) is None:
        raise InputError(
            f"--report-to {config.report_to}: {config.report_to} is not installed", do="install it"
        )
    source = find_model(model, revision=revision)
    weights = files_hash(source, cache) if source.folder is not None else f"seed:{config.seed}"
    heard, data = _data(clips, assignment, config, cache)
    folds = folds_of(data, assignment, config)
    run = _record(data, folds, config, source, weights=weights, precision=precision, command=command)
    if is_finished(out, run, manner=RUNTIME_OPTIONS):
        return runfolder.read_json(out / runfolder.SUMMARY)
    try:
        out.mkdir(parents=True, exist_ok=True)
        with GracefulStop() as stop, locked(out / LOCK, wait=False):
            work = FoldTrainer(
                out=out,
                run=run,
                source=source,
                data=data,
                folds=folds,
                heard=heard,
                config=config,
                device=device,
                precision=precision,
                stop=stop,
                spending=Spending(out, device),
                report=report,
            )
            return _write(work)
    except BlockingIOError:
        raise InputError("another process is at work on this run", where=str(out), do="wait for it") from None
    except OSError as error:
        told = f"cannot be written ({error.strerror})"
        raise InputError(told, where=str(out), do="choose another folder for --out") from error


def _device(config: FinetuneConfig) -> tuple[torch.device, str]:
    device = find_device(config.device)
    if device.index:
        raise InputError(
            f"--device {config.device}: training takes the first GPU it sees",
            do=f"set CUDA_VISIBLE_DEVICES={device.index} and give --device cuda",
        )
    precision = find_precision(config.precision, device)
    if precision == "fp16" and device.type != "cuda":
        raise InputError(f"--precision fp16 cannot be trained in on {device}", do="give bf16 or fp32")
    return device, precision


def _data(
    clips: Sequence[Clip], assignment: Assignment, config: FinetuneConfig, cache: Path
) -> tuple[dict[str, Recording], Dataset]:
    """What can be heard, and its labels."""
    used = {id for parts in assignment for part in parts for id in part}
    outside = {clip.id: "in no part of the splits" for clip in clips if clip.id not in used}
    heard, broken = load_recordings([clip for clip in clips if clip.id in used], cache)
    data = join_targets(
        clips,
        target=config.target,
        keys=lambda named: [heard[clip.id].key for clip in named],
        excluded={**outside, **broken},
    )
    return heard, data


def _record(
    data: Dataset,
    folds: Sequence[OuterFold],
    config: FinetuneConfig,
    source: ModelSource,
    *,
    weights: str,
    precision: str,
    command: Mapping[str, Any] | None,
) -> dict[str, Any]:
    settings = asdict(config)
    deciding = {
        "config": {name: value for name, value in settings.items() if name not in RUNTIME_OPTIONS},
        "precision": precision,
        "model": [source.architecture(), weights, source.normalise],
        "clips": [data.ids, data.keys, data.y.tolist()],
        "folds": [[fold.outer.train.tolist(), fold.outer.test.tolist()] for fold in folds],
        "validation": [[inner.test.tolist() for inner in fold.inner] for fold in folds],
    }
    return begin(
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


def _write(work: FoldTrainer) -> dict[str, Any]:
    """Every fold, then the files that are made of all of them."""
    out, data, folds, config = work.out, work.data, work.folds, work.config
    abandoned_files(out, remove=True)
    runfolder.write_json(out / runfolder.RUN, work.run)
    runfolder.write_splits(out, data, folds)
    outcomes = {}
    for number in range(len(folds)):
        outcome = work.outcome(number)
        outcomes[outcome.id] = outcome
    runfolder.write_results(out, result_rows(data, folds, outcomes, seed=config.seed))
    runfolder.write_predictions(out, data, folds, systems_of(outcomes))
    summary = describe(data, folds, outcomes, config=config, model=work.run["model"], notes=_notes(work))
    runfolder.write_json(out / runfolder.SUMMARY, summary)
    curves = [work.curve(number) for number in range(len(folds))]
    write_curves(out, curves)
    draw_curves(
        curves,
        [outcome.params["epoch"] for outcome in outcomes.values()],
        metric=config.metric,
        title=f"{work.run['model']}, fine-tuned: {config.target}",
        folder=out / "figures",
    )
    cost = replace(work.spending.read(), trained_parameters=work.trained_parameters())
    seconds = {"train": cost.wall_s}
    finished = {"finished": True, "seconds": seconds, "peak_memory": peak_memory(), "cost": asdict(cost)}
    runfolder.write_json(out / runfolder.RUN, {**work.run, **finished})
    for folder in (runfolder.PARTIAL_RESULTS, WORK):
        shutil.rmtree(out / folder, ignore_errors=True)
    work.spending.close()
    return runfolder.read_json(out / runfolder.SUMMARY)


def _notes(work: FoldTrainer) -> list[str]:
    """What a reader of the scores should know of how they came about."""
    if work.config.validation == "none":
        return ["all epochs were trained and the last one kept: nothing was set aside to choose it by"]
    sizes = [len(fold.inner[0].test) for fold in work.folds]
    apart = "" if work.data.speakers is None else ", of other speakers,"
    count = f"{min(sizes)}" if min(sizes) == max(sizes) else f"{min(sizes)} to {max(sizes)}"
    return [f"{count} clips of each training part{apart} were set aside to pick the epoch"]
