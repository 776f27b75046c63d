"""The settings of one `embed` run; their defaults are written here and nowhere else."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

DEFAULT_CACHE = Path("features")
DEVICES = ("auto", "cpu", "cuda", "mps")
PRECISIONS = ("auto", "fp32", "bf16", "fp16")
DTYPES = ("float16", "float32")
ON_ERROR = ("skip", "stop")


@dataclass(frozen=True, kw_only=True)
class EmbedConfig:
    """What to extract and how.

    model: preset, hub id, local folder, `random:NAME`, `mfcc` or `fbank`. revision: branch, tag or commit.
    layers: as in `embed.layers.parse_layers`. stats: kept statistics over frames. frames: keep every frame
    instead. dtype: storage. precision: computation; `auto` is fp32 on a CPU and bf16 on a GPU that has it.
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
