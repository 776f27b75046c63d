"""What the host can do: extraction from files to shards with a model that takes no time.

    python benchmarks/bench_host.py --clip-seconds 2 --clips 6000
    python benchmarks/bench_host.py --clip-seconds 10 --clips 2000

Writes a corpus of 16-bit mono WAV files of noise and embeds it with a backbone of hubert-large's shapes (25
layers of 1,024, mean and standard deviation, float16) that computes nothing: each layer of a clip is two
frames of its samples. Prints one JSON line. `real_time`: seconds of audio per second of wall time;
`real_time_cpu`: the same if all cores had been busy for all the processor time that the run used, which other
work on the machine does not lower; `real_time_cpu_host`: without `forward`. `cpu_ms`: milliseconds of
processor time a clip, by stage: `pending` (hash the files, read their headers), `decode`, `forward` (pooling
and casts, which a GPU would do), `collect`, `write` (shards), `all` (of the process: the difference is
everything else). `peak_mb`: resident memory; `peak_mb_half`: of half as many clips, so that growth would
show.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from argparse import ArgumentParser, Namespace, RawDescriptionHelpFormatter
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest.mock import patch

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import json
import os

import numpy as np
import soundfile
import torch

from benchmarks.machine import peak_mb, report
from layerprobe.cache.identity.extraction import Extraction
from layerprobe.cache.identity.hashing import SETTLED
from layerprobe.cache.store.background_writer import BackgroundWriter
from layerprobe.embed.config import RATE, EmbedConfig
from layerprobe.embed.extract import run as extraction_run
from layerprobe.embed.extract.collect import Collector
from layerprobe.embed.extract.forward import ForwardPass
from layerprobe.embed.extract.prefetch import Prefetcher
from layerprobe.embed.manifest.clips import Clip
from layerprobe.embed.models.backbones import ModelPlan
from layerprobe.embed.models.device import keep_freed_memory
from layerprobe.embed.models.interface import Visit

LAYERS, WIDTH = 25, 1024  # of hubert-large
HOP = 320  # samples from one frame to the next
FRAMES = 2  # of a clip in each layer; one has no deviation, and the root of zero is slow
GPU_SECONDS = 320.0  # audio in a batch, as on a GPU


class NoBackbone:
    """hubert-large's shapes, in no time."""

    layers = tuple(str(number) for number in range(LAYERS))
    widths = (WIDTH,) * LAYERS
    normalise, precision = True, "fp32"
    frame_rate, receptive_field = RATE / HOP, 0.025
    device = torch.device("cpu")

    def frames(self, samples: int) -> int:
        return samples // HOP

    def processed(self, samples: int) -> int:
        return samples

    def run(self, waves: torch.Tensor, lengths: torch.Tensor, visit: Visit) -> None:
        states = waves[:, : FRAMES * WIDTH].unflatten(1, (FRAMES, WIDTH))
        for layer in self.layers:
            visit(layer, states, torch.full_like(lengths, FRAMES))


class ProcessorTime:
    """Processor time by stage, summed over the threads that a stage runs in.

    `pending` runs alone and has threads of its own: for it, that of the process.
    """

    def __init__(self) -> None:
        self.seconds: dict[str, float] = defaultdict(float)

    def timed(self, stage: str, function: Callable[..., Any]) -> Callable[..., Any]:
        clock = time.process_time if stage == "pending" else time.thread_time

        def timed(*arguments: Any, **options: Any) -> Any:
            began = clock()
            try:
                return function(*arguments, **options)
            finally:
                self.seconds[stage] += clock() - began

        return timed


def main() -> None:
    """Measure in a process of its own, and once more with half of the clips."""
    parser = ArgumentParser(description=__doc__, formatter_class=RawDescriptionHelpFormatter)
    parser.add_argument("--clips", type=int, default=6_000)
    parser.add_argument("--clip-seconds", type=float, default=2.0)
    parser.add_argument("--batch-seconds", type=float, default=GPU_SECONDS)
    parser.add_argument("--corpus", type=Path, help="folder for the corpus; a temporary one if omitted")
    parser.add_argument("--measure", action="store_true", help="measure on a corpus that exists")
    arguments = parser.parse_args()
    if arguments.measure:
        report("host", measure(arguments), device=torch.device("cpu"))
        return
    with tempfile.TemporaryDirectory() as temporary:
        corpus = arguments.corpus or Path(temporary)
        write_corpus(corpus, clips=arguments.clips, seconds=arguments.clip_seconds)
        time.sleep(SETTLED / 1e9 + 0.5)  # younger files are hashed again before their states are stored
        counts = arguments.clips // 2, arguments.clips
        half, whole = (run_measurement(corpus, arguments, clips=count) for count in counts)
    print(json.dumps({**whole, "peak_mb_half": half["peak_mb"]}), flush=True)


def write_corpus(folder: Path, *, clips: int, seconds: float) -> None:
    """Files of different lengths, a tenth shorter at most, unless they exist."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(0)
    for number in range(clips):
        file = folder / f"{number:06d}.wav"
        samples = rng.integers(int(0.9 * seconds * RATE), int(seconds * RATE) + 1)
        if not file.exists():
            soundfile.write(file, rng.integers(-9_000, 9_000, samples, np.int16), RATE, subtype="PCM_16")


def run_measurement(corpus: Path, arguments: Namespace, *, clips: int) -> dict[str, Any]:
    options = {"corpus": corpus, "clips": clips, "batch-seconds": arguments.batch_seconds}
    words = [f"--{name}={value}" for name, value in options.items()]
    command = [sys.executable, __file__, "--measure", *words]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return dict(json.loads(done.stdout.splitlines()[-1]))


def measure(arguments: Namespace) -> dict[str, Any]:
    """Embed the corpus's first clips."""
    files = sorted(arguments.corpus.glob("*.wav"))[: arguments.clips]
    clips = [Clip(id=file.name, file=str(file)) for file in files]
    time_of = ProcessorTime()
    stages = [
        (extraction_run, "find_pending", "pending"),
        (Prefetcher, "_load", "decode"),
        (ForwardPass, "_launch", "forward"),
        (BackgroundWriter, "_write_ready", "write"),
        (BackgroundWriter, "_publish_now", "write"),
    ]
    patches = [patch.object(of, name, time_of.timed(stage, getattr(of, name))) for of, name, stage in stages]
    collect = Collector.collect
    timed_collect = time_of.timed("collect", lambda *of: list(collect(*of)))
    patches.append(patch.object(Collector, "collect", timed_collect))
    patches.append(patch.object(extraction_run, "plan_model", lambda _config: no_model()))
    with tempfile.TemporaryDirectory(dir=arguments.corpus.parent) as cache:
        config = EmbedConfig(model="none", cache=Path(cache), batch_seconds=arguments.batch_seconds)
        for each in patches:
            each.start()
        wall, processor = time.perf_counter(), time.process_time()
        summary = extraction_run.embed(clips, config)
        wall, processor = time.perf_counter() - wall, time.process_time() - processor
        for each in patches:
            each.stop()
    if summary.embedded != len(clips):
        raise RuntimeError(f"{summary.embedded} of {len(clips)} clips were embedded")
    cores = len(os.sched_getaffinity(0))
    used = {**time_of.seconds, "all": processor}
    return {
        "clips": len(clips),
        "audio_s": summary.seconds,
        "cores": cores,
        "real_time": summary.seconds / wall,
        "real_time_cpu": summary.seconds * cores / processor,
        "real_time_cpu_host": summary.seconds * cores / (processor - time_of.seconds["forward"]),
        "cpu_ms": {stage: round(1_000 * seconds / len(clips), 4) for stage, seconds in used.items()},
        "peak_mb": peak_mb(),
    }


def no_model() -> ModelPlan:
    """An extraction of the backbone's shapes, on a CPU as `plan_model` prepares it."""
    keep_freed_memory()
    model = NoBackbone()
    extraction = Extraction(
        model="none",
        revision="",
        weights="none",
        architecture="none",
        normalise=model.normalise,
        layers=model.layers,
        widths=model.widths,
        stats=EmbedConfig.stats,
        dtype=EmbedConfig.dtype,
        precision=model.precision,
        window=EmbedConfig.window,
        rate=RATE,
        frame_rate=model.frame_rate,
        receptive_field=model.receptive_field,
    )
    return ModelPlan(name="none", extraction=extraction, device=model.device, make=NoBackbone)


if __name__ == "__main__":
    main()
