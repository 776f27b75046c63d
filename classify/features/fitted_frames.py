"""Scaling of frames as fitted to training clips, to be applied to the frames of other clips."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from layerprobe.cache.identity.extraction import FRAME
from layerprobe.classify.config import Scaling
from layerprobe.classify.features.fitted import Arrays, FittedInputs, speakers_needed
from layerprobe.classify.features.frames import Frames, ScaledFrames, join_frames


@dataclass(frozen=True, kw_only=True)
class FittedFrames:
    """The frames of one layer → a head's input; the counterpart of `FittedInputs` for heads on frames.

    mean, factor: (D,) float32. For the scaling `speaker`, which is fitted to the clips that are predicted,
    they are 0 and 1.
    """

    layer: str
    scaling: Scaling
    mean: np.ndarray
    factor: np.ndarray

    @classmethod
    def fit(
        cls, layer: str, frames: Frames, scaling: Scaling, *, train: np.ndarray, speakers: np.ndarray | None
    ) -> tuple[FittedFrames, ScaledFrames]:
        """Fit to the clips `train` of `frames`; also all of these, scaled.

        speakers: of all clips. Raises InputError for `speaker` without speakers.
        """
        scaled = ScaledFrames.fit(frames, train=train, scaling=scaling, speakers=speakers)
        mean, factor = scaled.mean[0], scaled.factor[0]
        if scaling == "speaker":
            mean, factor = np.zeros_like(mean), np.ones_like(factor)
        return cls(layer=layer, scaling=scaling, mean=mean, factor=factor), scaled

    @property
    def names(self) -> tuple[str, ...]:
        return (self.layer,)

    @property
    def stats(self) -> tuple[str, ...]:
        return (FRAME,)

    @property
    def by_speaker(self) -> bool:
        """Whether clips are scaled with the other clips of their speaker."""
        return self.scaling == "speaker"

    def apply(self, states: Mapping[str, Any], speakers: np.ndarray | None = None) -> ScaledFrames:
        """Layer → a sequence of m clips' frames (F, D), each of its own length → as a head receives them.

        Raises InputError for a system that scales by speaker if `speakers` (m,) are not given, and ValueError
        for frames of another width.
        """
        frames = join_frames(states[self.layer])
        if frames.width != len(self.mean):
            raise ValueError(f"frames of width {frames.width}, not {len(self.mean)}")
        clips = np.arange(len(frames.counts))
        if self.by_speaker:
            if speakers is None:
                raise speakers_needed()
            return ScaledFrames.fit(frames, train=clips, scaling=self.scaling, speakers=speakers)
        return ScaledFrames(
            frames=frames,
            mean=self.mean[None],
            factor=self.factor[None],
            group=np.zeros_like(clips),
            unit=self.scaling == "l2",
        )

    def blank(self) -> ScaledFrames:
        """The input of a clip with one frame of zeros."""
        return self.apply({self.layer: [np.zeros((1, len(self.mean)), np.float32)]}, np.zeros(1))

    def arrays(self) -> Arrays:
        """As `FittedInputs.arrays`."""
        return {"0.mean": self.mean, "0.factor": self.factor}

    def settings(self) -> list[dict[str, Any]]:
        """As `FittedInputs.settings`."""
        return [{"layer": self.layer, "stats": FRAME, "scaling": self.scaling}]

    @classmethod
    def load(cls, settings: Sequence[Mapping[str, Any]], arrays: Mapping[str, np.ndarray]) -> FittedFrames:
        """From the results of `settings` and `arrays`. Raises KeyError for an incomplete set."""
        (one,) = settings
        mean, factor = arrays["0.mean"], arrays["0.factor"]
        if mean.ndim != 1 or mean.shape != factor.shape:
            raise ValueError(f"the scaling has the shapes {mean.shape} and {factor.shape}")
        return cls(layer=one["layer"], scaling=one["scaling"], mean=mean, factor=factor)


def load_inputs(
    settings: Sequence[Mapping[str, Any]], arrays: Mapping[str, np.ndarray]
) -> FittedInputs | FittedFrames:
    """What `settings` and `arrays` of either kind describe. Raises KeyError for an incomplete set."""
    if settings[0]["stats"] == FRAME:
        return FittedFrames.load(settings, arrays)
    return FittedInputs.load(settings, arrays)
