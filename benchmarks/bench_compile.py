"""Does `torch.compile` pay for itself? Forward passes as extraction makes them, plain and compiled.

    python benchmarks/bench_compile.py --model random:hubert-base --clips FILE_OR_FOLDER --limit 60

Runs the batches that extraction would plan for the clips, first as they are, then with the blocks and the
convolutional front end compiled for shapes that vary. Prints one JSON line: `plain` and `compiled` in seconds
of sound per second, `compile_s` (what the first passes took more than later ones), and `pays_after_s`, the
seconds of sound after which compiling has paid for itself (null: never).
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import torch

from benchmarks.bench_extract import find_clips
from benchmarks.machine import report, timed
from layerprobe.cache.store.feature_store import FeatureStore
from layerprobe.embed.config import RATE, EmbedConfig
from layerprobe.embed.extract.batching import plan_batches
from layerprobe.embed.extract.pending import find_pending
from layerprobe.embed.extract.pooling import mergeable_stats, pool
from layerprobe.embed.extract.prefetch import Prefetcher
from layerprobe.embed.extract.run import batch_budget
from layerprobe.embed.models.backbones import TransformerBackbone, open_backbone


def main() -> None:
    """Measure both ways on the same batches."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", default="random:hubert-base")
    parser.add_argument("--clips", type=Path, required=True, help="table of clips, or a folder of sound")
    parser.add_argument("--limit", type=int, default=60, help="clips, taken evenly from all")
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
            raise SystemExit(f"{arguments.model} is no network")
        clips = find_clips(arguments.clips, arguments.limit)
        pending = find_pending(clips, FeatureStore.find(config.cache, extraction), config)
        budget = batch_budget(config, backbone.device)
        batches = plan_batches(pending.samples(), window=config.window, budget=budget)
        device = backbone.device
        decoded = list(Prefetcher(batches, pending, normalise=backbone.normalise, device=device))
        stats = mergeable_stats(extraction.stats)

        def visit(_layer: str, states: torch.Tensor, frames: torch.Tensor) -> None:
            pool(states, frames, stats)

        def work() -> None:
            for batch in decoded:
                backbone.run(batch.waves.to(backbone.device), batch.lengths, visit)

        work()
        plain_s = min(timed(work, device=backbone.device) for _ in range(2))
        compile_parts(backbone)
        first_s = timed(work, device=backbone.device) + timed(work, device=backbone.device)
        compiled_s = min(timed(work, device=backbone.device) for _ in range(2))
    sound = pending.seconds
    saved = plain_s - compiled_s
    overhead = first_s - 2 * compiled_s
    report(
        "compile",
        {
            "model": arguments.model,
            "clips": len(clips),
            "sound_s": sound,
            "batches": len(decoded),
            "shapes": len({batch.waves.shape for batch in decoded}),
            "plain": sound / plain_s,
            "compiled": sound / compiled_s,
            "compile_s": overhead,
            "pays_after_s": overhead / saved * sound if saved > 0 else None,
            "longest_batch_s": max(batch.waves.shape[1] for batch in decoded) / RATE,
        },
        device=backbone.device,
    )


def compile_parts(backbone: TransformerBackbone) -> None:
    """Each block and each convolution by itself: the hooks between them that hand out states stay plain."""
    for part in (*backbone.model.feature_extractor.conv_layers, *backbone.model.encoder.layers):
        part.forward = torch.compile(part.forward, dynamic=True)


if __name__ == "__main__":
    main()
