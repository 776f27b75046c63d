"""How the cost of a search grows with clips, layers and classes.

    python benchmarks/bench_growth.py [--clips 1000,5000,20000] [--layers 1,4] [--classes 3,7] [--trials 5]

Uses synthetic states (768 columns × mean and std, classes that differ slightly, 40 speakers). For each
head, varies one size with the others at their first value, and searches one outer fold on one core as a
study does: `--trials` random trials over three inner folds without pruning, and the final fit. Prints one
JSON line per measurement, each from a separate process: `seconds` of CPU time, including the work that
trials share; `ratio_to_first`, relative to the first size; `peak_mb`; `exact`, whether kernels use every
training clip (false: Nyström approximation).
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from argparse import SUPPRESS, ArgumentParser, RawDescriptionHelpFormatter
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
from layerprobe.classify.features.fold_features import FoldFeatures, LayerStates
from layerprobe.classify.features.kernels import exact_kernels_fit, kernel_bytes, nystroem_landmarks
from layerprobe.classify.features.lru_cache import LruCache
from layerprobe.classify.scores.results import StudyId
from layerprobe.classify.search.nested import search
from layerprobe.classify.search.storage import silence_optuna

WIDTH, STATS, SPEAKERS = 768, ("mean", "std"), 40


def main() -> None:
    """Vary one size at a time, each measurement in a separate process."""
    parser = ArgumentParser(description=__doc__, formatter_class=RawDescriptionHelpFormatter)
    parser.add_argument("--clips", default="1000,5000,20000")
    parser.add_argument("--layers", default="1,4")
    parser.add_argument("--classes", default="3,7")
    parser.add_argument("--heads", default=",".join(StudyConfig.heads))
    parser.add_argument("--trials", type=int, default=5)
    parser.add_argument("--one", default="", help=SUPPRESS)
    arguments = parser.parse_args()
    if arguments.one:
        head, clips, layers, classes = arguments.one.split(",")
        print(json.dumps(measure(head, int(clips), int(layers), int(classes), trials=arguments.trials)))
        return
    varied = {
        name: [int(n) for n in getattr(arguments, name).split(",")] for name in ("clips", "layers", "classes")
    }
    baseline = {name: sizes[0] for name, sizes in varied.items()}
    for head in arguments.heads.split(","):
        first: dict[str, Any] = {}
        for name, sizes in varied.items():
            for size in sizes:
                if first and size == baseline[name]:
                    continue
                point = {**baseline, name: size}
                command = [sys.executable, __file__, "--one", ",".join([head, *map(str, point.values())])]
                command += ["--trials", str(arguments.trials)]
                process = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
                figures = json.loads(process.stdout)
                first = first or figures
                line = {"head": head, **point, "trials": arguments.trials, **figures}
                line["ratio_to_first"] = figures["seconds"] / first["seconds"]
                report("growth", line, device=torch.device("cpu"))


def measure(head: str, clips: int, layers: int, classes: int, *, trials: int) -> dict[str, Any]:
    """Search one outer fold on each of `layers` layers."""
    silence_optuna()
    config = StudyConfig(trials=trials, sampler="random", pruner="none", jobs=1)
    data = synthetic_dataset(clips, classes)
    first = outer_folds(data, split="speaker", folds=config.folds, inner_folds=config.inner_folds, seed=0)[0]
    train, test = len(first.outer.train), len(first.outer.test)
    exact = exact_kernels_fit(train, nbytes=kernel_bytes(train, test), memory=config.memory)
    seconds = 0.0
    for layer in range(layers):
        X = synthetic_states(data, seed=layer)
        with threadpool_limits(1):
            started = time.process_time()
            cache = LruCache(config.memory)
            *inner, outer = (
                fold_features(X, data, fold, exact=exact, cache=cache.section(k))
                for k, fold in enumerate((*first.inner, first.outer))
            )
            for _ in search(StudyId(0, str(layer), head), inner, outer, data.y, config, done=[]):
                pass
            seconds += time.process_time() - started
    return {"seconds": seconds, "exact": exact, "peak_mb": peak_mb()}


def fold_features(X: np.ndarray, data: Dataset, fold: Fold, *, exact: bool, cache: LruCache) -> FoldFeatures:
    """Features that the trials of one fold share."""
    return FoldFeatures(
        (LayerStates(lambda: X, STATS, WIDTH, data.speakers),),
        data.y,
        train=fold.train,
        test=fold.test,
        classes=len(data.classes),
        cache=cache,
        landmarks=None if exact else nystroem_landmarks(len(fold.train), seed=0),
    )


def synthetic_dataset(clips: int, classes: int) -> Dataset:
    """Random labels, balanced over classes and speakers."""
    y = np.random.default_rng(0).integers(0, classes, clips)
    return Dataset(
        ids=tuple(map(str, range(clips))),
        keys=tuple(f"{number:064x}" for number in range(clips)),
        classes=tuple(f"class{k}" for k in range(classes)),
        y=y,
        speaker_names=tuple(f"speaker{s:02}" for s in range(SPEAKERS)),
        speakers=np.arange(clips) % SPEAKERS,
        partitions=("",) * clips,
        excluded={},
    )


def synthetic_states(data: Dataset, *, seed: int) -> np.ndarray:
    """States (N, S*D) float32: correlated columns, slight differences between classes and speakers."""
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
