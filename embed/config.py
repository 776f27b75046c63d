"""The settings of an extraction: every option and its default."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from cyclopts import Parameter

from layerprobe.cache.common.errors import InputError
from layerprobe.cache.common.options import (
    BYTES,
    DEFAULT_CACHE,
    CacheFolder,
    Device,
    ModelName,
    Revision,
    check_choice,
)
from layerprobe.cache.identity.extraction import EACH_CHANNEL

ALL_CHANNELS = "mean"
FIRST_TRACK = 1
RATE = 16_000  # sampling rate of every model, in Hz
ALL_GPUS = "cuda:all"
LOCAL = "local"
BACKENDS = (LOCAL, "dask", "ray")
PRECISIONS = ("auto", "fp32", "bf16", "fp16")
DTYPES = ("float16", "float32")
CLIP_CONTEXT = "clip"  # of whisper_context
ON_ERROR = ("skip", "stop")
STATS = ("mean", "std", "max", "min")
SHORTEST_WINDOW = 2.0  # seconds, so that each half is at least a second
LONGEST = 1e9  # seconds in a window or a batch: more than any corpus has


Channels = Annotated[
    str,
    Parameter(
        help="Channels of each file: mean (of all), the number of one, from 0, or each (every channel is a "
        "clip of its own)."
    ),
]
Track = Annotated[int, Parameter(help="Audio track of files that have several, from 1.")]


@dataclass(frozen=True, kw_only=True)
class EmbedConfig:
    """What to extract, and how."""

    model: ModelName
    cache: CacheFolder = DEFAULT_CACHE
    revision: Revision = None
    layers: str = "all"
    """all, or names and ranges such as 0-6,9,final,cnn."""
    stats: tuple[str, ...] = ("mean", "std")
    """Statistics over frames to store: mean, std, max, min."""
    frames: bool = False
    """Store every frame instead of statistics."""
    dtype: str = "float16"
    """Storage type: float16 or float32."""
    precision: str = "auto"
    """Precision of the computation: auto, fp32, bf16 or fp16; auto is fp16 on a GPU, else fp32. Clips whose
    states overflow in a half precision are computed again in fp32."""
    device: Device = "auto"
    window: float = 30.0
    """Length in seconds above which clips are split into windows."""
    batch_seconds: float | None = None
    """Seconds of padded audio in a batch; chosen for the device if omitted."""
    on_error: str = "skip"
    """A clip that cannot be used: skip (list it and continue) or stop."""
    seed: int = 0
    """Seed of `random:` models."""
    channels: Channels = ALL_CHANNELS
    track: Track = FIRST_TRACK
    scratch: Annotated[int, BYTES] = 16 << 30
    """Disk space, in the cache folder, for decoded samples of compressed files with segments; freed at the
    end."""
    whisper_context: str = CLIP_CONTEXT
    """What a Whisper encoder receives: clip (the clip and half a second of silence), or a number of seconds
    to which every clip is padded with silence; 30 is how the model was trained."""

    def __post_init__(self) -> None:
        check_choice("--dtype", self.dtype, DTYPES)
        check_sound(self.channels, self.track)
        check_choice("--precision", self.precision, PRECISIONS)
        check_choice("--on-error", self.on_error, ON_ERROR)
        check_window(self.window)
        check_context(self.whisper_context)
        stats = ",".join(self.stats)
        if self.frames and self.stats != EmbedConfig.stats:
            raise InputError(f"--frames keeps every frame, --stats {stats} would not", do="omit one of them")
        if not self.stats or len(set(self.stats)) != len(self.stats) or set(self.stats) - set(STATS):
            raise InputError(f"--stats {stats}", do=f"choose from {','.join(STATS)}, each at most once")
        if not 0 <= self.seed < 2**63:
            raise InputError(f"--seed {self.seed}", do="give 0 or more, below 2^63")
        if self.batch_seconds is not None and not 0 < self.batch_seconds <= LONGEST:
            do = f"give a positive number, up to {LONGEST:g}"
            raise InputError(f"--batch-seconds {self.batch_seconds:g}", do=do)


def check_sound(channels: str, track: int) -> None:
    """Raise InputError for channels or a track that no file has."""
    named = (ALL_CHANNELS, EACH_CHANNEL)
    if channels not in named and not (channels.isdecimal() and channels.isascii()):
        do = "give mean, each, or the number of a channel: 0 for the first"
        raise InputError(f"--channels {channels}", do=do)
    if track < 1:
        raise InputError(f"--track {track}", do="give 1 for the first audio track")


def check_context(context: str) -> None:
    """Raise InputError unless a Whisper context is `clip` or a number of seconds of at least a window's."""
    if context == CLIP_CONTEXT:
        return
    try:
        valid = SHORTEST_WINDOW <= float(context) <= LONGEST
    except ValueError:
        valid = False
    if not valid:
        raise InputError(
            f"--whisper-context {context}", do=f"give {CLIP_CONTEXT} or a number of seconds, such as 30"
        )


def check_window(window: float) -> None:
    """Raise InputError for an infinite window, or one whose halves could be shorter than a second."""
    if not SHORTEST_WINDOW <= window <= LONGEST:
        raise InputError(f"--window {window:g}", do=f"give {SHORTEST_WINDOW:g} to {LONGEST:g} seconds")
