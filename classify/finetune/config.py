"""What a fine-tuning trains, how and on what part: every option a field, every default here."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, get_args

from layerprobe.cache.common.errors import InputError
from layerprobe.classify.config import Metric
from layerprobe.embed.config import PRECISIONS, check_window

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
)  # how it is made, not what comes out of it


@dataclass(frozen=True, kw_only=True)
class FinetuneConfig:
    """One fine-tuning, the same for every outer fold.

    target: the column of the table that holds the label.
    split: what the splits are called, as in `StudyConfig`; recorded, so that a reader knows what they leak.
    head: what turns the pooled states (B, D) into logits: `linear` is dropout and one linear layer, `mlp`
        dropout, dense, tanh, dropout, linear.
    epochs: passes over the training clips, at most.
    learning_rate: its peak; it falls linearly to zero over all epochs.
    batch_size, accumulation: clips in one pass, and passes that make one step of the optimizer.
    warmup: share of the steps over which the rate rises to its peak.
    weight_decay: AdamW's.
    dropout: of the head. The model's own dropouts stay as its configuration says.
    freeze: `cnn` keeps the convolutional front end as it is, `none` trains it too.
    weighted_layers: pool a softmax-weighted sum of all layers instead of the last one.
    lora: rank of low-rank adapters that are trained instead of the model; 0 trains the model itself.
    class_weight: `balanced` weighs a clip's loss by the inverse frequency of its class.
    precision: as for `embed`; `auto` is bf16 on a GPU that has it, else fp32.
    gradient_checkpointing: compute blocks twice and hold less memory.
    window: seconds; longer clips are cut, and their windows' logits averaged.
    validation: `speaker` sets a fifth of the training part aside, speaker-disjoint where speakers are named,
        and keeps the epoch that scores best on it; `none` trains on all of it and keeps the last epoch.
    patience: epochs without a better validation score after which training stops; 0 for never.
    metric: the score of the validation part.
    spec_augment: mask spans of frames in training as the model's configuration says.
    trials: of a search over rate, epochs, dropout and head, scored on the validation part; 0 for no search.
    seed: decides the validation part, the head's first weights, the order of clips and `random:` weights.
    report_to: where transformers' Trainer sends its curves too.
    device: `auto`, or what torch calls one. workers: processes that decode ahead; -1 for what suits it.
    keep_models: leave each fold's trained weights in the run folder.
    """

    target: str = "emotion"
    split: str = "speaker"
    head: HeadName = "linear"
    epochs: int = 15
    learning_rate: float = 1e-4
    batch_size: int = 8
    accumulation: int = 1
    warmup: float = 0.1
    weight_decay: float = 0.01
    dropout: float = 0.1
    freeze: Freeze = "cnn"
    weighted_layers: bool = False
    lora: int = 0
    class_weight: ClassWeight = "balanced"
    precision: str = "auto"
    gradient_checkpointing: bool = False
    window: float = 30.0
    validation: Validation = "speaker"
    patience: int = 5
    metric: Metric = "uar"
    spec_augment: bool = True
    trials: int = 0
    seed: int = 0
    report_to: str = "none"
    device: str = "auto"
    workers: int = -1
    keep_models: bool = False

    def __post_init__(self) -> None:
        for option, allowed in (
            ("head", get_args(HeadName)),
            ("freeze", get_args(Freeze)),
            ("class_weight", get_args(ClassWeight)),
            ("precision", PRECISIONS),
            ("validation", get_args(Validation)),
            ("metric", get_args(Metric)),
            ("report_to", REPORTERS),
        ):
            if getattr(self, option) not in allowed:
                told = f"--{option.replace('_', '-')} {getattr(self, option)}"
                raise InputError(told, do=f"choose from {', '.join(allowed)}")
        for option, least in (
            *(("epochs", 1), ("batch_size", 1), ("accumulation", 1), ("weight_decay", 0), ("lora", 0)),
            *(("patience", 0), ("trials", 0), ("seed", 0), ("workers", -1)),
        ):
            if not getattr(self, option) >= least:
                raise InputError(
                    f"--{option.replace('_', '-')} {getattr(self, option):g}", do=f"give {least} or more"
                )
        if self.seed >= 2**32:
            raise InputError(f"--seed {self.seed}", do="give less than 2**32: numpy takes no more")
        if not 0 < self.learning_rate < math.inf:
            raise InputError(f"--learning-rate {self.learning_rate:g}", do="give a positive number")
        for option in ("warmup", "dropout"):
            if not 0 <= getattr(self, option) < 1:
                raise InputError(f"--{option} {getattr(self, option):g}", do="give a share from 0 to below 1")
        check_window(self.window)
        if self.trials and self.validation == "none":
            raise InputError(
                "--trials needs a validation part to be scored on", do="leave --validation none out"
            )
