"""One training with transformers' Trainer, and prediction with the result."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch
from transformers import TrainingArguments

from layerprobe.cache.common.console import say
from layerprobe.cache.common.disk import MORE_SHARED_MEMORY, SHARED_MEMORY, shared_memory_fault
from layerprobe.cache.common.errors import InputError, WorkerKilledError
from layerprobe.cache.common.interrupts import GracefulStop
from layerprobe.classify.finetune.checkpoints import CheckpointCallback, Checkpoints, TrainingHistory
from layerprobe.classify.finetune.config import FinetuneConfig
from layerprobe.classify.finetune.data import WindowDataset, collate
from layerprobe.classify.finetune.model import SpeechClassifier
from layerprobe.classify.finetune.parallel.group import ALONE, PATIENCE, Group
from layerprobe.classify.finetune.parallel.sharding import ShardedTrainer
from layerprobe.classify.finetune.parallel.trainer import ClassifierTrainer
from layerprobe.embed.models.device import HALF_TYPES, find_device, find_training_precision, is_out_of_memory
from layerprobe.embed.models.presets import ACOUSTIC_PRESETS

GPU_WORKERS = 4  # processes that decode while a GPU trains


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
    group: Group = ALONE

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
        history = TrainingHistory(self.group.from_first(self.checkpoints.state), self.config)
        if history.state and history.is_over():
            return history
        callback = CheckpointCallback(
            checkpoints=self.checkpoints,
            config=self.config,
            stop=stop,
            on_checkpoint=on_checkpoint,
            on_progress=on_progress,
            group=self.group,
        )
        last = self.group.from_first(self._prepare)
        trainer = (ShardedTrainer if self.config.fsdp else ClassifierTrainer)(self, callback)
        with _explain_errors(self.config, where=self.name):
            trainer.train(resume_from_checkpoint=None if last is None else str(last))
        return TrainingHistory(vars(trainer.state), self.config)

    def _prepare(self) -> Path | None:
        """The checkpoint to continue from, once there is space for others. Raises StoreError."""
        last = self.checkpoints.last()
        self.checkpoints.check_space(
            weights=sum(tensor.nbytes for tensor in self.model.state_dict().values()),
            trained=self.model.trained_parameters(),
        )
        return last

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
            log_level_replica="error",
            ddp_timeout=int(PATIENCE.total_seconds()),
        )
        assert arguments.device.type == self.device.type  # transformers chooses the device by itself
        arguments._n_gpu = min(arguments.n_gpu, 1)  # it would use further GPUs through DataParallel
        return arguments


def check_options(model: str, config: FinetuneConfig, group: Group) -> tuple[torch.device, str]:
    """Device and precision. Raises InputError for what training on this machine does not support."""
    if config.trials and group.size > 1:
        what = f"--trials is a search by one process, and these are {group.size} that train together"
        raise InputError(what, do="search first, in one process for each part of --folds-of")
    if config.fsdp and group.size == 1:
        what = "--fsdp divides a model among the processes that train it together, and this is one"
        raise InputError(what, do="start several with torchrun, or omit it")
    if model in ACOUSTIC_PRESETS:
        raise InputError(
            f"--model {model} has no weights to fine-tune", do="use classify, which probes acoustic features"
        )
    if config.report_to != "none" and find_spec(config.report_to) is None:
        raise InputError(
            f"--report-to {config.report_to}: {config.report_to} is not installed", do="install it"
        )
    device = find_device(config.device)
    if device.index:
        raise InputError(
            f"--device {config.device}: training uses the first visible GPU",
            do=f"set CUDA_VISIBLE_DEVICES={device.index} and give --device cuda",
        )
    precision = find_training_precision(config.precision, device)
    if precision == "fp16" and device.type != "cuda":
        raise InputError(f"--precision fp16 does not support training on {device}", do="give bf16 or fp32")
    if precision == "fp16" and config.fsdp:
        raise InputError("--precision fp16 does not support --fsdp", do="give bf16 or fp32")
    if requested_workers(config, device) and (fault := shared_memory_fault()):
        say(f"note: {fault}, so the training process decodes the clips itself; {MORE_SHARED_MEMORY}")
    return device, precision


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
    dtype = HALF_TYPES.get(precision)
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
