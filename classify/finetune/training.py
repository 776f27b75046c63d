"""One training with transformers' Trainer, and prediction with the result."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import Trainer, TrainerCallback, TrainingArguments
from transformers.integrations import TensorBoardCallback
from transformers.trainer_callback import PrinterCallback

from layerprobe.cache.common.disk import MORE_SHARED_MEMORY, SHARED_MEMORY, shared_memory_fault
from layerprobe.cache.common.errors import InputError, WorkerKilledError
from layerprobe.cache.common.interrupts import GracefulStop
from layerprobe.cache.common.text import format_list
from layerprobe.classify.finetune.checkpoints import CheckpointCallback, Checkpoints, TrainingHistory
from layerprobe.classify.finetune.config import FinetuneConfig
from layerprobe.classify.finetune.data import LengthGroupedSampler, WindowDataset, collate
from layerprobe.classify.finetune.model import SpeechClassifier
from layerprobe.classify.tasks.classification import CLASSIFICATION
from layerprobe.embed.models.device import is_out_of_memory

GPU_WORKERS = 4  # processes that decode while a GPU trains
MAX_NAMED = 8  # clips named in the message about a loss that is not finite


class DivergedError(InputError):
    """A training whose loss or weights are no longer finite."""


@dataclass(frozen=True, kw_only=True)
class Training:
    """One training. name: for messages and reports. validation: None to train all epochs and take the last.

    tensorboard: folder of its logs, unless `TENSORBOARD_LOGGING_DIR` names one.
    """

    name: str
    model: SpeechClassifier
    train: WindowDataset
    validation: WindowDataset | None
    checkpoints: Checkpoints
    config: FinetuneConfig
    device: torch.device
    precision: str
    tensorboard: Path

    def run(
        self,
        *,
        stop: GracefulStop,
        on_checkpoint: Callable[[], None],
        on_progress: Callable[[TrainingHistory], None],
    ) -> TrainingHistory:
        """Train, from the last checkpoint if there is one.

        Raises KeyboardInterrupt once `stop` is requested, after a last checkpoint; DivergedError where the
        loss is not finite, and InputError where memory or disk space runs out.
        """
        history = TrainingHistory(self.checkpoints.state(), self.config)
        if history.state and history.is_over():
            return history
        callback = CheckpointCallback(
            checkpoints=self.checkpoints,
            config=self.config,
            stop=stop,
            on_checkpoint=on_checkpoint,
            on_progress=on_progress,
        )
        trainer = _Trainer(self, callback)
        last = self.checkpoints.last()
        self.checkpoints.check_space(
            weights=sum(tensor.nbytes for tensor in self.model.state_dict().values()),
            trained=self.model.trained_parameters(),
        )
        with _explain_errors(self.config, where=self.name):
            trainer.train(resume_from_checkpoint=None if last is None else str(last))
        return TrainingHistory(vars(trainer.state), self.config)

    def arguments(self) -> TrainingArguments:
        """The configuration in transformers' terms."""
        config = self.config
        arguments = TrainingArguments(
            output_dir=str(self.checkpoints.folder),
            per_device_train_batch_size=config.batch_size,
            per_device_eval_batch_size=config.batch_size,
            gradient_accumulation_steps=config.accumulation,
            num_train_epochs=config.epochs,
            learning_rate=config.learning_rate,
            lr_scheduler_type="linear",
            warmup_steps=config.warmup,  # below 1, a share of all steps
            weight_decay=config.weight_decay,
            bf16=self.precision == "bf16",
            fp16=self.precision == "fp16",
            eval_strategy="no" if self.validation is None else "epoch",
            save_strategy="epoch",
            logging_strategy="epoch",
            logging_nan_inf_filter=False,  # `compute_loss` raises for a loss that is not finite
            metric_for_best_model=None if self.validation is None else config.metric,
            greater_is_better=True,
            seed=config.seed,
            use_cpu=self.device.type == "cpu",
            dataloader_num_workers=worker_count(config, self.device),
            dataloader_pin_memory=self.device.type == "cuda",
            remove_unused_columns=False,
            label_names=["labels"],
            report_to=[] if config.report_to == "none" else [config.report_to],
            run_name=self.name,
            disable_tqdm=True,
            log_level="error",
        )
        assert arguments.device.type == self.device.type  # transformers chooses the device by itself
        arguments._n_gpu = min(arguments.n_gpu, 1)  # it would use further GPUs through DataParallel
        return arguments


def predict(
    model: SpeechClassifier,
    windows: WindowDataset,
    config: FinetuneConfig,
    *,
    device: torch.device,
    precision: str,
) -> np.ndarray:
    """(N, K) logits of the N clips, averaged over each clip's windows.

    Raises InputError where memory runs out.
    """
    model.to(device).eval()
    loader = torch.utils.data.DataLoader(
        windows,
        batch_size=config.batch_size,
        collate_fn=collate,
        num_workers=worker_count(config, device),
    )
    dtype = {"bf16": torch.bfloat16, "fp16": torch.float16}.get(precision)
    autocast = torch.autocast(device.type, dtype=dtype, enabled=dtype is not None)
    logits = []
    with _explain_errors(config, where="test partition"), torch.inference_mode(), autocast:
        for batch in loader:
            outputs = model(batch["waves"].to(device), batch["lengths"].to(device))
            logits.append(outputs["logits"].float().cpu().numpy())
    return windows.merge(np.concatenate(logits))


def requested_workers(config: FinetuneConfig, device: torch.device) -> int:
    """Processes that decode ahead; by default none when the CPU trains, which has no core to spare."""
    if config.workers >= 0:
        return config.workers
    return 0 if device.type == "cpu" else GPU_WORKERS


def worker_count(config: FinetuneConfig, device: torch.device) -> int:
    """`requested_workers`, or none without shared memory, through which they would hand over batches."""
    workers = requested_workers(config, device)
    return 0 if workers and shared_memory_fault() else workers


@contextmanager
def _explain_errors(config: FinetuneConfig, *, where: str) -> Iterator[None]:
    """Raise InputError for full memory and faulty files, WorkerKilledError for a killed decoding process."""
    try:
        yield
    except InputError as error:
        lines = error.what.splitlines()
        if not lines[0].startswith("Caught "):
            raise
        # torch's text of an error in such a process: its traceback, with `module.Class: message` at the end.
        raise InputError(lines[-1].partition(": ")[2]) from error
    except (RuntimeError, MemoryError) as error:
        if "DataLoader worker" in str(error):
            if "Bus error" in f"{error} {error.__cause__}":
                do = f"{MORE_SHARED_MEMORY}, or --workers 0; the same command resumes"
                raise InputError(f"{SHARED_MEMORY} is full", do=do) from error
            what = "a process that decodes audio was killed (out of memory?); run the same command again"
            kept = "finished folds and the last checkpoint are kept"
            raise WorkerKilledError(f"{what} with fewer --workers: {kept}") from error
        if not is_out_of_memory(error):
            raise
        raise InputError(
            f"memory is full at --batch-size {config.batch_size}",
            where=where,
            do="give a smaller one and more --accumulation, --gradient-checkpointing, or a shorter --window",
        ) from error


class _Trainer(Trainer):
    """Trainer with batches by length, a weighted loss over all clips of a step, and scores by clip."""

    def __init__(self, training: Training, callback: TrainerCallback) -> None:
        self._training = training
        super().__init__(
            model=training.model,
            args=training.arguments(),
            data_collator=collate,
            train_dataset=training.train,
            eval_dataset=training.validation,
            compute_metrics=self._score,
            callbacks=[callback],
        )
        self.remove_callback(PrinterCallback)
        for other in self.callback_handler.callbacks:
            # The default folder for logs is among the checkpoints, which are deleted.
            if isinstance(other, TensorBoardCallback) and other.logging_dir is None:
                other.logging_dir = str(training.tensorboard / training.name.replace(" ", "-"))

    def _get_train_sampler(self, train_dataset: Any = None) -> LengthGroupedSampler:
        clips_per_step = self.args.train_batch_size * self.args.gradient_accumulation_steps
        lengths = self._training.train.lengths
        return LengthGroupedSampler(lengths, batch_size=clips_per_step, seed=self.args.seed)

    def compute_loss(
        self, model: Any, inputs: Any, return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> Any:
        """Class-weighted cross-entropy, averaged over all clips of the step. Raises DivergedError."""
        outputs = model(inputs["waves"], inputs["lengths"])
        losses = torch.nn.functional.cross_entropy(outputs["logits"], inputs["labels"], reduction="none")
        count = len(losses) if num_items_in_batch is None else num_items_in_batch
        loss = (losses * inputs["weights"]).sum() / count
        if not torch.isfinite(loss):
            raise self._loss_error(inputs["clips"].tolist(), in_training=model.training)
        return (loss, outputs) if return_outputs else loss

    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        if not all(bool(torch.isfinite(p).all()) for p in self.model.parameters() if p.requires_grad):
            raise self._diverged(f"weights are not finite after step {self.state.global_step}")
        super()._save_checkpoint(model, trial)

    def _loss_error(self, clips: Sequence[int], *, in_training: bool) -> DivergedError:
        step = self.state.global_step
        windows = self._training.train if in_training else self._training.validation
        assert (
            windows is not None
        )  # for the type checker: without a validation partition nothing is evaluated
        at = f"at step {step + 1}" if in_training else f"on validation clips after step {step}"
        named = format_list(windows.clip_ids(clips), shown=MAX_NAMED)
        return self._diverged(f"loss is not finite {at} (clips {named})")

    def _diverged(self, what: str) -> DivergedError:
        last = self._training.checkpoints.last()
        saved = "no checkpoint was saved" if last is None else f"the last good checkpoint is {last}"
        return DivergedError(
            f"the {what}; {saved}",
            where=self._training.name,
            do="give a lower --learning-rate, more --warmup or --precision fp32, and another --out",
        )

    def _score(self, evaluation: Any) -> dict[str, float]:
        windows, metric = self._training.validation, self._training.config.metric
        assert windows is not None  # for the type checker, as above
        logits = windows.merge(evaluation.predictions)
        predicted, classes = logits.argmax(1), logits.shape[1]
        return {metric: CLASSIFICATION.score(windows.y, predicted, classes=classes, metric=metric)}
