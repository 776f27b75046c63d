"""Does extraction scale linearly? Clips per second and peak memory for tables of increasing size.

    python benchmarks/bench_scale.py --clips FILE_OR_FOLDER --model mfcc --sizes 1000,10000,100000

Repeats the clips under new names, with samples changed so that no two are identical, and embeds each size
in a separate process. Prints one JSON line per size: `clips_per_s` from start to end, `run_clips_per_s`
from the first batch on and its `ratio` to that of the first size, `prepare_s` (loading the model, hashing
files, reading headers), `peak_mb`. Needs about 50 kB of disk per clip.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from argparse import SUPPRESS, ArgumentParser, RawDescriptionHelpFormatter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import numpy as np
import soundfile
import torch

from benchmarks.bench_extract import find_clips
from benchmarks.machine import peak_mb, report
from layerprobe.embed.config import EmbedConfig
from layerprobe.embed.extract.run import embed
from layerprobe.embed.manifest.clips import Clip


def main() -> None:
    """Measure each size in a separate process."""
    parser = ArgumentParser(description=__doc__, formatter_class=RawDescriptionHelpFormatter)
    parser.add_argument("--clips", type=Path, required=True, help="table of clips, or folder of audio files")
    parser.add_argument("--model", default="mfcc")
    parser.add_argument("--sizes", default="1000,10000,100000")
    parser.add_argument(
        "--work", type=Path, default=None, help="folder for the copies; default: a temporary one"
    )
    parser.add_argument("--one", type=Path, default=None, help=SUPPRESS)
    arguments = parser.parse_args()
    if arguments.one is not None:
        print(json.dumps(measure(arguments.one, arguments.model)))
        return
    sizes = sorted(int(size) for size in arguments.sizes.split(","))
    first = 0.0
    with tempfile.TemporaryDirectory(dir=arguments.work) as folder:
        for size in sizes:
            make_copies(find_clips(arguments.clips, 10**9), Path(folder), size)
            os.sync()  # so that writing the copies does not slow down the run
            command = [sys.executable, *sys.argv, "--one", folder]
            process = subprocess.run(command, check=True, capture_output=True, text=True)
            figures = json.loads(process.stdout)
            first = first or figures["run_clips_per_s"]
            values = {"model": arguments.model, **figures, "ratio": figures["run_clips_per_s"] / first}
            report("scale", values, device=torch.device("cpu"))


def make_copies(clips: list[Clip], folder: Path, size: int) -> None:
    """Fill `folder` up to `size` WAV files, each different from all others; existing ones stay."""
    sources = [soundfile.read(clip.path, dtype="int16", always_2d=True) for clip in clips[:size]]
    for number in range(size):
        path = folder / f"{number % 100:02}" / f"{number:06}.wav"
        if path.exists():
            continue
        path.parent.mkdir(exist_ok=True)
        wave, rate = sources[number % len(sources)]
        changed = wave.copy()
        changed[len(wave) // 2, 0] = np.int16(number % 30_000)
        changed[len(wave) // 3, 0] = np.int16(number // 30_000 + 1)
        soundfile.write(path, changed, rate, subtype="PCM_16")


def measure(folder: Path, model: str) -> dict[str, float]:
    """Embed every file of the folder in one run."""
    clips = [Clip(id=str(path), file=str(path)) for path in sorted(folder.glob("*/*.wav"))]
    with tempfile.TemporaryDirectory() as cache:
        started = time.perf_counter()
        summary = embed(clips, EmbedConfig(model=model, cache=Path(cache), device="cpu"))
        total = time.perf_counter() - started
    if summary.embedded != len(clips):
        raise RuntimeError(f"{summary.embedded} of {len(clips)} clips embedded")
    return {
        "clips": len(clips),
        "clips_per_s": len(clips) / total,
        "prepare_s": total - summary.elapsed,
        "run_clips_per_s": len(clips) / summary.elapsed,
        "peak_mb": peak_mb(),
    }


if __name__ == "__main__":
    main()
