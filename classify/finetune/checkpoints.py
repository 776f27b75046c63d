"""Checkpoints of one training: which is whole, which is this run's, which are still needed."""

from __future__ import annotations

import json
import re
import shutil
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from transformers import TrainerCallback

from layerprobe.cache.common.disk import free_bytes, fsync_file, fsync_folder, write_atomically
from layerprobe.cache.common.errors import InputError
from layerprobe.cache.common.interrupts import GracefulStop
from layerprobe.cache.common.text import format_bytes
from layerprobe.classify.finetune.config import FinetuneConfig

CHECKPOINT_SECONDS = 600.0  # a kill loses no more than this, and no more than an epoch
_SCORES = ("eval_uar", "eval_accuracy", "eval_macro_f1")
Step = Callable[["Curve"], None]

MARK = "whole.json"  # written last: a checkpoint without it was cut short by a kill
WEIGHTS = "model.safetensors"
STATE = "trainer_state.json"
_NAME = re.compile(r"checkpoint-(\d+)")


@dataclass(frozen=True)
class Checkpoints:
    """The folder of one training. run: the run's fingerprint."""

    folder: Path
    run: str

    def check_space(self, *, weights: int, trained: int) -> None:
        """Raise InputError where the disk cannot hold the checkpoints of a training.

        weights: bytes of the model's. trained: how many of its numbers AdamW keeps two moments of. Two
        checkpoints stand side by side for a moment, and the best one.
        """
        needed, free = 3 * (weights + 8 * trained), free_bytes(self.folder)
        if needed > free:
            raise InputError(
                f"checkpoints need {format_bytes(needed)}, but {format_bytes(free)} are free",
                where=str(self.folder),
                do="free some space, or choose another --out",
            )

    def mark(self, step: int, *, best: int | None) -> None:
        """Declare the checkpoint of `step` whole once it is on disk; others go, except that of `best`."""
        here = self._at(step)
        files = [path for path in here.iterdir() if path.name != MARK]
        for path in files:
            fsync_file(path)
        sizes = {path.name: path.stat().st_size for path in files}
        write_atomically(here / MARK, json.dumps({"run": self.run, "step": step, "files": sizes}))
        fsync_folder(self.folder)
        for other, path in self._there().items():
            if other not in (step, best):
                _remove(path)

    def last(self) -> Path | None:
        """The newest whole checkpoint; those cut short, or no longer as they were saved, are removed.

        Raises InputError for a checkpoint that another run left here.
        """
        whole = []
        for step, path in sorted(self._there().items()):
            if not (path / MARK).is_file():
                _remove(path)
                continue
            told = self._told(path)
            if told.get("run") != self.run:
                raise InputError(
                    "is a checkpoint of another run", where=str(path), do="delete it, or choose another --out"
                )
            if not self._has(path, told.get("files", {})):
                _remove(path)
                continue
            whole.append((step, path))
        return whole[-1][1] if whole else None

    def state(self) -> dict[str, Any]:
        """The newest whole checkpoint's state of the training; empty where there is none."""
        last = self.last()
        return {} if last is None else dict(json.loads((last / STATE).read_text(encoding="utf-8")))

    def keep_weights(self, step: int) -> Path:
        """The weights of one checkpoint as a file of their own, which is returned."""
        kept = self.folder / WEIGHTS
        if not kept.exists():
            (self._at(step) / WEIGHTS).replace(kept)
        return kept

    def clear(self) -> None:
        """Remove every checkpoint, the newest last: while it is there, the training is known to be over."""
        for _, path in sorted(self._there().items()):
            _remove(path)

    def _at(self, step: int) -> Path:
        return self.folder / f"checkpoint-{step}"

    def _there(self) -> dict[int, Path]:
        found = ((_NAME.fullmatch(path.name), path) for path in self.folder.glob("checkpoint-*"))
        return {int(name[1]): path for name, path in found if name}

    def _has(self, checkpoint: Path, files: Mapping[str, int]) -> bool:
        """Whether a checkpoint's files have their sizes; its weights may have been taken out to be kept."""
        taken = {WEIGHTS} if (self.folder / WEIGHTS).exists() else set()
        found = {path.name: path.stat().st_size for path in checkpoint.iterdir()}
        return all(found.get(name) == size for name, size in files.items() if name not in taken)

    def _told(self, path: Path) -> dict[str, Any]:
        try:
            return dict(json.loads((path / MARK).read_text(encoding="utf-8")))
        except (OSError, ValueError) as error:
            raise InputError(f"cannot be read ({error})", where=str(path / MARK), do="delete it") from error


def _remove(path: Path) -> None:
    """What a kill leaves half removed must not pass for whole."""
    (path / MARK).unlink(missing_ok=True)
    shutil.rmtree(path, ignore_errors=True)


@dataclass(frozen=True, kw_only=True)
class Curve:
    """How a training goes. epoch: passes done, of `epochs`. entries: one for each epoch so far, in which the
    validation score is called `score`."""

    step: int
    steps: int
    epoch: float
    epochs: int
    entries: tuple[dict[str, float], ...]
    score: str


@dataclass(frozen=True, kw_only=True)
class BestCheckpoint:
    """The checkpoint that is a training's result: the best by validation `score`, or the last one."""

    step: int
    epoch: float
    score: float | None


class CheckpointCallback(TrainerCallback):
    """Checkpoints that can be trusted, an end when it is asked for, and when patience is out."""

    def __init__(
        self,
        checkpoints: Checkpoints,
        config: FinetuneConfig,
        *,
        stop: GracefulStop,
        saved: Callable[[], None],
        on_step: Step,
    ) -> None:
        self._checkpoints, self._config, self._stop = checkpoints, config, stop
        self._on_saved, self._on_step = saved, on_step
        self._saved = time.monotonic()

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self._tell(state)
        if state.epoch.is_integer():
            return  # the end of an epoch is saved once it has been scored
        if self._stop.requested or time.monotonic() - self._saved >= CHECKPOINT_SECONDS:
            control.should_save = True

    def on_evaluate(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self._tell(state)

    def on_save(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self._checkpoints.mark(state.global_step, best=state.best_global_step or None)
        self._on_saved()
        self._saved = time.monotonic()
        if self._stop.requested:
            raise KeyboardInterrupt
        if is_over(vars(state), self._config):
            control.should_training_stop = True

    def _tell(self, state: Any) -> None:
        entries = tuple(entries_of(vars(state)))
        self._on_step(
            Curve(
                step=state.global_step,
                steps=state.max_steps,
                epoch=state.epoch or 0.0,
                epochs=self._config.epochs,
                entries=entries,
                score=_score_name(self._config),
            )
        )


def entries_of(state: Any) -> list[dict[str, float]]:
    """The curve, one entry an epoch: epoch, loss, and of the validation part loss and score."""
    epochs: dict[float, dict[str, float]] = {}
    for told in state["log_history"]:
        entry = epochs.setdefault(round(told["epoch"], 3), {})
        for name, value in told.items():
            if name in ("loss", "learning_rate", "eval_loss") or name in _SCORES:
                entry[name.replace("eval_", "validation_")] = value
    return [{"epoch": epoch, **entry} for epoch, entry in epochs.items() if "loss" in entry]


def best_checkpoint(state: Any, config: FinetuneConfig) -> BestCheckpoint:
    entries = entries_of(state)
    scores = [entry[name] for entry in entries if (name := _score_name(config)) in entry]
    if not scores:
        return BestCheckpoint(step=state["global_step"], epoch=entries[-1]["epoch"], score=None)
    best = int(np.argmax(scores))
    return BestCheckpoint(step=state["best_global_step"], epoch=entries[best]["epoch"], score=scores[best])


def _score_name(config: FinetuneConfig) -> str:
    return f"validation_{config.metric}"


def is_over(state: Any, config: FinetuneConfig) -> bool:
    """Whether all epochs are done, or `patience` of them went by without a better score."""
    if state["global_step"] >= state["max_steps"]:
        return True
    scores = [entry[name] for entry in entries_of(state) if (name := _score_name(config)) in entry]
    if not config.patience or not scores:
        return False
    return len(scores) - 1 - int(np.argmax(scores)) >= config.patience
