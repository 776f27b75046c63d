"""transformers' Trainer for speech classifiers, in one process or in a group that shares each batch."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import torch
from torch.distributed.tensor import DTensor
from transformers import Trainer, TrainerCallback, set_seed
from transformers.integrations import TensorBoardCallback
from transformers.trainer_callback import PrinterCallback

from layerprobe.cache.common.errors import InputError
from layerprobe.cache.common.text import format_list
from layerprobe.classify.finetune.data import LengthGroupedSampler, collate
from layerprobe.classify.finetune.parallel.shares import FilledSampler, FilledWindows, validation_loss
from layerprobe.classify.tasks.classification import CLASSIFICATION

if TYPE_CHECKING:
    from layerprobe.classify.finetune.training import Training

MAX_NAMED = 8  # clips named in the message about a loss that is not finite


class DivergedError(InputError):
    """A training whose loss or weights are no longer finite."""


def own_part(parameter: torch.Tensor) -> torch.Tensor:
    """What this process holds of a parameter: all of it, unless the model is divided."""
    return parameter.to_local() if isinstance(parameter, DTensor) else parameter


class _EpochCallback(TrainerCallback):
    """Tells a sampler which epoch begins."""

    def __init__(self, sampler: FilledSampler) -> None:
        self._sampler = sampler

    def on_epoch_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self._sampler.set_epoch(int(round(state.epoch, 6)))


class ClassifierTrainer(Trainer):
    """Trainer with batches by length, a weighted loss over all clips of a step, and scores by clip."""

    def __init__(self, training: Training, callback: TrainerCallback) -> None:
        self._training = training
        super().__init__(
            model=training.model,
            args=training.arguments(),
            data_collator=collate,
            train_dataset=training.train if training.group.size == 1 else FilledWindows(training.train),
            eval_dataset=training.validation,
            compute_metrics=self._score,
            callbacks=[callback],
        )
        if not training.group.is_first:  # dropout and masks differ between processes
            set_seed(self.args.seed + training.group.rank)
        self.remove_callback(PrinterCallback)
        for other in self.callback_handler.callbacks:
            # The default folder for logs is among the checkpoints, which are deleted.
            if isinstance(other, TensorBoardCallback) and other.logging_dir is None:
                other.logging_dir = str(training.tensorboard / training.name.replace(" ", "-"))

    def _get_train_sampler(self, train_dataset: Any = None) -> LengthGroupedSampler | FilledSampler:
        batch_size = self.args.train_batch_size * self._training.group.size
        clips_per_step = batch_size * self.args.gradient_accumulation_steps
        lengths = self._training.train.lengths
        order = LengthGroupedSampler(lengths, batch_size=clips_per_step, seed=self.args.seed)
        if self._training.group.size == 1:
            return order
        sampler = FilledSampler(order, multiple=batch_size)
        # accelerate does not pass the epoch on when a training continues within it.
        self.add_callback(_EpochCallback(sampler))
        return sampler

    def evaluation_loop(self, *arguments: Any, **options: Any) -> Any:
        output = super().evaluation_loop(*arguments, **options)
        if self._training.group.size > 1 and self._training.validation is not None:
            # transformers averages over batches, which are those of the processes, the last ones filled up.
            output.metrics["eval_loss"] = validation_loss(output.predictions, self._training.validation)
        return output

    def _save_rng_state(self, output_dir: str) -> None:
        """The states of all processes, written by the first one."""
        group = self._training.group
        if group.size == 1:
            super()._save_rng_state(output_dir)
            return
        with TemporaryDirectory() as own:
            super()._save_rng_state(own)
            (file,) = Path(own).iterdir()
            for name, content in group.gather((file.name, file.read_bytes())):
                if group.is_first:
                    (Path(output_dir) / name).write_bytes(content)

    def compute_loss(
        self, model: Any, inputs: Any, return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> Any:
        """Class-weighted cross-entropy, averaged over all clips of the step. Raises DivergedError."""
        outputs = model(inputs["waves"], inputs["lengths"])
        losses = torch.nn.functional.cross_entropy(outputs["logits"], inputs["labels"], reduction="none")
        count = len(losses) if num_items_in_batch is None else num_items_in_batch
        loss = (losses * inputs["weights"]).sum() / count
        if model.training:
            loss = loss * self._training.group.size  # DDP averages over processes; `count` is of all of them
        if not torch.isfinite(loss):
            raise self._loss_error(inputs["clips"].tolist(), in_training=model.training)
        return (loss, outputs) if return_outputs else loss

    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        trained = (own_part(p) for p in self.model.parameters() if p.requires_grad)
        if self._training.group.any(not all(bool(torch.isfinite(p).all()) for p in trained)):
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
