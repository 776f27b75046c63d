"""The settings of an extraction: every option and its default."""

from __future__ import annotations

from dataclasses import dataclass

from layerprobe.cache.common.errors import InputError
from layerprobe.cache.common.options import DEFAULT_CACHE, CacheFolder, Device, ModelName, Revision

RATE = 16_000  # samples a second every model here hears
DEVICES = ("auto", "cpu", "cuda", "mps")
PRECISIONS = ("auto", "fp32", "bf16", "fp16")
DTYPES = ("float16", "float32")
ON_ERROR = ("skip", "stop")
STATS = ("mean", "std", "max", "min")
SHORTEST_WINDOW = 2.0  # seconds: halves of it still last a second
LONGEST = 1e9  # seconds of sound, in a window or a batch: more than any corpus has


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
    """Precision of the computation: auto, fp32, bf16 or fp16; auto is bf16 on a GPU that supports it, else fp32."""
    device: Device = "auto"
    window: float = 30.0
    """Seconds above which a clip is cut into windows."""
    batch_seconds: float | None = None
    """Seconds of padded sound in a batch; suits the device if omitted."""
    on_error: str = "skip"
    """A clip that cannot be used: skip (list it and continue) or stop."""
    seed: int = 0
    """Seed of random: weights."""

    def __post_init__(self) -> None:
        _one_of("--dtype", self.dtype, DTYPES)
        _one_of("--precision", self.precision, PRECISIONS)
        _one_of("--on-error", self.on_error, ON_ERROR)
        check_window(self.window)
        wrong = not self.stats or len(set(self.stats)) != len(self.stats) or set(self.stats) - set(STATS)
        told = ",".join(self.stats)
        if self.frames and self.stats != EmbedConfig.stats:
            raise InputError(f"--frames keeps every frame, --stats {told} asks for less", do="leave one out")
        if wrong:
            raise InputError(f"--stats {told}", do=f"choose from {','.join(STATS)}, each at most once")
        if not 0 <= self.seed < 2**63:
            raise InputError(f"--seed {self.seed}", do="give 0 or more, below 2^63")
        if self.batch_seconds is not None and not 0 < self.batch_seconds <= LONGEST:
            do = f"give a positive number, up to {LONGEST:g}"
            raise InputError(f"--batch-seconds {self.batch_seconds:g}", do=do)


def check_window(window: float) -> None:
    """Raises InputError for a window without end, or whose halves could be shorter than a second."""
    if not SHORTEST_WINDOW <= window <= LONGEST:
        raise InputError(f"--window {window:g}", do=f"give {SHORTEST_WINDOW:g} to {LONGEST:g} seconds")


def _one_of(option: str, value: str, allowed: tuple[str, ...]) -> None:
    if value not in allowed:
        raise InputError(f"{option} {value}", do=f"choose from {', '.join(allowed)}")
