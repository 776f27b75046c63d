"""Train and test the folds of a fine-tuning one at a time; finished folds are never repeated."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file
from scipy.special import softmax

from layerprobe.cache.common.interrupts import GracefulStop
from layerprobe.classify.data.dataset import Dataset
from layerprobe.classify.data.splits import OuterFold
from layerprobe.classify.finetune.checkpoints import Checkpoints, TrainingCurve, TrainingHistory
from layerprobe.classify.finetune.config import FinetuneConfig
from layerprobe.classify.finetune.data import Recording, WindowDataset
from layerprobe.classify.finetune.fit import FITTED, TRIAL, FittedModel, fit_fold
from layerprobe.classify.finetune.model import SpeechClassifier
from layerprobe.classify.finetune.parallel.group import Group
from layerprobe.classify.finetune.saving.bundle import save_model
from layerprobe.classify.finetune.training import Training, predict
from layerprobe.classify.runs import run_folder
from layerprobe.classify.runs.bundle_files import MODELS
from layerprobe.classify.runs.cost import CostMeter
from layerprobe.classify.scores.results import StudyId, StudyResult
from layerprobe.classify.search.storage import TrialStorage
from layerprobe.embed.checkpoints.source import ModelSource

LAYER = "all"  # the layer's name in results.csv: all layers are trained together
SEARCHED = "searched"  # the head's name there if each fold chose its own
WORK, TENSORBOARD = "work", "tensorboard"
SEARCHES = "searches"  # folder of the trials of each fold, where several processes search


@dataclass(frozen=True, kw_only=True)
class FinetuneProgress:
    """share: of all training steps (0 to 1). status: fold, epoch, loss and scores as text."""

    share: float
    status: str


ProgressCallback = Callable[[FinetuneProgress], None]


@dataclass(frozen=True, kw_only=True)
class CrossValidation:
    """A fine-tuning over folds in the run folder `out`.

    run: the content of run.json. recordings: by clip id. own: the folds that this process trains.
    """

    out: Path
    run: Mapping[str, Any]
    source: ModelSource
    data: Dataset
    folds: Sequence[OuterFold]
    recordings: Mapping[str, Recording]
    config: FinetuneConfig
    device: torch.device
    precision: str
    stop: GracefulStop
    spending: CostMeter
    own: Sequence[int]
    group: Group
    report: ProgressCallback | None

    def train(self, number: int) -> None:
        """Train and test a fold, unless an earlier run did, with the other processes of the group."""
        folder = self.out / WORK / f"fold-{number}"
        is_needed = self.group.from_first(lambda: not self._is_trained(number, folder))
        if self.group.is_first:
            self.fold_result(number)
        elif is_needed:
            self._train(number, self.config, 0, folder / TRIAL.format(0))

    def _is_trained(self, number: int, folder: Path) -> bool:
        result = run_folder.load_result(self.out, self._id(number))
        return result is not None or (folder / TRIAL.format(0) / FITTED).is_file()

    def fold_result(self, number: int) -> StudyResult:
        """Train and test a fold, or load its result if an earlier run finished it.

        Raises KeyboardInterrupt where a stop was requested, InputError where training cannot continue.
        """
        id = self._id(number)
        if (finished := run_folder.load_result(self.out, id)) is not None:
            return finished
        if self.stop.requested:
            raise KeyboardInterrupt
        folder = self.out / WORK / f"fold-{number}"
        trials = self._trials(number) if self.config.trials else None
        fitted = fit_fold(id, folder, self.config, trials, lambda *trial: self._fit(number, *trial))
        result = self._test(id, fitted)
        if self.config.keep_models:
            self._save_model(number, fitted)
        (self.out / run_folder.PARTIAL_RESULTS).mkdir(exist_ok=True)
        run_folder.write_json(self._curve_file(number), {"curve": fitted.curve})
        run_folder.save_result(self.out, result)
        self.spending.save()
        shutil.rmtree(folder)
        return result

    def untrained(self) -> list[int]:
        """The folds without a result, which other processes train."""
        return [k for k in range(len(self.folds)) if run_folder.load_result(self.out, self._id(k)) is None]

    def _id(self, number: int) -> StudyId:
        return StudyId(number, LAYER, SEARCHED if self.config.trials else self.config.head)

    def curve(self, number: int) -> TrainingCurve:
        """The training curve of a finished fold."""
        return list(run_folder.read_json(self._curve_file(number))["curve"])

    def trained_parameters(self) -> int:
        """How many parameters each training changes."""
        return self._classifier(self.config).trained_parameters()

    def _fit(self, number: int, config: FinetuneConfig, trial: int, folder: Path) -> FittedModel:
        history, checkpoints = self._train(number, config, trial, folder)
        best = history.best()
        weights = checkpoints.move_weights(best.step)
        checkpoints.clear()
        return FittedModel(
            config=config, weights=weights, score=best.score, epoch=best.epoch, curve=history.curve
        )

    def _train(
        self, number: int, config: FinetuneConfig, trial: int, folder: Path
    ) -> tuple[TrainingHistory, Checkpoints]:
        fold = self.folds[number]
        name = f"fold {number + 1} of {len(self.folds)}"
        if self.config.trials:
            name += f", trial {trial + 1} of {self.config.trials}"
        checkpoints = Checkpoints(folder, run=str(self.run["fingerprint"]))
        training = Training(
            name=name,
            model=self._classifier(config),
            train=self._windows(fold.inner[0].train if fold.inner else fold.outer.train, weighted=True),
            validation=self._windows(fold.inner[0].test) if fold.inner else None,
            checkpoints=checkpoints,
            config=config,
            device=self.device,
            precision=self.precision,
            tensorboard=self.out / TENSORBOARD,
            group=self.group,
        )
        trainings_before = self.own.index(number) * max(1, self.config.trials) + trial
        history = training.run(
            stop=self.stop,
            on_checkpoint=self.spending.save,
            on_progress=lambda now: self._report_progress(name, trainings_before, now),
        )
        return history, checkpoints

    def _test(self, id: StudyId, fitted: FittedModel) -> StudyResult:
        config = fitted.config
        model = self._classifier(config)
        model.load_state_dict(load_file(fitted.weights))
        test = self._windows(self.folds[id.fold].outer.test)
        logits = predict(model, test, config, device=self.device, precision=self.precision)
        names = ("head", "learning_rate", "epochs", "dropout")
        return StudyResult(
            id=id,
            params={**{name: getattr(config, name) for name in names}, "epoch": fitted.epoch},
            inner_score=float("nan") if fitted.score is None else fitted.score,
            predicted=logits.argmax(1),
            probability=softmax(logits, axis=1),
            trials=max(1, self.config.trials),
            pruned=0,
        )

    def _save_model(self, number: int, fitted: FittedModel) -> None:
        """Save the model of a fold as a bundle, for `predict`."""
        trained = self._classifier(fitted.config)
        trained.load_state_dict(load_file(fitted.weights))
        save_model(
            self.out / MODELS / f"fold-{number}",
            trained,
            source=self.source,
            config=fitted.config,
            labels=self.data.classes,
            precision=self.precision,
            about={
                "run": self.run["fingerprint"],
                "fold": number,
                "target": self.config.target,
                "base_model": self.run["model"],
                "revision": self.source.revision,
                "metric": self.config.metric,
                "validation_score": fitted.score,
            },
        )

    def _windows(self, rows: np.ndarray, *, weighted: bool = False) -> WindowDataset:
        y, class_weights = self.data.y[rows], None
        if weighted and self.config.class_weight == "balanced":
            counts = np.bincount(y, minlength=len(self.data.classes))
            class_weights = len(rows) / (len(counts) * counts)
        return WindowDataset(
            [self.recordings[self.data.ids[row]] for row in rows],
            y,
            window=self.config.window,
            normalise=self.source.normalise,
            class_weights=class_weights,
        )

    def _classifier(self, config: FinetuneConfig) -> SpeechClassifier:
        return SpeechClassifier(self.source, config, classes=len(self.data.classes))

    def _trials(self, number: int) -> TrialStorage:
        """The trials of a fold: in a file of its own where other processes have trials of other folds."""
        own = self.out / SEARCHES / f"fold-{number}"
        if len(self.own) < len(self.folds):
            own.mkdir(parents=True, exist_ok=True)
        return TrialStorage(None, out=own if own.exists() else self.out, run=str(self.run["fingerprint"]))

    def _report_progress(self, name: str, trainings_before: int, history: TrainingHistory) -> None:
        if self.report is None:
            return
        state, curve, scores = history.state, history.curve, history.scores
        done = trainings_before + state["global_step"] / state["max_steps"]
        status = f"{name}, epoch {state['epoch'] or 0:.1f} of {history.config.epochs}"
        if curve:
            status += f", loss {curve[-1]['loss']:.3f}"
        if scores:
            status += f", validation {self.config.metric} {scores[-1]:.3f} (best {max(scores):.3f})"
        share = done / (len(self.own) * max(1, self.config.trials))
        self.report(FinetuneProgress(share=share, status=status))

    def _curve_file(self, number: int) -> Path:
        return self.out / run_folder.PARTIAL_RESULTS / f"curve-{number}.json"
