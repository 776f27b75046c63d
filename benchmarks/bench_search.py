"""The search compared with plain scikit-learn pipelines, refitted from scratch for every trial and fold.

    python benchmarks/bench_search.py clips.csv --model random:hubert-base --cache features [--trials 30]

Draws random trials for one outer fold and one layer, runs the same trials with both methods on one core, in
the environment of a study's worker processes, and prints one JSON line per head: CPU times `plain_s` and
`ours_s` (including the work that trials share) and `ratio`. An equal number of warm-up trials with another
seed runs first, because a process of a study runs hundreds. Nothing is pruned. A `logreg` trial covers a
path of C, for which the plain pipeline needs one fit per value; an `xgboost` trial covers several numbers
of rounds, which both methods get from one booster. `max_score_diff` is the largest difference of a trial's
score from the plain pipeline's over `--check` trials; there the plain pipeline runs in double precision to
the optimum, with the PCA of `--pca-solver`. `--layer mix` uses the weighted sum of all layers, which the
plain pipeline computes from their concatenated columns; `svm` only.

`--study` estimates the cost of a full study with plain pipelines, on all columns and without pruning, from
`--trials` trials of each head on layers spread over the model.
"""

from __future__ import annotations

import os
import sys
import time
from argparse import ArgumentParser, RawDescriptionHelpFormatter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import numpy as np
import torch
from optuna.trial import FrozenTrial
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from benchmarks.machine import report
from benchmarks.plain import (
    DEFAULT_TOLERANCE,
    EXACT_TOLERANCE,
    ParameterPath,
    Plain,
    mixture,
    power,
    preparation,
)
from layerprobe.cache.store.feature_store import FeatureStore
from layerprobe.classify.config import MIX, StudyConfig
from layerprobe.classify.data.dataset import Dataset, join_labels
from layerprobe.classify.data.splits import Fold, OuterFold, outer_folds
from layerprobe.classify.features.fold_features import FoldFeatures, LayerStates
from layerprobe.classify.features.lru_cache import LruCache
from layerprobe.classify.heads.registry import HEADS
from layerprobe.classify.scores.results import StudyId
from layerprobe.classify.search.nested import PATH_VALUE, open_study, run_trials, split_params
from layerprobe.classify.search.parallel import WORKER_ENVIRONMENT
from layerprobe.classify.search.storage import silence_optuna
from layerprobe.classify.tasks.classification import CLASSIFICATION
from layerprobe.embed.manifest.clips import read_manifest
from layerprobe.embed.models.lookup import find_model_store


def main() -> None:
    """Compare both methods for each head, or estimate the cost of a plain study."""
    parser = ArgumentParser(description=__doc__, formatter_class=RawDescriptionHelpFormatter)
    parser.add_argument("clips", type=Path, help="table of clips")
    parser.add_argument("--model", default="random:hubert-base")
    parser.add_argument("--cache", type=Path, default=Path("features"))
    parser.add_argument("--target", default=StudyConfig.target)
    parser.add_argument("--heads", default=",".join(StudyConfig().heads))
    parser.add_argument("--layer", default="", help="layer name, or mix; default: the middle layer")
    parser.add_argument("--trials", type=int, default=30)
    parser.add_argument("--check", type=int, default=10, help="number of trials whose scores are compared")
    parser.add_argument(
        "--pca-solver",
        choices=("full", "auto"),
        default="full",
        help="PCA of the plain pipeline: exact, as layerprobe's, or scikit-learn's choice",
    )
    parser.add_argument("--study", action="store_true", help="estimate the cost of a plain study")
    arguments = parser.parse_args()
    if arguments.layer == MIX and not all(HEADS[head].kernel for head in arguments.heads.split(",")):
        parser.error("--layer mix requires --heads svm")
    if any(os.environ.get(name) != value for name, value in WORKER_ENVIRONMENT.items()):
        os.execve(sys.executable, [sys.executable, *sys.argv], {**os.environ, **WORKER_ENVIRONMENT})
    silence_optuna()
    store = find_model_store(arguments.cache, arguments.model)
    config = StudyConfig(target=arguments.target, trials=arguments.trials, sampler="random", pruner="none")
    data = join_labels(read_manifest(arguments.clips, must_exist=False), store, target=config.target)
    folds = outer_folds(
        data, split=config.split, folds=config.folds, inner_folds=config.inner_folds, seed=config.seed
    )
    bench = Bench(store, data, folds, config, solver=arguments.pca_solver)
    layers = store.extraction.layers
    with threadpool_limits(1):
        for head in arguments.heads.split(","):
            if arguments.study:
                figures = bench.plain_study(head, layers)
            else:
                figures = bench.compare_methods(
                    head, arguments.layer or layers[len(layers) // 2], check=arguments.check
                )
            libraries = {name: version(name) for name in ("scikit-learn", "xgboost", "optuna")}
            settings = {"model": arguments.model, "clips": len(data), "libraries": libraries}
            report("search", {"head": head, **settings, **figures}, device=torch.device("cpu"))


class Bench:
    """The first outer fold of a study on one store."""

    def __init__(
        self,
        store: FeatureStore,
        data: Dataset,
        folds: Sequence[OuterFold],
        config: StudyConfig,
        *,
        solver: str,
    ) -> None:
        """solver: `svd_solver` of the plain pipeline's PCA."""
        self._store, self._data, self._folds, self._config = store, data, folds, config
        self._solver = solver
        self._stats = store.extraction.stats

    def compare_methods(self, head: str, layer: str, *, check: int) -> dict[str, Any]:
        """Time the same trials with shared work and with plain pipelines, and compare their scores."""
        names = self._store.extraction.layers if layer == MIX else (layer,)
        X = np.hstack([self._store.layer(name, self._data.keys) for name in names])
        for trial in list(self._ours(head, layer, X, config=replace(self._config, seed=1))):
            self._plain(head, trial.params, X, HEADS[head].path)
        started = time.process_time()
        trials = list(self._ours(head, layer, X))
        ours = time.process_time() - started
        plain = sum(self._plain(head, trial.params, X, HEADS[head].path)[0] for trial in trials)
        name, _ = HEADS[head].path
        differences = []
        for trial in trials[:check]:
            path = name, (trial.user_attrs[PATH_VALUE],)
            _, (score,) = self._plain(
                head, trial.params, X.astype(np.float64), path, tolerance=EXACT_TOLERANCE
            )
            differences.append(abs(score - float(trial.value or 0)))
        return {
            "layer": layer,
            "trials": len(trials),
            "pca_solver": self._solver,
            "inner_folds": len(self._folds[0].inner),
            "plain_s": plain,
            "ours_s": ours,
            "ratio": plain / ours,
            "max_score_diff": max(differences),
        }

    def plain_study(self, head: str, layers: Sequence[str]) -> dict[str, Any]:
        """Mean time of a plain trial on all columns, times the number of trials of a study."""
        spread = [layers[i * len(layers) // self._config.trials] for i in range(self._config.trials)]
        seconds = []
        for number, layer in enumerate(spread):
            X = self._store.layer(layer, self._data.keys)
            (trial,) = self._ours(head, layer, X, config=replace(self._config, trials=1, seed=number))
            elapsed, _ = self._plain(head, {**trial.params, "pca": 0}, X, HEADS[head].path)
            seconds.append(elapsed)
        count = len(layers) * len(self._folds) * StudyConfig.trials
        return {
            "trials_measured": len(seconds),
            "seconds_per_trial": float(np.mean(seconds)),
            "trials_per_study": count,
            "plain_study_core_hours": float(np.mean(seconds)) * count / 3600,
        }

    def _ours(
        self, head: str, layer: str, X: np.ndarray, *, config: StudyConfig | None = None
    ) -> Iterator[FrozenTrial]:
        """Run the trials of a study without its final fit."""
        config = config or self._config
        width = self._store.extraction.widths[0]
        blocks = np.hsplit(X, X.shape[1] // (width * len(self._stats)))
        layers = tuple(
            LayerStates(partial(np.asarray, X), self._stats, width, self._data.speakers) for X in blocks
        )
        cache = LruCache(config.memory)

        def fold_features(fold: Fold, name: str) -> FoldFeatures:
            return FoldFeatures(
                layers,
                self._data.y,
                train=fold.train,
                test=fold.test,
                classes=len(self._data.classes),
                cache=cache.section(name),
            )

        first = self._folds[0]
        id = StudyId(0, layer, head)
        inner = [fold_features(fold, str(k)) for k, fold in enumerate(first.inner)]
        study, outer = open_study(config, []), fold_features(first.outer, "outer")
        yield from run_trials(study, id, inner, outer, self._data.y, config)

    def _plain(
        self,
        head: str,
        trial: dict[str, Any],
        X: np.ndarray,
        path: ParameterPath,
        *,
        tolerance: float = DEFAULT_TOLERANCE,
    ) -> tuple[float, list[float]]:
        """CPU seconds, and the pooled inner score at each value of the path."""
        data, inner = self._data, self._folds[0].inner
        width = self._store.extraction.widths[0]
        prep, params = split_params(trial, layers=X.shape[1] // (width * len(self._stats)))
        pooled: list[list[np.ndarray]] = [[] for _ in path[1]]
        seconds = 0.0
        for fold in inner:
            train, test, y = X[fold.train], X[fold.test], data.y[fold.train]
            if prep.mix:
                steps = mixture(prep, train, stats=self._stats, width=width)
            else:
                steps = preparation(prep, stats=self._stats, width=width, solver=self._solver)
            pipeline = Plain(
                head=head,
                steps=steps,
                params=params,
                power=1.0 if prep.mix else power(steps, train),
                seed=self._config.seed,
                tolerance=tolerance,
            )  # computing `power` is not part of the plain pipeline's time
            started = time.process_time()
            for predictions, predicted in zip(pooled, pipeline.predict(path, train, y, test), strict=True):
                predictions.append(predicted)
            seconds += time.process_time() - started
        true, classes = np.concatenate([data.y[fold.test] for fold in inner]), len(data.classes)
        return seconds, [
            CLASSIFICATION.score(
                true, np.concatenate(predictions), classes=classes, metric=self._config.metric
            )
            for predictions in pooled
        ]


if __name__ == "__main__":
    main()
