"""When the frames of a stored clip are: the centre of each, in seconds."""

from __future__ import annotations

import numpy as np

from layerprobe.cache.identity.extraction import Extraction
from layerprobe.embed.config import RATE
from layerprobe.embed.extract.batching import cut
from layerprobe.embed.models.presets import ACOUSTIC_PRESETS, FunctionalSettings


def frame_times(extraction: Extraction, *, frames: int, seconds: float) -> np.ndarray:
    """(frames,) centres in seconds from the begin of a clip that lasts `seconds`.

    A clip that is longer than the extraction's window was computed in several, whose frames begin anew.
    Windows differ in length by one sample at most, and the longer ones have the frames that are left over.
    """
    windows = cut(0, max(1, round(seconds * RATE)), window=extraction.window)
    counts = np.full(len(windows), frames // len(windows))
    lengths = np.array([window.samples for window in windows])
    longest = np.argsort(-lengths, kind="stable")
    counts[longest[: frames - int(counts.sum())]] += 1
    begins = np.array([window.begin for window in windows]) / RATE
    within = np.arange(frames) - np.repeat(np.cumsum(counts) - counts, counts)
    return np.asarray(np.repeat(begins, counts) + first_centre(extraction) + within / extraction.frame_rate)


def first_centre(extraction: Extraction) -> float:
    """The centre of a window's first frame, in seconds from its begin.

    Frames of convolutions without padding begin with the window. A Whisper encoder's first frame is centred
    on its first sample. Differences of acoustic features reach beyond a frame's own samples on both sides.
    """
    settings = ACOUSTIC_PRESETS.get(extraction.model)
    if settings is not None and not isinstance(settings, FunctionalSettings):
        return settings.window / 2 / RATE
    return 0.0 if extraction.context else extraction.receptive_field / 2
