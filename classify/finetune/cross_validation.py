"""The folds of a fine-tuning, one after the other: train, keep the best epoch, predict the test part once."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file
from scipy.special import softmax

from layerprobe.cache.common.interrupts import GracefulStop
from layerprobe.classify.data.dataset import Dataset
from layerprobe.classify.data.splits import OuterFold
from layerprobe.classify.finetune.checkpoints import WEIGHTS, Checkpoints, Curve
from layerprobe.classify.finetune.config import FinetuneConfig
from layerprobe.classify.finetune.data import Recording, Windows
from layerprobe.classify.finetune.model import SpeechClassifier, description
from layerprobe.classify.finetune.search import Fitted, best_fit
from layerprobe.classify.finetune.training import predict, train
from layerprobe.classify.runs import folder as runfolder
from layerprobe.classify.runs.cost import Spending
from layerprobe.classify.scores.results import StudyId, StudyResult
from layerprobe.classify.search.storage import Trials
from layerprobe.embed.models.sources import ModelSource

LAYER = "all"  # under which results.csv files what no single layer made
SEARCHED = "searched"  # the head's name there where each fold chose its own
WORK, MODELS, BOARD = "work", "models", "tensorboard"


@dataclass(frozen=True, kw_only=True)
class FinetuneProgress:
    """How far a fine-tuning is: `share` of all training steps (0 to 1), and in words what matters now."""

    share: float
    status: str


Report = Callable[[FinetuneProgress], None]


@dataclass(frozen=True, kw_only=True)
class FoldTrainer:
    """A run at work in its folder `out`."""

    out: Path
    run: Mapping[str, Any]
    source: ModelSource
    data: Dataset
    folds: Sequence[OuterFold]
    heard: Mapping[str, Recording]
    config: FinetuneConfig
    device: torch.device
    precision: str
    stop: GracefulStop
    spending: Spending
    report: Report | None

    def outcome(self, number: int) -> StudyResult:
        """What a fold comes to; one that an earlier run finished is not trained again.

        Raises KeyboardInterrupt where an end was asked for, InputError where training cannot go on.
        """
        head = SEARCHED if self.config.trials else self.config.head
        id = StudyId(number, LAYER, head)
        known = runfolder.load_result(self.out, id)
        if known is not None:
            return known
        if self.stop.requested:
            raise KeyboardInterrupt
        folder = self.out / WORK / f"fold-{number}"
        trials = self._trials if self.config.trials else None
        fitted, count = best_fit(id, folder, self.config, trials, partial(self._fit, number))
        outcome = self._predicted(id, fitted, count)
        if self.config.keep_models:
            self._keep(number, fitted)
        (self.out / runfolder.PARTIAL_RESULTS).mkdir(exist_ok=True)
        runfolder.write_json(self._curve_file(number), {"curve": fitted.curve})
        runfolder.save_result(self.out, outcome)
        self.spending.save()
        shutil.rmtree(folder)
        return outcome

    def curve(self, number: int) -> list[dict[str, float]]:
        """The curve of a fold that is done."""
        return list(runfolder.read_json(self._curve_file(number))["curve"])

    def trained_parameters(self) -> int:
        """How many numbers each training may change."""
        return self._classifier(self.config).trained_parameters()

    def _fit(self, number: int, config: FinetuneConfig, folder: Path) -> Fitted:
        fold = self.folds[number]
        rows = fold.inner[0].train if fold.inner else fold.outer.train
        training = self._windows(rows, weighted=True)
        validation = self._windows(fold.inner[0].test) if fold.inner else None
        checkpoints = Checkpoints(folder, run=str(self.run["fingerprint"]))
        place = f"fold {number + 1} of {len(self.folds)}"
        begun = float(number)
        if self.config.trials:
            trial = int(folder.name.removeprefix("trial-"))
            place += f", trial {trial + 1} of {self.config.trials}"
            begun = number + trial / self.config.trials
        kept, curve = train(
            self._classifier(config),
            training,
            validation,
            checkpoints,
            config,
            device=self.device,
            precision=self.precision,
            stop=self.stop,
            board=self.out / BOARD,
            saved=self.spending.save,
            on_step=partial(self._tell, place, begun),
            name=place,
        )
        weights = checkpoints.keep_weights(kept.step)
        checkpoints.clear()
        return Fitted(config=config, weights=weights, score=kept.score, epoch=kept.epoch, curve=curve)

    def _predicted(self, id: StudyId, fitted: Fitted, trials: int) -> StudyResult:
        model = self._classifier(fitted.config)
        model.load_state_dict(load_file(fitted.weights))
        test = self._windows(self.folds[id.fold].outer.test)
        logits = predict(model, test, fitted.config, device=self.device, precision=self.precision)
        chosen = {
            name: getattr(fitted.config, name) for name in ("head", "learning_rate", "epochs", "dropout")
        }
        return StudyResult(
            id=id,
            params={**chosen, "epoch": fitted.epoch},
            inner_score=float("nan") if fitted.score is None else fitted.score,
            predicted=logits.argmax(1),
            probability=softmax(logits, axis=1),
            trials=trials,
            pruned=0,
        )

    def _keep(self, number: int, fitted: Fitted) -> None:
        folder = self.out / MODELS / f"fold-{number}"
        folder.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(fitted.weights, folder / WEIGHTS)
        told = description(self.source, fitted.config, self.data.classes)
        runfolder.write_json(folder / "model.json", told)

    def _windows(self, rows: np.ndarray, *, weighted: bool = False) -> Windows:
        weights = None
        if weighted and self.config.class_weight == "balanced":
            counts = np.bincount(self.data.y[rows], minlength=len(self.data.classes))
            weights = len(rows) / (len(counts) * counts)
        return Windows(
            [self.heard[self.data.ids[row]] for row in rows],
            self.data.y[rows],
            window=self.config.window,
            normalise=self.source.normalise,
            class_weights=weights,
        )

    def _classifier(self, config: FinetuneConfig) -> SpeechClassifier:
        return SpeechClassifier(self.source, config, classes=len(self.data.classes))

    @cached_property
    def _trials(self) -> Trials:
        return Trials(None, out=self.out, run=str(self.run["fingerprint"]))

    def _tell(self, place: str, begun: float, now: Curve) -> None:
        if self.report is None:
            return
        steps = len(self.folds) * max(1, self.config.trials)
        share = begun / len(self.folds) + now.step / now.steps / steps
        told = f"{place}, epoch {now.epoch:.1f} of {now.epochs}"
        if now.entries:
            last = now.entries[-1]
            told += f", loss {last['loss']:.3f}"
            scores = [entry[now.score] for entry in now.entries if now.score in entry]
            if scores:
                told += f", validation {self.config.metric} {scores[-1]:.3f} (best {max(scores):.3f})"
        self.report(FinetuneProgress(share=share, status=told))

    def _curve_file(self, number: int) -> Path:
        return self.out / runfolder.PARTIAL_RESULTS / f"curve-{number}.json"
