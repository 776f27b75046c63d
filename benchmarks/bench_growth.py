"""How the cost of a search grows with clips, layers and classes.

    python benchmarks/bench_growth.py [--clips 1000,5000,20000] [--layers 1,4] [--classes 3,7] [--trials 5]

Made states (768 columns × mean and std, classes that differ by a little, 40 speakers) stand for a corpus of
any size. For each head and each size, the others at their first value, one outer fold is searched on one
core as a study does it: `--trials` random trials over three inner folds, nothing pruned, and the last fit.
One JSON line each tells `seconds` of processor time, with all that trials share being made on the way;
`to_first`, the ratio to the first size; `peak_mb`, each line being a process of its own; `exact`, whether
kernels were taken with every training clip, or with Nyström's anchors.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import numpy as np
import torch
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from benchmarks.machine import peak_mb, report
from layerprobe.classify.config import StudyConfig
from layerprobe.classify.data.dataset import Dataset
from layerprobe.classify.data.splits import Fold, outer_folds
from layerprobe.classify.features.fold_features import (
    FoldFeatures,
    LayerStates,
    exact_kernels_fit,
    nystroem_landmarks,
)
from layerprobe.classify.features.kernels import kernel_bytes
from layerprobe.classify.features.lru_cache import LruCache
from layerprobe.classify.scores.results import StudyId
from layerprobe.classify.search.nested import search
from layerprobe.classify.search.storage import quiet

WIDTH, STATS, SPEAKERS = 768, ("mean", "std"), 40


def main() -> None:
    """Vary one size at a time, each measurement in a process of its own."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--clips", default="1000,5000,20000")
    parser.add_argument("--layers", default="1,4")
    parser.add_argument("--classes", default="3,7")
    parser.add_argument("--heads", default=",".join(StudyConfig.heads))
    parser.add_argument("--trials", type=int, default=5)
    parser.add_argument("--one", default="", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.one:
        head, clips, layers, classes = arguments.one.split(",")
        print(json.dumps(measure(head, int(clips), int(layers), int(classes), trials=arguments.trials)))
        return
    varied = {
        name: [int(n) for n in getattr(arguments, name).split(",")] for name in ("clips", "layers", "classes")
    }
    usual = {name: sizes[0] for name, sizes in varied.items()}
    for head in arguments.heads.split(","):
        first: dict[str, Any] = {}
        for name, sizes in varied.items():
            for size in sizes:
                if first and size == usual[name]:
                    continue
                given = {**usual, name: size}
                words = [sys.executable, __file__, "--one", ",".join([head, *map(str, given.values())])]
                words += ["--trials", str(arguments.trials)]
                done = subprocess.run(words, check=True, stdout=subprocess.PIPE, text=True)
                found = json.loads(done.stdout)
                first = first or found
                told = {"head": head, **given, "trials": arguments.trials, **found}
                told["to_first"] = found["seconds"] / first["seconds"]
                report("growth", told, device=torch.device("cpu"))


def measure(head: str, clips: int, layers: int, classes: int, *, trials: int) -> dict[str, Any]:
    """One outer fold of a study on so many layers."""
    quiet()
    config = StudyConfig(trials=trials, sampler="random", pruner="none", jobs=1)
    data = made(clips, classes)
    first = outer_folds(data, split="speaker", folds=config.folds, inner_folds=config.inner_folds, seed=0)[0]
    train, test = len(first.outer.train), len(first.outer.test)
    exact = exact_kernels_fit(train, nbytes=kernel_bytes(train, test), memory=config.memory)
    seconds = 0.0
    for layer in range(layers):
        X = states(data, seed=layer)
        with threadpool_limits(1):
            started = time.process_time()
            kept = LruCache(config.memory)
            *inner, outer = (
                share(X, data, fold, exact=exact, kept=kept.section(k))
                for k, fold in enumerate((*first.inner, first.outer))
            )
            for _ in search(StudyId(0, str(layer), head), inner, outer, data.y, config, done=[]):
                pass
            seconds += time.process_time() - started
    return {"seconds": seconds, "exact": exact, "peak_mb": peak_mb()}


def share(X: np.ndarray, data: Dataset, fold: Fold, *, exact: bool, kept: LruCache) -> FoldFeatures:
    """What the trials of one fold share."""
    return FoldFeatures(
        (LayerStates(lambda: X, STATS, WIDTH, data.speakers),),
        data.y,
        train=fold.train,
        test=fold.test,
        classes=len(data.classes),
        cache=kept,
        landmarks=None if exact else nystroem_landmarks(len(fold.train), seed=0),
    )


def made(clips: int, classes: int) -> Dataset:
    """Labels and speakers: every speaker says every class about as often."""
    y = np.random.default_rng(0).integers(0, classes, clips)
    return Dataset(
        ids=tuple(map(str, range(clips))),
        keys=tuple(f"{number:064x}" for number in range(clips)),
        classes=tuple(f"class{k}" for k in range(classes)),
        y=y,
        speaker_names=tuple(f"speaker{s:02}" for s in range(SPEAKERS)),
        speakers=np.arange(clips) % SPEAKERS,
        parts=("",) * clips,
        excluded={},
    )


def states(data: Dataset, *, seed: int) -> np.ndarray:
    """(N, S*D) float32: correlated columns, as a network's are; classes and speakers differ a little."""
    rng = np.random.default_rng(seed)
    width = WIDTH * len(STATS)
    hidden = rng.standard_normal((len(data), 100)).astype(np.float32)
    hidden += 0.3 * rng.standard_normal((len(data.classes), 100)).astype(np.float32)[data.y]
    hidden += 0.5 * rng.standard_normal((SPEAKERS, 100)).astype(np.float32)[data.speakers]
    hidden *= np.float32(0.97) ** np.arange(100, dtype=np.float32)
    noise = rng.standard_normal((len(data), width), dtype=np.float32)
    return hidden @ rng.standard_normal((100, width)).astype(np.float32) + noise


if __name__ == "__main__":
    main()
