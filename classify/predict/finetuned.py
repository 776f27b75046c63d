"""Bundles of fine-tuned models, which `finetune --keep-models` saves.

The logits are treated as the only layer of a backbone, with one frame for each window of a clip: the mean
over the windows of a long clip is then what `finetune` computes for it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from layerprobe.cache.common.errors import InputError
from layerprobe.cache.common.text import first_line
from layerprobe.cache.identity.extraction import Extraction
from layerprobe.classify.finetune.checkpoints import WEIGHTS
from layerprobe.classify.finetune.config import SOUND, FinetuneConfig
from layerprobe.classify.finetune.model import SpeechClassifier
from layerprobe.classify.finetune.saving.bundle import TRANSFORMERS
from layerprobe.classify.finetune.saving.transformers_model import own_tensors
from layerprobe.classify.predict.bundle import Bundle
from layerprobe.classify.runs.bundle_files import RESTORE
from layerprobe.classify.tasks.calibration import probabilities
from layerprobe.embed.checkpoints.source import ModelSource
from layerprobe.embed.config import RATE, EmbedConfig
from layerprobe.embed.extract.in_memory import StateExtractor
from layerprobe.embed.models.device import HALF_TYPES, find_device

if TYPE_CHECKING:
    from layerprobe.embed.models.interface import Visit

LOGITS = "logits"


class _ClassifierBackbone:
    """A fine-tuned model with the interface of `embed.models.backbones.Backbone`: one layer, one frame."""

    def __init__(
        self, model: SpeechClassifier, *, normalise: bool, classes: int, precision: str, device: str
    ):
        self.device = find_device(device)
        self.model = model.to(self.device).eval()
        self.layers: tuple[str, ...] = (LOGITS,)
        self.widths: tuple[int, ...] = (classes,)
        self.normalise, self.precision = normalise, precision
        self.frame_rate, self.receptive_field = 1.0, 0.0

    def frames(self, samples: int) -> int:
        return 1

    def processed(self, samples: int) -> int:
        return samples

    def run(self, waves: torch.Tensor, lengths: torch.Tensor, visit: Visit) -> None:
        """As `Backbone.run`."""
        dtype = HALF_TYPES.get(self.precision)
        autocast = torch.autocast(self.device.type, dtype=dtype, enabled=dtype is not None)
        with torch.inference_mode(), autocast:
            logits = self.model(waves, lengths.to(self.device))["logits"]
        visit(LOGITS, logits[:, None], torch.ones(len(logits), dtype=torch.int64, device=self.device))


class FinetunedBundle(Bundle):
    """A fine-tuned model of one fold."""

    @property
    def settings(self) -> Mapping[str, Any]:
        """`finetune.model.classifier_settings`, and whose names the tensors have."""
        settings: Mapping[str, Any] = self.content.get("model", {})
        return settings

    def load_backbone(self) -> StateExtractor:
        """As `load_classifier`, as an extractor of logits in the precision of the settings."""
        model, config, _ = self.load_classifier()
        backbone = _ClassifierBackbone(
            model,
            normalise=self.settings["normalise"],
            classes=len(self.settings["classes"]),
            precision=self.settings["precision"],
            device=self._device,
        )
        extraction = Extraction(
            model=str(self.folder),
            revision="",
            weights="fine-tuned",
            architecture="",
            normalise=backbone.normalise,
            layers=backbone.layers,
            widths=backbone.widths,
            stats=("mean",),
            dtype="float32",
            precision=backbone.precision,
            window=config.window,
            rate=RATE,
            channels=config.channels,
            track=config.track,
            frame_rate=backbone.frame_rate,
            receptive_field=backbone.receptive_field,
        )
        embed_config = EmbedConfig(
            model=str(self.folder),
            stats=("mean",),
            window=config.window,
            channels=config.channels,
            track=config.track,
            device=self._device,
        )
        return StateExtractor(embed_config, loaded=(backbone, extraction))

    def load_classifier(self) -> tuple[SpeechClassifier, FinetuneConfig, ModelSource]:
        """The model as it was trained, how that was done, and its backbone.

        Raises InputError for weights that do not fit the settings.
        """
        folder, settings = self.folder, self.settings
        names = ("head", "dropout", "weighted_layers", "lora", "window")
        later = {name: settings[name] for name in SOUND if name in settings}
        try:
            config = FinetuneConfig(**{name: settings[name] for name in names}, **later, freeze="none")
            source = ModelSource(
                name=str(folder),
                hub_id=None,
                revision="",
                folder=None,
                config=settings["backbone"],
                normalise=settings["normalise"],
            )
            with torch.random.fork_rng(devices=[]):  # which the initial weights are drawn from
                model = SpeechClassifier(source, config, classes=len(settings["classes"]))
            tensors = load_file(folder / WEIGHTS)
            model.load_state_dict(own_tensors(tensors) if settings.get("names") == TRANSFORMERS else tensors)
        except (KeyError, TypeError, ValueError, RuntimeError, OSError, SafetensorError) as error:
            what = f"its weights cannot be loaded ({first_line(error)})"
            raise InputError(what, where=str(folder), do=RESTORE) from error
        return model, config, source

    def sound(self) -> tuple[str, int]:
        """As `Bundle.sound`."""
        defaults = FinetuneConfig()
        channels, track = (self.settings.get(name, getattr(defaults, name)) for name in SOUND)
        return str(channels), int(track)

    def outputs(self, states: Mapping[str, Any], speakers: np.ndarray | None = None) -> np.ndarray:
        """Logits (m, K) → (m, K): their softmax, which is not calibrated."""
        return probabilities(states[LOGITS], 1.0)
