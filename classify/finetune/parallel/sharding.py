"""A model that is divided among the processes of a group (FSDP), for one that a single GPU cannot train.

torch's `fully_shard` (FSDP2; Zhao et al. 2023, and stage 3 of ZeRO, Rajbhandari et al. 2020): each process
holds an equal part of every parameter, gradient and optimizer state. The parameters of a block are gathered
before it runs and dropped after it. Loss and steps are those of DDP. Checkpoints have complete tensors
with the names of the undivided model, so whoever tests or saves a model needs no group.
"""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from safetensors.torch import load_file
from torch.distributed.checkpoint.state_dict import (
    StateDictOptions,
    get_model_state_dict,
    get_optimizer_state_dict,
    set_model_state_dict,
    set_optimizer_state_dict,
)
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from transformers import TrainerCallback

from layerprobe.classify.finetune.checkpoints import WEIGHTS
from layerprobe.classify.finetune.model import SpeechClassifier
from layerprobe.classify.finetune.parallel.trainer import ClassifierTrainer

if TYPE_CHECKING:
    from layerprobe.classify.finetune.training import Training

OPTIMIZER, SCHEDULER = "optimizer.pt", "scheduler.pt"  # transformers' names
SAVED = StateDictOptions(full_state_dict=True, cpu_offload=True)  # complete in the first process, else empty
LOADED = StateDictOptions(full_state_dict=True, broadcast_from_rank0=True)


def shard(model: SpeechClassifier, device: torch.device, processes: int) -> None:
    """Divide a model on the CPU in place and move each part to its process's device, block by block."""
    mesh = init_device_mesh(device.type, (processes,))
    for block in model.network.blocks:
        fully_shard(block, mesh=mesh)
    fully_shard(model, mesh=mesh)


class ShardedTrainer(ClassifierTrainer):
    """A trainer that divides the model first. It does not use accelerate's FSDP, which ignores CPUs."""

    def __init__(self, training: Training, callback: TrainerCallback) -> None:
        shard(training.model, training.device, training.group.size)
        super().__init__(training, callback)
        # transformers' name for models that are divided before they reach it: no DDP around them.
        self.is_distributed_loading_by_transformers = True

    def _move_model_to_device(self, model: Any, device: torch.device) -> None:
        """Nothing: every part is on its device."""

    def _defer_fsdp_gradient_reduction(self) -> nullcontext[None]:
        """Reduce gradients after each forward pass of a step: whole ones would have to be held meanwhile."""
        return nullcontext()

    def _save(self, output_dir: str | None = None, state_dict: dict[str, Any] | None = None) -> None:
        super()._save(output_dir, get_model_state_dict(self.model, options=SAVED))

    def _save_optimizer_and_scheduler(self, output_dir: str) -> None:
        states = get_optimizer_state_dict(self.model, self.optimizer.optimizer, options=SAVED)
        if self.args.should_save:
            torch.save(states, Path(output_dir) / OPTIMIZER)
            torch.save(self.lr_scheduler.state_dict(), Path(output_dir) / SCHEDULER)

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: Any = None) -> None:
        is_first = self._training.group.is_first
        weights: dict[str, Any] = load_file(Path(resume_from_checkpoint) / WEIGHTS) if is_first else {}
        set_model_state_dict(self.model, weights, options=LOADED)

    def _load_optimizer_and_scheduler(self, checkpoint: str | None) -> None:
        if checkpoint is None:
            return
        states = _load(Path(checkpoint) / OPTIMIZER) if self._training.group.is_first else {}
        set_optimizer_state_dict(self.model, self.optimizer.optimizer, states, options=LOADED)
        self.lr_scheduler.load_state_dict(_load(Path(checkpoint) / SCHEDULER))


def _load(file: Path) -> dict[str, Any]:
    return dict(torch.load(file, map_location="cpu", weights_only=True))
