"""Batches against one clip at a time, for models of every family, through the same extraction.

    python benchmarks/bench_batches.py whisper-tiny.en random:hubert-base random:sew-tiny --clips CLIPS

Prints one JSON line for each model. `batches` and `alone`: seconds of sound per second, from files to shards,
the median of `--repeats` alternating runs; `ratio`: the median of the paired ratios. `peak_mb` is the peak
resident memory of the process so far.
"""

from __future__ import annotations

import sys
import tempfile
from argparse import ArgumentParser, RawDescriptionHelpFormatter
from pathlib import Path
from statistics import median

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.bench_extract import find_clips
from benchmarks.machine import peak_mb, report
from layerprobe.embed.config import EmbedConfig
from layerprobe.embed.extract.run import embed
from layerprobe.embed.manifest.clips import Clip
from layerprobe.embed.models.device import find_device

ALONE = 1e-3  # seconds in a batch: no second clip fits


def main() -> None:
    """Measure each model."""
    parser = ArgumentParser(description=__doc__, formatter_class=RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="+")
    parser.add_argument("--clips", type=Path, required=True, help="table of clips, or folder of audio files")
    parser.add_argument("--limit", type=int, default=200, help="number of clips, spaced evenly over all")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--device", default="auto")
    arguments = parser.parse_args()
    clips = find_clips(arguments.clips, arguments.limit)
    device = find_device(arguments.device)
    for model in arguments.models:
        speed(clips[:3], model, arguments.device, batch_seconds=None)  # warm up
        pairs = [
            tuple(speed(clips, model, arguments.device, batch_seconds=s) for s in (None, ALONE))
            for _ in range(arguments.repeats)
        ]
        values = {
            "model": model,
            "clips": len(clips),
            "batches": median(together for together, _ in pairs),
            "alone": median(alone for _, alone in pairs),
            "ratio": median(together / alone for together, alone in pairs),
            "peak_mb": peak_mb(),
        }
        report("batches", values, device=device)


def speed(clips: list[Clip], model: str, device: str, *, batch_seconds: float | None) -> float:
    """Seconds of sound per second of an extraction into a new store."""
    with tempfile.TemporaryDirectory() as folder:
        config = EmbedConfig(
            model=model, cache=Path(folder), device=device, layers="all", batch_seconds=batch_seconds
        )
        summary = embed(clips, config)
    if summary.failures:
        raise RuntimeError(f"{len(summary.failures)} clips failed")
    return summary.seconds / summary.elapsed


if __name__ == "__main__":
    main()
