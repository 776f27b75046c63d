"""How a training goes: its curve, which checkpoint is its result, when it is over, when it is saved."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from transformers import TrainerCallback

from layerprobe.classify.finetune.checkpoints import Checkpoints
from layerprobe.classify.finetune.config import FinetuneConfig
from layerprobe.embed.extract.stopping import Stop

CHECKPOINT_SECONDS = 600.0  # a kill loses no more than this, and no more than an epoch
_SCORES = ("eval_uar", "eval_accuracy", "eval_macro_f1")

Step = Callable[["Curve"], None]


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
class Kept:
    """The checkpoint that is a training's result: the best by validation `score`, or the last one."""

    step: int
    epoch: float
    score: float | None


class Keeper(TrainerCallback):
    """Checkpoints that can be trusted, an end when it is asked for, and when patience is out."""

    def __init__(
        self,
        checkpoints: Checkpoints,
        config: FinetuneConfig,
        *,
        stop: Stop,
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
        if self._stop.asked or time.monotonic() - self._saved >= CHECKPOINT_SECONDS:
            control.should_save = True

    def on_evaluate(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self._tell(state)

    def on_save(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self._checkpoints.mark(state.global_step, best=state.best_global_step or None)
        self._on_saved()
        self._saved = time.monotonic()
        if self._stop.asked:
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


def kept_of(state: Any, config: FinetuneConfig) -> Kept:
    entries = entries_of(state)
    scores = [entry[name] for entry in entries if (name := _score_name(config)) in entry]
    if not scores:
        return Kept(step=state["global_step"], epoch=entries[-1]["epoch"], score=None)
    best = int(np.argmax(scores))
    return Kept(step=state["best_global_step"], epoch=entries[best]["epoch"], score=scores[best])


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
