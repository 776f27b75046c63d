"""Does `torch.compile` pay off? Times the forward passes of extraction, eager and compiled.

    python benchmarks/bench_compile.py --model random:hubert-base --clips FILE_OR_FOLDER --limit 60

Runs the batches that extraction would plan for the clips, first in eager mode, then with the transformer
blocks and the convolutional front end compiled for dynamic shapes. Prints one JSON line: `eager` and
`compiled` in seconds of audio per second, `compile_s` (extra time of the first passes), and `break_even_s`,
the seconds of audio after which compiling has paid off (null: never).
"""

from __future__ import annotations

import sys
import tempfile
from argparse import ArgumentParser, RawDescriptionHelpFormatter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import torch

from benchmarks.bench_extract import find_clips
from benchmarks.machine import report, timed
from layerprobe.cache.store.feature_store import FeatureStore
from layerprobe.embed.config import RATE, EmbedConfig
from layerprobe.embed.extract.batching import batch_budget, plan_batches
from layerprobe.embed.extract.pending import find_pending
from layerprobe.embed.extract.pooling import mergeable_stats, pool
from layerprobe.embed.extract.prefetch import Prefetcher
from layerprobe.embed.models.backbones import open_backbone
from layerprobe.embed.models.wav2vec2 import TransformerBackbone


def main() -> None:
    """Time eager and compiled passes on the same batches."""
    parser = ArgumentParser(description=__doc__, formatter_class=RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="random:hubert-base")
    parser.add_argument("--clips", type=Path, required=True, help="table of clips, or folder of audio files")
    parser.add_argument("--limit", type=int, default=60, help="number of clips, spaced evenly over all")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--precision", default="auto")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as cache:
        config = EmbedConfig(
            model=arguments.model,
            cache=Path(cache),
            device=arguments.device,
            precision=arguments.precision,
        )
        backbone, extraction = open_backbone(config)
        if not isinstance(backbone, TransformerBackbone):
            raise SystemExit(f"{arguments.model} is not a neural network")
        clips = find_clips(arguments.clips, arguments.limit)
        device = backbone.device
        pending = find_pending(clips, FeatureStore.find(config.cache, extraction), config)
        budget = batch_budget(config, device)
        batches = plan_batches(pending.audio.samples, window=config.window, budget=budget)
        decoded = list(Prefetcher(batches, pending, normalise=backbone.normalise, device=device))
        stats = mergeable_stats(extraction.stats)

        def visit(_layer: str, states: torch.Tensor, frames: torch.Tensor) -> None:
            pool(states, frames, stats)

        def work() -> None:
            for batch in decoded:
                backbone.run(batch.waves.to(device), batch.lengths, visit)

        work()
        eager_s = min(timed(work, device=device) for _ in range(2))
        compile_modules(backbone)
        first_s = timed(work, device=device) + timed(work, device=device)
        compiled_s = min(timed(work, device=device) for _ in range(2))
    audio = pending.seconds
    saved = eager_s - compiled_s
    overhead = first_s - 2 * compiled_s
    report(
        "compile",
        {
            "model": arguments.model,
            "clips": len(clips),
            "audio_s": audio,
            "batches": len(decoded),
            "shapes": len({batch.waves.shape for batch in decoded}),
            "eager": audio / eager_s,
            "compiled": audio / compiled_s,
            "compile_s": overhead,
            "break_even_s": overhead / saved * audio if saved > 0 else None,
            "longest_batch_s": max(batch.waves.shape[1] for batch in decoded) / RATE,
        },
        device=device,
    )


def compile_modules(backbone: TransformerBackbone) -> None:
    """Compile each block and convolution separately; the hooks between them that return states stay eager."""
    for module in (*backbone.model.feature_extractor.conv_layers, *backbone.model.encoder.layers):
        module.forward = torch.compile(module.forward, dynamic=True)


if __name__ == "__main__":
    main()
