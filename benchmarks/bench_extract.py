"""Extraction against what people do without layerprobe, on the same clips in one run.

    python benchmarks/bench_extract.py --model random:hubert-base --clips FILE_OR_FOLDER --limit 200

Prints one JSON line. In seconds of sound per second: `ours` (from files to shards); `loop` (transformers,
one clip at a time, every layer by `output_hidden_states`, mean and std kept); `padded` (transformers,
padded batches in the order of the table, no mask: fast and wrong); `per_layer` (one pass of a truncated
model for each layer, as tools do that save one layer a run; measured on `--per-layer-limit` clips).
`gemm_gflops` is the machine's rate at matrix products, `ceiling` what that rate would give if a model were
nothing else, `ceiling_fraction` the share of it that ours reaches. `peak_mb` is the resident memory of
ours, measured in a process of its own.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from itertools import islice
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import numpy as np
import soundfile
import torch

from benchmarks.machine import gemm_gflops, peak_mb, report, timed
from layerprobe.embed.config import RATE, EmbedConfig
from layerprobe.embed.extract.run import embed
from layerprobe.embed.manifest.audio_files import AUDIO_SUFFIXES
from layerprobe.embed.manifest.clips import Clip, read_manifest
from layerprobe.embed.models.backbones import load_model
from layerprobe.embed.models.device import find_device, find_precision
from layerprobe.embed.models.layers import frame_count, layer_names
from layerprobe.embed.models.sources import find_model

BATCH = 8  # clips in a naive padded batch


def main() -> None:
    """Measure each way on the same clips."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", default="random:hubert-base")
    parser.add_argument("--clips", type=Path, required=True, help="table of clips, or a folder of sound")
    parser.add_argument("--limit", type=int, default=200, help="clips, taken evenly from all")
    parser.add_argument("--per-layer-limit", type=int, default=20, help="clips for per_layer")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--precision", default="auto")
    parser.add_argument("--batch-seconds", type=float, default=None)
    parser.add_argument("--only-ours", action="store_true", help="measure ours alone, with its memory")
    arguments = parser.parse_args()
    device = find_device(arguments.device)
    clips = find_clips(arguments.clips, arguments.limit)
    if arguments.only_ours:
        report("extract-ours", measure_ours(clips, arguments), device=device)
        return
    ours = ours_in_its_own_process()
    waves = [read(clip) for clip in clips]
    seconds = sum(len(wave) for wave in waves) / RATE
    source = find_model(arguments.model)
    model = load_model(source, seed=0).to(device)
    loop = seconds / timed(lambda: [states_of(model, [w], device) for w in waves], device=device)
    batches = [waves[i : i + BATCH] for i in range(0, len(waves), BATCH)]
    padded = seconds / timed(lambda: [states_of(model, b, device) for b in batches], device=device)
    few = waves[:: max(1, len(waves) // arguments.per_layer_limit)][: arguments.per_layer_limit]
    per_layer = sum(map(len, few)) / RATE / timed(lambda: one_pass_a_layer(model, few, device), device=device)
    dtype = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}[ours["precision"]]
    gemm = gemm_gflops(device, dtype)
    ceiling = gemm * 1e9 * seconds / flops_of(source.config, [len(w) for w in waves])
    report(
        "extract",
        {
            "model": arguments.model,
            "clips": len(clips),
            "sound_s": seconds,
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


def find_clips(where: Path, limit: int) -> list[Clip]:
    """At most `limit` clips, taken evenly, so that they are as mixed as the whole."""
    if where.is_dir():
        files = sorted(path for path in where.rglob("*") if path.suffix.lower() in AUDIO_SUFFIXES)
        clips = [Clip(id=str(path), file=str(path)) for path in files]
    else:
        clips = read_manifest(where)
    step = max(1, len(clips) // limit)
    return list(islice(clips[::step], limit))


def measure_ours(clips: list[Clip], arguments: argparse.Namespace) -> dict[str, Any]:
    """From files to shards, after a warm-up on three clips as the other ways have had theirs."""
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
        raise RuntimeError(f"{len(summary.failures)} of the clips failed: the comparison would not be fair")
    precision = find_precision(arguments.precision, find_device(arguments.device))
    # Copies of a clip are given to us once and to the other ways twice: count only what was computed.
    return {
        "ours": summary.seconds / summary.elapsed,
        "peak_mb": peak_mb(),
        "padding": summary.padding,
        "precision": precision,
    }


def ours_in_its_own_process() -> dict[str, Any]:
    """Its memory is then its own, and its model is not warm from another measurement."""
    import json

    done = subprocess.run(
        [sys.executable, *sys.argv, "--only-ours"], check=True, capture_output=True, text=True
    )
    return dict(json.loads(done.stdout.splitlines()[-1]))


def read(clip: Clip) -> np.ndarray:
    """The clip as a person's own script would have it: (T,) float32, zero mean and unit variance."""
    wave, rate = soundfile.read(clip.path, dtype="float32", always_2d=True)
    if rate != RATE:
        raise SystemExit(f"{clip.path}: {rate} Hz; the plain loops here do not resample")
    mono = wave.mean(axis=1)
    return (mono - mono.mean()) / np.sqrt(mono.var() + 1e-7)


def states_of(model: Any, waves: list[np.ndarray], device: torch.device) -> list[torch.Tensor]:
    """Mean and standard deviation of every layer, as transformers' documentation would have one do it."""
    batch = torch.nn.utils.rnn.pad_sequence([torch.from_numpy(w) for w in waves], batch_first=True)
    with torch.inference_mode():
        out = model(batch.to(device), output_hidden_states=True)
        return [torch.cat([h.mean(1), h.std(1)], dim=1).cpu() for h in out.hidden_states]


def one_pass_a_layer(model: Any, waves: list[np.ndarray], device: torch.device) -> None:
    """Each layer by a pass of its own through a model cut above it."""
    blocks = model.encoder.layers
    for k in range(1, len(blocks) + 1):
        model.encoder.layers = blocks[:k]
        for wave in waves:
            states_of(model, [wave], device)
    model.encoder.layers = blocks


def flops_of(config: Mapping[str, Any], lengths: list[int]) -> float:
    """Twice the multiply-adds of the forward passes: convolutions, projection, positions, blocks."""
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
