"""The context of a clip: the clip itself and the silence after it, which a Whisper encoder receives too.

Whisper was trained on clips padded with silence to 30 s. Most of that is computed for nothing: half a second
of silence gives the end of a clip the kind of context that the model knows, at a fraction of the time.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from layerprobe.cache.common.errors import InputError
from layerprobe.embed.config import CLIP_CONTEXT, RATE, EmbedConfig
from layerprobe.embed.models.whisper.settings import HOP

TAIL = 0.5  # seconds of silence after a clip


@dataclass(frozen=True, kw_only=True)
class Context:
    """How much the encoder receives.

    seconds: the length that every clip is padded to; None for the clip and `TAIL` of silence, as far as the
    model's positions allow. limit: samples for which the model has positions.
    """

    seconds: float | None
    limit: int

    @property
    def identity(self) -> str:
        """As recorded with the states: "clip+0.5", or the seconds that are filled, such as "30"."""
        return f"clip+{TAIL:g}" if self.seconds is None else f"{self.seconds:g}"

    def samples(self, clip: int) -> int:
        """Length in samples of a clip of `clip` samples with the silence after it."""
        if self.seconds is not None:
            return math.ceil(self.seconds * RATE / HOP) * HOP
        return max(clip, min(clip + int(TAIL * RATE), self.limit))


def find_context(config: EmbedConfig, *, positions: int) -> Context:
    """The configured context of a model with that many positions.

    Raises InputError if windows of the configured length, or the context, are longer than the positions
    allow, or the context is shorter than the windows.
    """
    limit = positions * HOP
    longest = limit / RATE
    if config.window > longest:
        what = f"--window {config.window:g} is longer than the {longest:g} s that {config.model} processes"
        raise InputError(what, do=f"give --window {longest:g} or less")
    if config.whisper_context == CLIP_CONTEXT:
        return Context(seconds=None, limit=limit)
    seconds = float(config.whisper_context)
    if seconds > longest:
        what = f"--whisper-context {seconds:g} is longer than the {longest:g} s that {config.model} processes"
        raise InputError(what, do=f"give {longest:g} or less")
    if seconds < config.window:
        what = f"--whisper-context {seconds:g} is shorter than the {config.window:g} s of --window"
        raise InputError(what, do=f"add --window {seconds:g}, which cuts longer clips into windows")
    return Context(seconds=seconds, limit=limit)
