"""Checkpoints of one training: complete or ignored, bound to their run, deleted once superseded."""

from __future__ import annotations

import re
import shutil
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from transformers import TrainerCallback

from layerprobe.cache.common.disk import fsync_file, fsync_folder, require_space
from layerprobe.cache.common.errors import InputError
from layerprobe.cache.common.interrupts import GracefulStop
from layerprobe.classify.finetune.config import FinetuneConfig
from layerprobe.classify.finetune.parallel.group import ALONE, Group
from layerprobe.classify.runs.run_folder import read_json, write_json

CHECKPOINT_SECONDS = 600.0  # a kill loses at most this much work, and at most one epoch
MARK = "whole.json"  # written last: a checkpoint without it is incomplete
WEIGHTS = "model.safetensors"
STATE = "trainer_state.json"
_NAME = re.compile(r"checkpoint-(\d+)")

TrainingCurve = list[dict[str, float]]
"""One entry per epoch: `epoch`, `loss`, `learning_rate`, and `validation_loss` and `validation_METRIC`."""


@dataclass(frozen=True)
class Checkpoints:
    """The checkpoint folder of one training. run: fingerprint of its run."""

    folder: Path
    run: str

    def check_space(self, *, weights: int, trained: int) -> None:
        """Raise StoreError if the disk cannot hold three checkpoints: the best one, the last one, the next.

        weights: bytes of the model's weights. trained: number of trained parameters; AdamW stores two float32
        moments of each.
        """
        do = "free some space for checkpoints, or choose another --out"
        require_space(self.folder, 3 * (weights + 8 * trained), do=do)

    def mark_complete(self, step: int, *, best: int | None) -> None:
        """Sync and mark the checkpoint of `step`, then delete all others except that of step `best`."""
        checkpoint = self._path(step)
        files = [path for path in checkpoint.iterdir() if path.name != MARK]
        for path in files:
            fsync_file(path)
        sizes = {path.name: path.stat().st_size for path in files}
        write_json(checkpoint / MARK, {"run": self.run, "step": step, "files": sizes})
        fsync_folder(self.folder)
        for other, path in self._saved().items():
            if other not in (step, best):
                _remove(path)

    def last(self) -> Path | None:
        """The newest complete checkpoint; incomplete and damaged ones are deleted.

        Raises InputError for a checkpoint of another run.
        """
        last = None
        for path in self._saved().values():
            if not (path / MARK).is_file():
                _remove(path)
                continue
            mark = read_json(path / MARK, do="delete it")
            if mark.get("run") != self.run:
                raise InputError(
                    "is a checkpoint of another run", where=str(path), do="delete it, or choose another --out"
                )
            if self._has_files(path, mark.get("files", {})):
                last = path
            else:
                _remove(path)
        return last

    def state(self) -> dict[str, Any]:
        """The Trainer's state in the newest complete checkpoint; empty if there is none."""
        last = self.last()
        return {} if last is None else read_json(last / STATE)

    def move_weights(self, step: int) -> Path:
        """Move the weights of one checkpoint to a file of their own (once); the file."""
        target = self.folder / WEIGHTS
        if not target.exists():
            (self._path(step) / WEIGHTS).replace(target)
        return target

    def clear(self) -> None:
        """Delete every checkpoint, the newest last: it shows a resumed run that the training is over."""
        for path in self._saved().values():
            _remove(path)

    def _path(self, step: int) -> Path:
        return self.folder / f"checkpoint-{step}"

    def _saved(self) -> dict[int, Path]:
        """Checkpoint folders by step, in order."""
        matches = ((_NAME.fullmatch(path.name), path) for path in self.folder.glob("checkpoint-*"))
        return dict(sorted((int(match[1]), path) for match, path in matches if match))

    def _has_files(self, checkpoint: Path, files: Mapping[str, int]) -> bool:
        """Whether all files have their sizes, except weights that `move_weights` took."""
        moved = {WEIGHTS} if (self.folder / WEIGHTS).exists() else set()
        sizes = {path.name: path.stat().st_size for path in checkpoint.iterdir()}
        return all(sizes.get(name) == size for name, size in files.items() if name not in moved)


def _remove(checkpoint: Path) -> None:
    """Remove the mark first: a half-deleted checkpoint must not look complete."""
    (checkpoint / MARK).unlink(missing_ok=True)
    shutil.rmtree(checkpoint, ignore_errors=True)


@dataclass(frozen=True, kw_only=True)
class BestCheckpoint:
    """The checkpoint that a training ends with: the best by validation `score`, or the last one (None)."""

    step: int
    epoch: float
    score: float | None


@dataclass(frozen=True)
class TrainingHistory:
    """The course of a training so far. state: the Trainer's, live or as saved in a checkpoint."""

    state: Mapping[str, Any]
    config: FinetuneConfig

    @property
    def curve(self) -> TrainingCurve:
        names = {name: name for name in ("loss", "learning_rate")}
        for name in ("loss", "uar", "accuracy", "macro_f1"):
            names[f"eval_{name}"] = f"validation_{name}"
        epochs: dict[float, dict[str, float]] = {}
        for entry in self.state["log_history"]:
            # In this order, also where a checkpoint's file has sorted them.
            values = {names[name]: entry[name] for name in names if name in entry}
            epochs.setdefault(round(entry["epoch"], 3), {}).update(values)
        return [{"epoch": epoch, **values} for epoch, values in epochs.items() if "loss" in values]

    @property
    def scores(self) -> list[float]:
        """Validation scores of the epochs so far; empty without a validation partition."""
        name = f"validation_{self.config.metric}"
        return [entry[name] for entry in self.curve if name in entry]

    def best(self) -> BestCheckpoint:
        curve, scores = self.curve, self.scores
        if not scores:
            return BestCheckpoint(step=self.state["global_step"], epoch=curve[-1]["epoch"], score=None)
        best = int(np.argmax(scores))
        return BestCheckpoint(
            step=self.state["best_global_step"], epoch=curve[best]["epoch"], score=scores[best]
        )

    def is_over(self) -> bool:
        """Whether all epochs are done, or the last `patience` of them brought no better score."""
        if self.state["global_step"] >= self.state["max_steps"]:
            return True
        scores, patience = self.scores, self.config.patience
        return bool(patience and scores) and len(scores) - 1 - int(np.argmax(scores)) >= patience


@dataclass(kw_only=True, eq=False)
class CheckpointCallback(TrainerCallback):
    """Saves on time, marks what was saved, and ends the training when it is over or the user stops it."""

    checkpoints: Checkpoints
    config: FinetuneConfig
    stop: GracefulStop
    on_checkpoint: Callable[[], None]
    on_progress: Callable[[TrainingHistory], None]
    group: Group = ALONE
    saved_at: float = field(default_factory=time.monotonic)

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self.on_progress(self._history(state))
        if state.epoch.is_integer():
            return  # an epoch's end is saved once it has been scored
        is_due = self.group.is_first and time.monotonic() - self.saved_at >= CHECKPOINT_SECONDS
        if self.group.any(self.stop.requested or is_due):
            control.should_save = True

    def on_evaluate(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self.on_progress(self._history(state))

    def on_save(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        if self.group.is_first:
            self.checkpoints.mark_complete(state.global_step, best=state.best_global_step or None)
            self.on_checkpoint()
        self.saved_at = time.monotonic()
        if self.group.any(self.stop.requested):
            raise KeyboardInterrupt
        if self._history(state).is_over():
            control.should_training_stop = True

    def _history(self, state: Any) -> TrainingHistory:
        return TrainingHistory(vars(state), self.config)
