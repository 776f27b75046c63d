"""Fit one fold: a single training, or the best of a hyper-parameter search by validation score."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import optuna
from optuna.trial import TrialState

from layerprobe.classify.finetune.checkpoints import TrainingCurve
from layerprobe.classify.finetune.config import FinetuneConfig, HeadName
from layerprobe.classify.finetune.parallel.trainer import DivergedError
from layerprobe.classify.runs.run_folder import read_json, write_json
from layerprobe.classify.scores.results import StudyId
from layerprobe.classify.search.nested import derive_seed
from layerprobe.classify.search.storage import TrialStorage

FITTED = "fitted.json"
TRIAL = "trial-{}"  # folder of a training, in that of its fold
MIN_RATE, MAX_RATE = 1e-6, 1e-3
MAX_DROPOUT = 0.5
HEADS: list[HeadName] = ["linear", "mlp"]


@dataclass(frozen=True, kw_only=True)
class FittedModel:
    """A finished training. weights: file of the best epoch's weights. score: on the validation partition;
    None without one. epoch: the best one, or the last. curve: one entry per epoch."""

    config: FinetuneConfig
    weights: Path
    score: float | None
    epoch: float
    curve: TrainingCurve


Fit = Callable[[FinetuneConfig, int, Path], FittedModel]  # settings, trial number, folder to work in


def fit_fold(
    id: StudyId, folder: Path, config: FinetuneConfig, trials: TrialStorage | None, fit: Fit
) -> FittedModel:
    """Train a fold once, or `config.trials` times where there is a storage for `trials`.

    folder: of the fold; trainings that an earlier run finished there are reused. Only the best training's
    weights are kept. Raises DivergedError if every trial diverges.
    """
    if trials is None:
        return _fit_once(config, 0, folder, fit)
    study = optuna.create_study(direction="maximize")
    finished = trials.trials(id)
    study.add_trials(finished)
    if not finished:
        study.enqueue_trial(_first_trial(config))
    for number in range(len(finished), config.trials):
        study.sampler = optuna.samplers.TPESampler(
            seed=derive_seed(config.seed, str(id), number), n_startup_trials=max(2, config.trials // 3)
        )
        trial = study.ask()
        try:
            score = _fit_once(_suggest(trial, config), number, folder, fit).score
        except DivergedError:
            trials.add(id, study.tell(trial, state=TrialState.FAIL))
            shutil.rmtree(folder / f"trial-{number}")
            continue
        trials.add(id, study.tell(trial, score, TrialState.COMPLETE))
        _delete_except(folder, study.best_trial.number)
    if not any(trial.state == TrialState.COMPLETE for trial in study.trials):
        raise DivergedError(f"none of {config.trials} trials had a finite loss", where=str(id))
    best = study.best_trial
    _delete_except(folder, best.number)
    return _fit_once(replace(config, **best.params), best.number, folder, fit)


def _suggest(trial: optuna.Trial, config: FinetuneConfig) -> FinetuneConfig:
    return replace(
        config,
        learning_rate=trial.suggest_float("learning_rate", MIN_RATE, MAX_RATE, log=True),
        epochs=trial.suggest_int("epochs", max(1, config.epochs // 4), config.epochs),
        dropout=trial.suggest_float("dropout", 0.0, MAX_DROPOUT),
        head=trial.suggest_categorical("head", HEADS),
    )


def _first_trial(config: FinetuneConfig) -> dict[str, Any]:
    """The first trial uses the settings that a run without a search would use."""
    return {
        "learning_rate": min(max(config.learning_rate, MIN_RATE), MAX_RATE),
        "epochs": config.epochs,
        "dropout": min(config.dropout, MAX_DROPOUT),
        "head": config.head,
    }


def _fit_once(config: FinetuneConfig, number: int, folder: Path, fit: Fit) -> FittedModel:
    """The training of one trial, loaded if an earlier run finished it."""
    folder = folder / TRIAL.format(number)
    record = folder / FITTED
    if record.is_file():
        fields = read_json(record)
        return FittedModel(config=config, **{**fields, "weights": folder / fields["weights"]})
    folder.mkdir(parents=True, exist_ok=True)
    fitted = fit(config, number, folder)
    values = {"score": fitted.score, "epoch": fitted.epoch, "curve": fitted.curve}
    write_json(record, {"weights": fitted.weights.name, **values})
    return fitted


def _delete_except(folder: Path, best: int) -> None:
    for path in folder.glob("trial-*"):
        if path.name != f"trial-{best}":
            shutil.rmtree(path)
