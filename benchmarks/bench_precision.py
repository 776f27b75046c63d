"""What lower precision does to the states and to a score, against fp32 on the same device.

    python benchmarks/bench_precision.py --clips clips.csv --model random:hubert-base --precisions bf16,fp16

Embeds the clips once in fp32 and once in each precision, both stored as float32, and prints one JSON line a
precision: `largest` is the largest difference of any number of a clip's states over the largest number of
that layer in fp32; `rms` the root mean square of the differences over that of the states; `uar_fp32` and
`uar` what a standardised logistic regression (C = 0.01) on that layer gets on speaker-disjoint folds from
either, where the table has labels and speakers; `agree` the share of clips that both predict alike.
`refused` counts the clips whose states were not finite.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path
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
from layerprobe.cache.identity.keys import clip_keys
from layerprobe.cache.store.feature_store import FeatureStore
from layerprobe.classify.config import StudyConfig
from layerprobe.classify.data.group_folds import balanced_group_folds
from layerprobe.embed.config import EmbedConfig
from layerprobe.embed.extract.run import embed
from layerprobe.embed.manifest.clips import Clip
from layerprobe.embed.models.device import find_device
from layerprobe.embed.models.lookup import find_model_store

FOLDS = 5


def main() -> None:
    """Measure every precision."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", default="random:hubert-base")
    parser.add_argument("--clips", type=Path, required=True, help="table of clips, or a folder of sound")
    parser.add_argument("--limit", type=int, default=10**9, help="clips, taken evenly from all")
    parser.add_argument("--precisions", default="bf16", help="comma-separated: bf16, fp16")
    parser.add_argument("--device", default="auto")
    arguments = parser.parse_args()
    clips = find_clips(arguments.clips, arguments.limit)
    with tempfile.TemporaryDirectory() as folder:
        stores = {
            name: states(clips, arguments.model, Path(folder) / name, name, arguments.device)
            for name in ("fp32", *arguments.precisions.split(","))
        }
        exact = stores.pop("fp32")
        for name, store in stores.items():
            found = against(exact, store, clips)
            facts = {"model": arguments.model, "precision": name, "clips": len(clips)}
            report("precision", {**facts, **found}, device=find_device(arguments.device))


def states(clips: list[Clip], model: str, cache: Path, precision: str, device: str) -> FeatureStore:
    """The clips' states in one precision, in a cache of their own."""
    embed(clips, EmbedConfig(model=model, cache=cache, precision=precision, dtype="float32", device=device))
    return find_model_store(cache, model)


def against(exact: FeatureStore, other: FeatureStore, clips: list[Clip]) -> dict[str, Any]:
    """Each layer's differences, and scores from both."""
    by_clip = dict(zip(clip_keys(clips, exact.cache), clips, strict=True))
    held = [key for key in by_clip if isinstance(key, str) and not other.missing([key])]
    used = [by_clip[key] for key in held]
    target = StudyConfig.target
    labelled = all(clip.speaker and clip.labels.get(target) for clip in used)
    layers = []
    for layer in exact.extraction.layers:
        a, b = exact.layer(layer, held), other.layer(layer, held)
        told: dict[str, Any] = {
            "layer": layer,
            "largest": float(np.abs(a - b).max() / np.abs(a).max()),
            "rms": float(np.sqrt(np.square(a - b).mean() / np.square(a).mean())),
        }
        if labelled:
            y = np.array([clip.labels[target] for clip in used])
            first, second = (predictions(X, y, [clip.speaker or "" for clip in used]) for X in (a, b))
            told["uar_fp32"] = round(float(balanced_accuracy_score(y, first)), 4)
            told["uar"] = round(float(balanced_accuracy_score(y, second)), 4)
            told["agree"] = round(float((first == second).mean()), 4)
        layers.append(told)
    return {"refused": len(by_clip) - len(held), "layers": layers}


def predictions(X: np.ndarray, y: np.ndarray, speakers: list[str]) -> np.ndarray:
    """(N,) labels, each predicted by a fit on the clips of other speakers."""
    _, groups = np.unique(speakers, return_inverse=True)
    _, classes = np.unique(y, return_inverse=True)
    fold_of = balanced_group_folds(classes, groups, folds=FOLDS, seed=0)[groups]
    folds = [(np.flatnonzero(fold_of != fold), np.flatnonzero(fold_of == fold)) for fold in range(FOLDS)]
    probe = make_pipeline(StandardScaler(), LogisticRegression(C=0.01, max_iter=1_000))
    return np.asarray(cross_val_predict(probe, X, y, cv=folds))


if __name__ == "__main__":
    main()
