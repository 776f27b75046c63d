"""What a fine-tuning trains, how and on which clips: every option and its default."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated, Literal, get_args

from cyclopts import Parameter

from layerprobe.cache.common.errors import InputError
from layerprobe.cache.common.options import INTERNAL, Device, check_choice, check_minimum, flag
from layerprobe.classify.config import ClassMetric
from layerprobe.embed.config import (
    ALL_CHANNELS,
    FIRST_TRACK,
    PRECISIONS,
    Channels,
    Track,
    check_sound,
    check_window,
)

HeadName = Literal["linear", "mlp"]
Freeze = Literal["cnn", "none"]
Validation = Literal["speaker", "none"]
ClassWeight = Literal["balanced", "none"]
REPORTERS = ("none", "tensorboard", "wandb", "mlflow")
RUNTIME_OPTIONS = (
    "keep_models",
    "report_to",
    "device",
    "workers",
)  # options that do not change the results


SOUND = ("channels", "track")
LATER = (*SOUND, "fsdp")  # options that earlier versions did not record, where they are the default


@dataclass(frozen=True, kw_only=True)
class FinetuneConfig:
    """One fine-tuning, the same for every outer fold."""

    target: str = "emotion"
    """Column with the label."""
    split: Annotated[str, INTERNAL] = "speaker"
    """Name of the splits, as in StudyConfig; recorded, so that a reader knows what they leak."""
    head: HeadName = "linear"
    """Classification head on the pooled states: linear is dropout and one linear layer; mlp is
    dropout, dense, tanh, dropout, linear."""
    epochs: int = 15
    """Passes over the training clips, at most."""
    learning_rate: float = 1e-4
    """Peak learning rate; it decays linearly to zero over all epochs."""
    batch_size: int = 8
    """Clips in one forward pass of each process."""
    accumulation: int = 1
    """Forward passes for each optimizer step."""
    warmup: float = 0.1
    """Fraction of steps over which the learning rate rises to its peak."""
    weight_decay: float = 0.01
    """Weight decay of AdamW."""
    dropout: float = 0.1
    """Dropout of the head; the model's own dropouts stay as configured."""
    freeze: Freeze = "cnn"
    """Part to keep frozen: cnn (the convolutional front end) or none."""
    weighted_layers: bool = False
    """Pool a softmax-weighted sum of all layers instead of the last one."""
    lora: int = 0
    """Rank of low-rank adapters (LoRA) trained instead of the model; 0 trains the model itself."""
    class_weight: ClassWeight = "balanced"
    """Weights of the loss: balanced uses the inverse class frequency."""
    precision: str = "auto"
    """Precision of the computation: auto, fp32, bf16 or fp16; auto is bf16 on a GPU that supports it, else
    fp32."""
    gradient_checkpointing: bool = False
    """Recompute activations in the backward pass to save memory."""
    fsdp: bool = False
    """Divide parameters, gradients and optimizer states among the processes that train together (FSDP), for
    a model that one GPU cannot train."""
    window: float = 30.0
    """Length in seconds above which clips are split into windows; the windows' logits are averaged."""
    channels: Channels = ALL_CHANNELS
    track: Track = FIRST_TRACK
    validation: Validation = "speaker"
    """Validation part: speaker sets a fifth of the training part aside, speaker-disjoint where speakers are
    known, and keeps its best epoch; none trains on everything and keeps the last epoch."""
    patience: int = 5
    """Epochs without a better validation score before training stops; 0 for never."""
    metric: ClassMetric = "uar"
    """Score of the validation part."""
    spec_augment: Annotated[bool, Parameter(negative="--no-spec-augment")] = True
    """Mask spans of frames in training as the model's configuration says."""
    trials: int = 0
    """Trials of a search over learning rate, epochs, dropout and head, scored on the validation part; 0 for
    none."""
    seed: int = 0
    """Seed of the validation part, initial weights, order of clips and `random:` models."""
    device: Device = "auto"
    workers: int = -1
    """Processes that decode ahead; -1 chooses for the device."""
    keep_models: bool = False
    """Keep each fold's trained model in the run folder: models/fold-0, …, bundles for `predict`, checkpoints
    for `embed` and, where it has such a model, for transformers' pipeline("audio-classification")."""
    report_to: str = "none"
    """Also log training curves to tensorboard, wandb or mlflow; none."""

    def __post_init__(self) -> None:
        for option, allowed in (
            ("head", get_args(HeadName)),
            ("freeze", get_args(Freeze)),
            ("class_weight", get_args(ClassWeight)),
            ("precision", PRECISIONS),
            ("validation", get_args(Validation)),
            ("metric", get_args(ClassMetric)),
            ("report_to", REPORTERS),
        ):
            check_choice(flag(option), getattr(self, option), allowed)
        check_sound(self.channels, self.track)
        minimums = {"epochs": 1, "batch_size": 1, "accumulation": 1, "weight_decay": 0, "lora": 0}
        check_minimum(self, {**minimums, "patience": 0, "trials": 0, "seed": 0, "workers": -1})
        if self.seed >= 2**32:
            raise InputError(f"--seed {self.seed}", do="give less than 2**32, numpy's limit")
        if not 0 < self.learning_rate < math.inf:
            raise InputError(f"--learning-rate {self.learning_rate:g}", do="give a positive number")
        for option in ("warmup", "dropout"):
            if not 0 <= getattr(self, option) < 1:
                raise InputError(f"--{option} {getattr(self, option):g}", do="give 0 or more, below 1")
        check_window(self.window)
        if self.trials and self.validation == "none":
            raise InputError("--trials requires a validation part", do="omit --validation none")
