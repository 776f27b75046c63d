"""Effect of lower precision on hidden states, on a score and on speed, compared with fp32 on the same device.

    python benchmarks/bench_precision.py --clips clips.csv --model random:hubert-base --precisions bf16,fp16
    python benchmarks/bench_precision.py --clips clips.csv --model random:hubert-base --speed 5 --limit 60

Embeds the clips once in fp32 and once in each precision, both stored as float32, and prints one JSON line
per precision. Per layer: `largest`, the largest absolute difference over the layer's largest absolute value
in fp32; `rms`, the RMS of the differences over the RMS of the states; and, for tables with labels and
speakers, `uar_fp32` and `uar` of a standardised logistic regression (C = 0.01) on speaker-disjoint folds,
and `agreement`, the fraction of clips with the same prediction. `non_finite` counts the clips rejected for
non-finite states.

With `--speed N`, only the forward pass is compared, on decoded batches as `embed` makes them, N times in
turn: `fp32` and `half`, seconds of sound per second; `ratio` and `ratio_cpu`, the medians of the paired
ratios of wall and of processor time, of which other work on the machine changes the second less.
"""

from __future__ import annotations

import sys
import tempfile
import time
from argparse import ArgumentParser, RawDescriptionHelpFormatter
from pathlib import Path
from statistics import median
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import balanced_accuracy_score
from sklearn.model_selection import cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from benchmarks.bench_extract import find_clips
from benchmarks.machine import report
from layerprobe.cache.store.feature_store import FeatureStore
from layerprobe.cache.store.keys import clip_keys
from layerprobe.classify.config import StudyConfig
from layerprobe.classify.data.group_folds import balanced_group_folds
from layerprobe.embed.config import EmbedConfig
from layerprobe.embed.extract.batching import batch_budget, plan_batches
from layerprobe.embed.extract.parallel import ParallelForward, Replicas
from layerprobe.embed.extract.pending import find_pending
from layerprobe.embed.extract.prefetch import Prefetcher
from layerprobe.embed.extract.run import embed
from layerprobe.embed.manifest.clips import Clip
from layerprobe.embed.models.backbones import open_backbone
from layerprobe.embed.models.device import find_device
from layerprobe.embed.models.lookup import find_model_store

FOLDS = 5


def main() -> None:
    """Compare each precision with fp32."""
    parser = ArgumentParser(description=__doc__, formatter_class=RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="random:hubert-base")
    parser.add_argument("--clips", type=Path, required=True, help="table of clips, or folder of audio files")
    parser.add_argument("--limit", type=int, default=10**9, help="number of clips, spaced evenly over all")
    parser.add_argument("--precisions", default="bf16", help="comma-separated: bf16, fp16")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--speed", type=int, metavar="N", help="compare the speed instead, N times")
    arguments = parser.parse_args()
    clips = find_clips(arguments.clips, arguments.limit)
    if arguments.speed:
        for name in arguments.precisions.split(","):
            values = compare_speed(clips, arguments.model, name, arguments.device, times=arguments.speed)
            report("half_speed", values, device=find_device(arguments.device))
        return
    with tempfile.TemporaryDirectory() as folder:
        stores = {
            name: embed_clips(clips, arguments.model, Path(folder) / name, name, arguments.device)
            for name in ("fp32", *arguments.precisions.split(","))
        }
        reference = stores.pop("fp32")
        for name, store in stores.items():
            settings = {"model": arguments.model, "precision": name, "clips": len(clips)}
            differences = compare_stores(reference, store, clips)
            report("precision", {**settings, **differences}, device=find_device(arguments.device))


def compare_speed(
    clips: list[Clip], model: str, precision: str, device: str, *, times: int
) -> dict[str, Any]:
    """Forward passes on the same batches in fp32 and in half precision, in turn."""
    audio = 0.0
    runs: dict[str, list[tuple[float, float]]] = {"fp32": [], precision: []}
    with tempfile.TemporaryDirectory() as cache:
        prepared = {}
        for name in runs:
            config = EmbedConfig(model=model, cache=Path(cache), precision=name, device=device)
            backbone, extraction = open_backbone(config)
            pending, budget = find_pending(clips, None, config), batch_budget(config, backbone.device)
            plan = plan_batches(pending.audio.samples, window=config.window, budget=budget)
            batches = list(Prefetcher(plan, pending, normalise=backbone.normalise, device=backbone.device))
            forward = ParallelForward(Replicas(backbone), extraction, budget=budget, batches=len(plan))
            prepared[name], audio = (forward, batches), pending.seconds
        for number in range(times + 1):
            for name, (forward, batches) in prepared.items():
                wall, processor = time.perf_counter(), time.process_time()
                for result in forward.results(batches):
                    result.wait()
                if number:  # the first one warms up
                    runs[name].append((time.perf_counter() - wall, time.process_time() - processor))
    pairs = list(zip(runs["fp32"], runs[precision], strict=True))
    return {
        "model": model,
        "precision": precision,
        "clips": len(clips),
        "audio_s": audio,
        "fp32": audio / median(wall for wall, _ in runs["fp32"]),
        "half": audio / median(wall for wall, _ in runs[precision]),
        "ratio": median(full[0] / half[0] for full, half in pairs),
        "ratio_cpu": median(full[1] / half[1] for full, half in pairs),
    }


def embed_clips(clips: list[Clip], model: str, cache: Path, precision: str, device: str) -> FeatureStore:
    """Embed the clips in one precision, into a separate cache."""
    embed(clips, EmbedConfig(model=model, cache=cache, precision=precision, dtype="float32", device=device))
    return find_model_store(cache, model)


def compare_stores(reference: FeatureStore, other: FeatureStore, clips: list[Clip]) -> dict[str, Any]:
    """Differences per layer, and scores from both stores."""
    by_clip = dict(zip(clip_keys(clips, reference.cache), clips, strict=True))
    keys = [key for key in by_clip if isinstance(key, str) and not other.missing([key])]
    clips = [by_clip[key] for key in keys]
    target = StudyConfig.target
    labelled = all(clip.speaker and clip.labels.get(target) for clip in clips)
    layers = []
    for layer in reference.extraction.layers:
        a, b = reference.layer(layer, keys), other.layer(layer, keys)
        row: dict[str, Any] = {
            "layer": layer,
            "largest": float(np.abs(a - b).max() / np.abs(a).max()),
            "rms": float(np.sqrt(np.square(a - b).mean() / np.square(a).mean())),
        }
        if labelled:
            y = np.array([clip.labels[target] for clip in clips])
            first, second = (cross_validated(X, y, [clip.speaker or "" for clip in clips]) for X in (a, b))
            row["uar_fp32"] = round(float(balanced_accuracy_score(y, first)), 4)
            row["uar"] = round(float(balanced_accuracy_score(y, second)), 4)
            row["agreement"] = round(float((first == second).mean()), 4)
        layers.append(row)
    return {"non_finite": len(by_clip) - len(keys), "layers": layers}


def cross_validated(X: np.ndarray, y: np.ndarray, speakers: list[str]) -> np.ndarray:
    """Predicted labels (N,) from speaker-disjoint cross-validation."""
    _, groups = np.unique(speakers, return_inverse=True)
    _, classes = np.unique(y, return_inverse=True)
    fold_of = balanced_group_folds(classes, groups, folds=FOLDS, seed=0)[groups]
    folds = [(np.flatnonzero(fold_of != fold), np.flatnonzero(fold_of == fold)) for fold in range(FOLDS)]
    probe = make_pipeline(StandardScaler(), LogisticRegression(C=0.01, max_iter=1_000))
    return np.asarray(cross_val_predict(probe, X, y, cv=folds))


if __name__ == "__main__":
    main()
