"""One training with transformers' Trainer: a fold's clips in, the weights of its best epoch out."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import Trainer, TrainerCallback, TrainingArguments
from transformers.trainer_callback import PrinterCallback

from layerprobe.cache.common.errors import InputError
from layerprobe.cache.common.interrupts import GracefulStop
from layerprobe.classify.finetune.checkpoints import (
    BestCheckpoint,
    CheckpointCallback,
    Checkpoints,
    Step,
    best_checkpoint,
    entries_of,
    is_over,
)
from layerprobe.classify.finetune.config import FinetuneConfig
from layerprobe.classify.finetune.data import ByLength, Windows, collate
from layerprobe.classify.finetune.model import SpeechClassifier
from layerprobe.classify.finetune.search import DivergedError
from layerprobe.classify.scores.metrics import score
from layerprobe.embed.models.device import is_out_of_memory

BOARD = "TENSORBOARD_LOGGING_DIR"
SHOWN = 8  # clips named with a loss that is not finite


def train(
    model: SpeechClassifier,
    training: Windows,
    validation: Windows | None,
    checkpoints: Checkpoints,
    config: FinetuneConfig,
    *,
    device: torch.device,
    precision: str,
    stop: GracefulStop,
    board: Path,
    saved: Callable[[], None],
    on_step: Step,
    name: str,
) -> tuple[BestCheckpoint, list[dict[str, float]]]:
    """Train from the last checkpoint on; which one is to be kept, and the curve, an entry for each epoch.

    board: folder for TensorBoard, unless its own variable names one. saved: called after each checkpoint.
    name: of this training, for messages and reports.

    Raises KeyboardInterrupt once `stop` asks for an end, after a last checkpoint; InputError where the loss
    is not finite or memory runs out.
    """
    before = checkpoints.state()
    if before and is_over(before, config):
        return best_checkpoint(before, config), entries_of(before)
    keeper = CheckpointCallback(checkpoints, config, stop=stop, saved=saved, on_step=on_step)
    with _boarding(board / name.replace(" ", "-")):
        trainer = _Trainer(
            model,
            _arguments(checkpoints, config, device=device, precision=precision, name=name, judged=validation),
            training=training,
            validation=validation,
            metric=config.metric,
            name=name,
            callback=keeper,
            checkpoints=checkpoints,
        )
    last = checkpoints.last()
    checkpoints.check_space(
        weights=sum(tensor.nbytes for tensor in model.state_dict().values()),
        trained=model.trained_parameters(),
    )
    with _memory_told(config, where=name):
        trainer.train(resume_from_checkpoint=None if last is None else str(last))
    state = vars(trainer.state)
    return best_checkpoint(state, config), entries_of(state)


def predict(
    model: SpeechClassifier, windows: Windows, config: FinetuneConfig, *, device: torch.device, precision: str
) -> np.ndarray:
    """(N, K) logits of the clips of `windows`, the mean over each clip's windows.

    Raises InputError where memory runs out.
    """
    model.to(device).eval()
    kind = {"bf16": torch.bfloat16, "fp16": torch.float16}.get(precision)
    logits = []
    cast = torch.autocast(device.type, dtype=kind, enabled=kind is not None)
    with _memory_told(config, where="test part"), torch.inference_mode(), cast:
        for batch in _loader(windows, config, device=device):
            given = model(batch["waves"].to(device), batch["lengths"].to(device))
            logits.append(given["logits"].float().cpu().numpy())
    return windows.merge(np.concatenate(logits))


@contextmanager
def _boarding(folder: Path) -> Iterator[None]:
    """TensorBoard's own place is among the checkpoints, which are removed."""
    if BOARD in os.environ:
        yield
        return
    os.environ[BOARD] = str(folder)
    try:
        yield
    finally:
        del os.environ[BOARD]


@contextmanager
def _memory_told(config: FinetuneConfig, *, where: str) -> Iterator[None]:
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        raise InputError(
            f"memory is full at --batch-size {config.batch_size}",
            where=where,
            do="give a smaller one and more --accumulation, --gradient-checkpointing, or a shorter --window",
        ) from error


def worker_count(config: FinetuneConfig, device: torch.device) -> int:
    """Processes that decode ahead; a CPU that trains has no core to spare for them."""
    if config.workers >= 0:
        return config.workers
    return 0 if device.type == "cpu" else 4


def _loader(windows: Windows, config: FinetuneConfig, *, device: torch.device) -> Any:
    return torch.utils.data.DataLoader(
        windows,
        batch_size=config.batch_size,
        collate_fn=collate,
        num_workers=worker_count(config, device),
    )


def _arguments(
    checkpoints: Checkpoints,
    config: FinetuneConfig,
    *,
    device: torch.device,
    precision: str,
    name: str,
    judged: Windows | None,
) -> TrainingArguments:
    arguments = TrainingArguments(
        output_dir=str(checkpoints.folder),
        per_device_train_batch_size=config.batch_size,
        per_device_eval_batch_size=config.batch_size,
        gradient_accumulation_steps=config.accumulation,
        num_train_epochs=config.epochs,
        learning_rate=config.learning_rate,
        lr_scheduler_type="linear",
        warmup_steps=config.warmup,  # below 1, a share of all steps
        weight_decay=config.weight_decay,
        bf16=precision == "bf16",
        fp16=precision == "fp16",
        eval_strategy="no" if judged is None else "epoch",
        save_strategy="epoch",
        logging_strategy="epoch",
        logging_nan_inf_filter=False,  # such a loss ends the training here
        metric_for_best_model=None if judged is None else config.metric,
        greater_is_better=True,
        seed=config.seed,
        use_cpu=device.type == "cpu",
        dataloader_num_workers=worker_count(config, device),
        dataloader_pin_memory=device.type == "cuda",
        remove_unused_columns=False,
        label_names=["labels"],
        report_to=[] if config.report_to == "none" else [config.report_to],
        run_name=name,
        disable_tqdm=True,
        log_level="error",
    )
    assert arguments.device.type == device.type  # transformers chooses by itself; told use_cpu it must agree
    arguments._n_gpu = min(arguments.n_gpu, 1)  # further GPUs would be used through DataParallel
    return arguments


class _Trainer(Trainer):
    """Batches by length, weighted loss over all clips of a step, scores by clip."""

    def __init__(
        self,
        model: SpeechClassifier,
        arguments: TrainingArguments,
        *,
        training: Windows,
        validation: Windows | None,
        metric: Any,
        name: str,
        callback: TrainerCallback,
        checkpoints: Checkpoints,
    ) -> None:
        self._training, self._validation, self._metric, self._name = training, validation, metric, name
        self._checkpoints = checkpoints
        super().__init__(
            model=model,
            args=arguments,
            data_collator=collate,
            train_dataset=training,
            eval_dataset=validation,
            compute_metrics=self._scores,
            callbacks=[callback],
        )
        self.remove_callback(PrinterCallback)

    def _get_train_sampler(self, train_dataset: Any = None) -> ByLength:
        together = self.args.train_batch_size * self.args.gradient_accumulation_steps
        return ByLength(self._training.lengths, batch_size=together, seed=self.args.seed)

    def compute_loss(
        self,
        model: Any,
        inputs: dict[str, torch.Tensor],
        return_outputs: bool = False,
        num_items_in_batch: Any = None,
    ) -> Any:
        """Cross-entropy weighted by class, over the clips of the whole step; it must be finite."""
        outputs = model(inputs["waves"], inputs["lengths"])
        each = torch.nn.functional.cross_entropy(outputs["logits"], inputs["labels"], reduction="none")
        count = len(each) if num_items_in_batch is None else num_items_in_batch
        loss = (each * inputs["weights"]).sum() / count
        if not torch.isfinite(loss):
            self._stop_at(inputs["clips"].tolist(), in_training=model.training)
        return (loss, outputs) if return_outputs else loss

    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        if not all(bool(torch.isfinite(p).all()) for p in self.model.parameters() if p.requires_grad):
            raise self._diverged(f"weights are not finite after step {self.state.global_step}")
        super()._save_checkpoint(model, trial)

    def _stop_at(self, clips: Sequence[int], *, in_training: bool) -> None:
        data = self._training if in_training else self._validation
        assert data is not None  # for the type checker: without a validation part nothing is evaluated
        ids = data.names(clips)
        named = ", ".join(ids[:SHOWN]) + (f" and {len(ids) - SHOWN} more" if len(ids) > SHOWN else "")
        step = self.state.global_step
        at = f"at step {step + 1}" if in_training else f"on validation clips after step {step}"
        raise self._diverged(f"loss is not finite {at} (clips {named})")

    def _diverged(self, what: str) -> DivergedError:
        last = self._checkpoints.last()
        kept = "no checkpoint was made before" if last is None else f"the last good checkpoint is {last}"
        return DivergedError(
            f"the {what}; {kept}",
            where=self._name,
            do="give a lower --learning-rate, more --warmup or --precision fp32, and another --out",
        )

    def _scores(self, told: Any) -> dict[str, float]:
        assert self._validation is not None  # for the type checker, as above
        logits = self._validation.merge(told.predictions)
        predicted = logits.argmax(1)
        classes = logits.shape[1]
        return {self._metric: score(self._validation.y, predicted, classes=classes, metric=self._metric)}
