"""Extraction compared with the usual transformers loops, on the same clips in one run.

    python benchmarks/bench_extract.py --model random:hubert-base --clips FILE_OR_FOLDER --limit 200

Prints one JSON line. In seconds of audio per second: `ours` (files to shards); `loop` (transformers, one
clip at a time, mean and std of every layer from `output_hidden_states`); `padded` (transformers, padded
batches in table order without an attention mask: fast and wrong); `per_layer` (one pass of a truncated
model per layer, as tools do that save one layer per run; measured on `--per-layer-limit` clips).
`gemm_gflops` is the machine's matrix-product rate, `ceiling` the throughput if the model were matrix
products alone, `ceiling_fraction` the fraction of it that `ours` reaches. `peak_mb` is the peak resident
memory of `ours`, in a separate process.

    python benchmarks/bench_extract.py --count --model random:hubert-large --precision fp16

counts what a batch of `--batch-seconds` seconds (320 if omitted) would launch on a GPU, without one: see
`fake_gpu.py`. `operations` counts them, `waiting` those for which the host would wait.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from argparse import ArgumentParser, Namespace, RawDescriptionHelpFormatter
from collections.abc import Mapping
from itertools import islice
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import numpy as np
import soundfile
import torch

from benchmarks.fake_gpu import GPU, clips_of, count_batch
from benchmarks.machine import gemm_gflops, peak_mb, report, timed
from layerprobe.embed.checkpoints.loading import load_model
from layerprobe.embed.config import RATE, EmbedConfig
from layerprobe.embed.extract.batching import BATCH_SECONDS
from layerprobe.embed.extract.run import embed
from layerprobe.embed.manifest.audio_files import AUDIO_SUFFIXES
from layerprobe.embed.manifest.clips import Clip, read_manifest
from layerprobe.embed.models.device import find_device, find_precision
from layerprobe.embed.models.layers import frame_count, layer_names
from layerprobe.embed.models.sources import find_model

PADDED_BATCH = 8  # clips per padded batch


def main() -> None:
    """Measure each method on the same clips."""
    parser = ArgumentParser(description=__doc__, formatter_class=RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="random:hubert-base")
    parser.add_argument("--clips", type=Path, help="table of clips, or folder of audio files")
    parser.add_argument("--limit", type=int, default=200, help="number of clips, spaced evenly over all")
    parser.add_argument("--per-layer-limit", type=int, default=20, help="number of clips for `per_layer`")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--precision", default="auto")
    parser.add_argument("--batch-seconds", type=float, default=None)
    parser.add_argument(
        "--only-ours", action="store_true", help="measure layerprobe alone, with its peak memory"
    )
    parser.add_argument("--count", action="store_true", help="count operations; --clips is not needed")
    parser.add_argument("--clip-seconds", type=float, default=2.0, help="length of the clips of --count")
    arguments = parser.parse_args()
    if arguments.count:
        count_operations(arguments)
        return
    if arguments.clips is None:
        parser.error("--clips is required, except with --count")
    device = find_device(arguments.device)
    clips = find_clips(arguments.clips, arguments.limit)
    if arguments.only_ours:
        report("extract-ours", measure_ours(clips, arguments), device=device)
        return
    ours = measure_ours_in_subprocess()
    waves = [read(clip) for clip in clips]
    seconds = sum(len(wave) for wave in waves) / RATE
    source = find_model(arguments.model)
    model = load_model(source, seed=0).to(device)
    loop = seconds / timed(lambda: [pooled_states(model, [w], device) for w in waves], device=device)
    batches = [waves[i : i + PADDED_BATCH] for i in range(0, len(waves), PADDED_BATCH)]
    padded = seconds / timed(lambda: [pooled_states(model, b, device) for b in batches], device=device)
    sample = waves[:: max(1, len(waves) // arguments.per_layer_limit)][: arguments.per_layer_limit]
    elapsed = timed(lambda: one_pass_per_layer(model, sample, device), device=device)
    per_layer = sum(map(len, sample)) / RATE / elapsed
    dtype = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}[ours["precision"]]
    gemm = gemm_gflops(device, dtype)
    ceiling = gemm * 1e9 * seconds / forward_flops(source.config, [len(w) for w in waves])
    report(
        "extract",
        {
            "model": arguments.model,
            "clips": len(clips),
            "audio_s": seconds,
            **{k: ours[k] for k in ("ours", "peak_mb", "padding", "precision")},
            "loop": loop,
            "padded": padded,
            "per_layer": per_layer,
            "gemm_gflops": gemm,
            "ceiling": ceiling,
            "ceiling_fraction": ours["ours"] / ceiling,
            "ratio_loop": ours["ours"] / loop,
            "ratio_per_layer": ours["ours"] / per_layer,
        },
        device=device,
    )


def count_operations(arguments: Namespace) -> None:
    """Report what a batch would launch on a GPU."""
    precision = find_precision(arguments.precision, GPU)
    config = EmbedConfig(model=arguments.model, precision=precision)
    seconds = arguments.batch_seconds or BATCH_SECONDS["cuda"]
    lengths = clips_of(arguments.clip_seconds, total=seconds)
    operations, _ = count_batch(config, lengths)
    values = {
        "model": arguments.model,
        "precision": precision,
        "clips": len(lengths),
        "operations": operations.launched.total(),
        "waiting": len(operations.waiting),
        "by_name": dict(operations.launched.most_common()),
    }
    report("count", values, device=torch.device("cpu"))


def find_clips(source: Path, limit: int) -> list[Clip]:
    """At most `limit` clips of a table or folder, spaced evenly so that they represent all of it."""
    if source.is_dir():
        files = sorted(path for path in source.rglob("*") if path.suffix.lower() in AUDIO_SUFFIXES)
        clips = [Clip(id=str(path), file=str(path)) for path in files]
    else:
        clips = read_manifest(source)
    step = max(1, len(clips) // limit)
    return list(islice(clips[::step], limit))


def measure_ours(clips: list[Clip], arguments: Namespace) -> dict[str, Any]:
    """Measure extraction from files to shards, after a warm-up on three clips."""
    settings = {"device": arguments.device, "precision": arguments.precision}
    with tempfile.TemporaryDirectory() as folder:
        config = EmbedConfig(
            model=arguments.model,
            cache=Path(folder) / "features",
            batch_seconds=arguments.batch_seconds,
            **settings,
        )
        warm = EmbedConfig(model=arguments.model, cache=Path(folder) / "warm", **settings)
        embed(clips[:3], warm)
        summary = embed(clips, config)
    if summary.failures or summary.embedded + summary.copies != len(clips):
        raise RuntimeError(f"{len(summary.failures)} clips failed, so the comparison would be unfair")
    precision = find_precision(arguments.precision, find_device(arguments.device))
    # layerprobe computes identical clips once, the other methods each time: count only what was computed.
    return {
        "ours": summary.seconds / summary.elapsed,
        "peak_mb": peak_mb(),
        "padding": summary.padding,
        "precision": precision,
    }


def measure_ours_in_subprocess() -> dict[str, Any]:
    """Measure in a separate process, so that neither memory nor warm-up is shared with other methods."""
    command = [sys.executable, *sys.argv, "--only-ours"]
    process = subprocess.run(command, check=True, capture_output=True, text=True)
    return dict(json.loads(process.stdout.splitlines()[-1]))


def read(clip: Clip) -> np.ndarray:
    """Read a clip as a typical script does: (T,) float32, zero mean and unit variance."""
    wave, rate = soundfile.read(clip.path, dtype="float32", always_2d=True)
    if rate != RATE:
        raise SystemExit(f"{clip.path}: {rate} Hz; the loops compared here do not resample")
    mono = wave.mean(axis=1)
    return (mono - mono.mean()) / np.sqrt(mono.var() + 1e-7)


def pooled_states(model: Any, waves: list[np.ndarray], device: torch.device) -> list[torch.Tensor]:
    """Mean and standard deviation over frames of every layer, as in the documentation of transformers."""
    batch = torch.nn.utils.rnn.pad_sequence([torch.from_numpy(w) for w in waves], batch_first=True)
    with torch.inference_mode():
        out = model(batch.to(device), output_hidden_states=True)
        return [torch.cat([h.mean(1), h.std(1)], dim=1).cpu() for h in out.hidden_states]


def one_pass_per_layer(model: Any, waves: list[np.ndarray], device: torch.device) -> None:
    """Compute each layer in a separate pass through a model truncated above it."""
    blocks = model.encoder.layers
    for k in range(1, len(blocks) + 1):
        model.encoder.layers = blocks[:k]
        for wave in waves:
            pooled_states(model, [wave], device)
    model.encoder.layers = blocks


def forward_flops(config: Mapping[str, Any], lengths: list[int]) -> float:
    """FLOPs of the forward passes: two per multiply-add of convolutions, projection, positions and blocks."""
    total = 0.0
    width, inner = config["hidden_size"], config["intermediate_size"]
    blocks = len(layer_names(config)) - 1 - bool(config.get("do_stable_layer_norm"))
    position = width * width // config["num_conv_pos_embedding_groups"] * config["num_conv_pos_embeddings"]
    for samples in lengths:
        channels = 1
        length = samples
        layers = zip(config["conv_dim"], config["conv_kernel"], config["conv_stride"], strict=True)
        for out, kernel, stride in layers:
            length = (length - kernel) // stride + 1
            total += 2 * length * channels * out * kernel
            channels = out
        frames = frame_count(config, samples)
        block = 4 * width * width + 2 * width * inner
        total += 2 * frames * (channels * width + position + blocks * (block + 2 * frames * width))
    return total


if __name__ == "__main__":
    main()
