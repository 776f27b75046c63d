"""The settings of one `embed` run; their defaults are written here and nowhere else."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from layerprobe.cache.common.errors import InputError

RATE = 16_000  # samples a second every model here hears
DEFAULT_CACHE = Path("features")
DEVICES = ("auto", "cpu", "cuda", "mps")
PRECISIONS = ("auto", "fp32", "bf16", "fp16")
DTYPES = ("float16", "float32")
ON_ERROR = ("skip", "stop")
STATS = ("mean", "std", "max", "min")
SHORTEST_WINDOW = 2.0  # seconds: halves of it still last a second
LONGEST = 1e9  # seconds of sound, in a window or a batch: more than any corpus has


@dataclass(frozen=True, kw_only=True)
class EmbedConfig:
    """What to extract and how.

    model: preset, hub id, local folder, `random:NAME`, `mfcc` or `fbank`. revision: branch, tag or commit.
    layers: as in `embed.models.layers.parse_layers`. stats: kept statistics over frames. frames: keep every
    frame instead. dtype: storage. precision: computation; `auto` is fp32 on a CPU and bf16 on a GPU that has it.
    device: `auto`, or what torch calls one, such as `cuda:1`. window: seconds above which a clip is cut.
    on_error: what a clip that cannot be used does to the run. seed: of `random:` weights.
    batch_seconds: padded sound in one batch; None takes what suits the device.
    """

    model: str
    cache: Path = DEFAULT_CACHE
    revision: str | None = None
    layers: str = "all"
    stats: tuple[str, ...] = ("mean", "std")
    frames: bool = False
    dtype: str = "float16"
    precision: str = "auto"
    device: str = "auto"
    window: float = 30.0
    on_error: str = "skip"
    seed: int = 0
    batch_seconds: float | None = None

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
