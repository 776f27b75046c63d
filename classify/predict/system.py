"""A system fitted to all clips of a study: states of its layers → scores and probabilities; its files."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from layerprobe.cache.common.errors import InputError
from layerprobe.classify.features.fitted import FittedInputs
from layerprobe.classify.features.fitted_frames import FittedFrames, load_inputs
from layerprobe.classify.heads.fitted import FittedHead, load_arrays
from layerprobe.classify.heads.registry import KINDS
from layerprobe.classify.runs.bundle_files import RESTORE
from layerprobe.classify.tasks.calibration import probabilities

PREPROCESSING = "preprocessing.safetensors"
HELD_OUT = "held_out.safetensors"  # scores of the clips that the study tested, for prediction sets


@dataclass(frozen=True, kw_only=True)
class System:
    """Preprocessing, head and temperature, as fitted: it reads `inputs.stats` of layers `inputs.names`."""

    inputs: FittedInputs | FittedFrames
    head: FittedHead
    temperature: float

    @property
    def names(self) -> tuple[str, ...]:
        """The layers that it reads."""
        return self.inputs.names

    @property
    def stats(self) -> tuple[str, ...]:
        """The statistics of each layer that it reads, in this order."""
        return self.inputs.stats

    @property
    def by_speaker(self) -> bool:
        """Whether each clip is scaled with the other clips of its speaker."""
        return self.inputs.by_speaker

    def count_scores(self) -> int:
        """Scores of a clip. Raises ValueError where head and inputs do not fit."""
        return int(self.head.scores(self.inputs.blank()).shape[1])

    def probabilities(self, states: Mapping[str, Any], speakers: np.ndarray | None = None) -> np.ndarray:
        """Layer → (m, S*D) float32, or m clips' frames (F, D) → (m, K) calibrated probabilities.

        speakers: (m,), required by a system that scales by speaker.
        """
        return probabilities(self.scores(states, speakers), self.temperature)

    def scores(self, states: Mapping[str, np.ndarray], speakers: np.ndarray | None = None) -> np.ndarray:
        """As `probabilities`, before calibration; (m, 1) predicted numbers of a regression."""
        return self.head.scores(self.inputs.apply(states, speakers))

    def save(self, folder: Path) -> dict[str, Any]:
        """Write the arrays and the head; what is needed besides them, for a JSON file."""
        from safetensors.numpy import save_file

        arrays = {name: np.ascontiguousarray(array) for name, array in self.inputs.arrays().items()}
        save_file(arrays, folder / PREPROCESSING)
        head = {"kind": self.head.kind, "settings": self.head.save(folder)}
        return {"inputs": self.inputs.settings(), "head": head, "temperature": self.temperature}

    @classmethod
    def load(cls, folder: Path, settings: Mapping[str, Any]) -> System:
        """Raises InputError for files that do not belong together."""
        try:
            inputs = load_inputs(settings["inputs"], load_arrays(folder / PREPROCESSING))
            head = KINDS[settings["head"]["kind"]].load(folder, settings["head"]["settings"])
            return cls(inputs=inputs, head=head, temperature=float(settings["temperature"]))
        except (KeyError, TypeError, ValueError, IndexError, AttributeError) as error:
            what = f"its files do not belong together ({error})"
            raise InputError(what, where=str(folder), do=RESTORE) from error
