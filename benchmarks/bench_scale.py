"""Does extraction stay linear? Clips a second and resident memory for ever longer tables.

    python benchmarks/bench_scale.py --clips FILE_OR_FOLDER --model mfcc --sizes 1000,10000,100000

Repeats the given clips under fresh names, one sample of each changed so that none is a copy of another, and
embeds each size in a process of its own. Prints one JSON line a size: `clips_per_s` from start to end,
`run_clips_per_s` from the first batch on and its `ratio` to the first size's, `prepare_s` (loading the model,
hashing files, reading headers), `peak_mb`. Needs about 50 kB of disk a clip.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
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
    """Measure every size."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--clips", type=Path, required=True, help="table of clips, or a folder of sound")
    parser.add_argument("--model", default="mfcc")
    parser.add_argument("--sizes", default="1000,10000,100000")
    parser.add_argument("--work", type=Path, default=None, help="folder for the copies; a temporary one")
    parser.add_argument("--one", type=Path, default=None, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.one is not None:
        print(json.dumps(measure(arguments.one, arguments.model)))
        return
    sizes = sorted(int(size) for size in arguments.sizes.split(","))
    first = 0.0
    with tempfile.TemporaryDirectory(dir=arguments.work) as folder:
        for size in sizes:
            make_copies(find_clips(arguments.clips, 10**9), Path(folder), size)
            os.sync()  # the disk is then not busy with these while shards are synced
            done = subprocess.run(
                [sys.executable, *sys.argv, "--one", folder], check=True, capture_output=True, text=True
            )
            found = json.loads(done.stdout)
            first = first or found["run_clips_per_s"]
            values = {"model": arguments.model, **found, "ratio": found["run_clips_per_s"] / first}
            report("scale", values, device=torch.device("cpu"))


def make_copies(clips: list[Clip], folder: Path, size: int) -> None:
    """`size` WAV files in `folder`, those of an earlier call included; each differs from all others."""
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
    """One run over every file of the folder."""
    clips = [Clip(id=str(path), file=str(path)) for path in sorted(folder.glob("*/*.wav"))]
    with tempfile.TemporaryDirectory() as cache:
        started = time.perf_counter()
        summary = embed(clips, EmbedConfig(model=model, cache=Path(cache), device="cpu"))
        total = time.perf_counter() - started
    if summary.embedded != len(clips):
        raise RuntimeError(f"{summary.embedded} of {len(clips)} clips were embedded")
    return {
        "clips": len(clips),
        "clips_per_s": len(clips) / total,
        "prepare_s": total - summary.elapsed,
        "run_clips_per_s": len(clips) / summary.elapsed,
        "peak_mb": peak_mb(),
    }


if __name__ == "__main__":
    main()
