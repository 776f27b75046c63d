"""One fold of a fine-tuning: a training, or a search over several that the validation part decides."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import optuna
from optuna.trial import TrialState

from layerprobe.cache.common.disk import write_atomically
from layerprobe.cache.common.errors import InputError
from layerprobe.classify.finetune.config import FinetuneConfig, HeadName
from layerprobe.classify.scores.results import StudyId
from layerprobe.classify.search.nested import derive
from layerprobe.classify.search.storage import Trials

FITTED = "fitted.json"
LOWEST_RATE, HIGHEST_RATE = 1e-6, 1e-3
HIGHEST_DROPOUT = 0.5


@dataclass(frozen=True, kw_only=True)
class Fitted:
    """A training that is done. weights: its file. score: on the validation part; None without one.

    epoch: the one that was kept. curve: an entry for each epoch.
    """

    config: FinetuneConfig
    weights: Path
    score: float | None
    epoch: float
    curve: list[dict[str, float]]
    trial: int = 0


class DivergedError(InputError):
    """A training whose loss or weights are no longer finite."""


Fit = Callable[[FinetuneConfig, Path], Fitted]


def best_fit(
    id: StudyId, folder: Path, config: FinetuneConfig, trials: Trials | None, fit: Fit
) -> tuple[Fitted, int]:
    """The training of a fold, or the best of `config.trials`; and how many there were.

    trials: where a search keeps its trials. folder: of the fold; what a killed run left there is taken up.
    Only the best training's weights stay.
    """
    if trials is None:
        return _done(config, folder / "trial-0", fit), 1
    study = optuna.create_study(direction="maximize")
    done = trials.of(id)
    study.add_trials(done)
    if not done:
        study.enqueue_trial(_start(config))
    for number in range(len(done), config.trials):
        study.sampler = optuna.samplers.TPESampler(
            seed=derive(config.seed, str(id), number), n_startup_trials=max(2, config.trials // 3)
        )
        trial = study.ask()
        own = _sample(trial, config)
        try:
            score = _done(own, folder / f"trial-{number}", fit).score
        except DivergedError:
            trials.add(id, study.tell(trial, state=TrialState.FAIL))
            shutil.rmtree(folder / f"trial-{number}")
            continue
        trials.add(id, study.tell(trial, score, TrialState.COMPLETE))
        _keep_only(folder, study.best_trial.number)
    if not any(trial.state == TrialState.COMPLETE for trial in study.trials):
        raise DivergedError(f"none of {config.trials} trials kept a finite loss", where=str(id))
    best = study.best_trial.number
    _keep_only(folder, best)
    own = replace(config, **study.best_trial.params)
    return replace(_done(own, folder / f"trial-{best}", fit), trial=best), config.trials


def _sample(trial: optuna.Trial, config: FinetuneConfig) -> FinetuneConfig:
    heads: list[HeadName] = ["linear", "mlp"]
    return replace(
        config,
        learning_rate=trial.suggest_float("learning_rate", LOWEST_RATE, HIGHEST_RATE, log=True),
        epochs=trial.suggest_int("epochs", max(1, config.epochs // 4), config.epochs),
        dropout=trial.suggest_float("dropout", 0.0, HIGHEST_DROPOUT),
        head=trial.suggest_categorical("head", heads),
    )


def _start(config: FinetuneConfig) -> dict[str, Any]:
    """The first trial is what was asked for without a search."""
    return {
        "learning_rate": min(max(config.learning_rate, LOWEST_RATE), HIGHEST_RATE),
        "epochs": config.epochs,
        "dropout": min(config.dropout, HIGHEST_DROPOUT),
        "head": config.head,
    }


def _done(config: FinetuneConfig, folder: Path, fit: Fit) -> Fitted:
    """A training that an earlier run finished, or one now."""
    record = folder / FITTED
    if record.is_file():
        told = json.loads(record.read_text(encoding="utf-8"))
        return Fitted(config=config, **{**told, "weights": folder / told["weights"]})
    folder.mkdir(parents=True, exist_ok=True)
    fitted = fit(config, folder)
    told = {"score": fitted.score, "epoch": fitted.epoch, "curve": fitted.curve}
    write_atomically(record, json.dumps({"weights": fitted.weights.name, **told}))
    return fitted


def _keep_only(folder: Path, best: int) -> None:
    for path in folder.glob("trial-*"):
        if path.name != f"trial-{best}":
            shutil.rmtree(path)
