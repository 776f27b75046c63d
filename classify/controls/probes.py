"""A linear probe for one thing after the other on every layer: what each layer gives away."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np

from layerprobe.cache.identity.extraction import FRAME
from layerprobe.cache.store.feature_store import FeatureStore
from layerprobe.classify.controls.checkpoint import Step, results
from layerprobe.classify.controls.probe_targets import FOLDS, Target, targets_of
from layerprobe.classify.data.dataset import Dataset
from layerprobe.classify.features.frames import mean_states
from layerprobe.classify.features.scaling import orthogonal_columns, standardise
from layerprobe.classify.heads.newton import Solver, cross_entropy
from layerprobe.classify.scores.bootstrap import mean_intervals, score_intervals
from layerprobe.classify.scores.metrics import Interval, cluster_counts
from layerprobe.classify.search.nested import derive
from layerprobe.embed.manifest.clips import Clip

STRENGTH = 3.0  # C relative to the inputs' power, as for the head `logreg`
MEAN = "mean"
MOST_CLIPS = 4000  # of a larger corpus so many are drawn


def probe_columns(
    folder: Path | None,
    store: FeatureStore,
    data: Dataset,
    clips: Sequence[Clip],
    names: Sequence[str],
    *,
    jobs: int,
    seed: int,
) -> dict[str, Any]:
    """UAR of a linear probe for each of `names` on each layer, with 95 % intervals.

    names: columns of the table, `speaker` or `duration`; those that cannot be probed for are told in
    `left_out`. The probe is logistic regression with one penalty for all, each class weighing the same, on
    each clip's mean over frames, scaled on training clips alone: it is made to compare layers and targets,
    and tunes nothing. Folds keep speakers apart, but where the speaker is asked for. Intervals resample
    speakers. Parts that are done are kept in `folder`, if there is one.
    """
    seconds = store.seconds(data.keys)
    targets, left_out = targets_of(names, data, {clip.id: clip for clip in clips}, seconds, seed=seed)
    layers, keys, speakers = store.extraction.layers, data.keys, data.speakers
    stats = MEAN if {MEAN, FRAME} & set(store.extraction.stats) else store.extraction.stats[0]
    rows = np.arange(len(keys))
    if len(rows) > MOST_CLIPS:
        rows = np.sort(
            np.random.default_rng(derive(seed, "probed clips")).choice(rows, MOST_CLIPS, replace=False)
        )
    used = [_of_rows(target, rows) for target in targets]
    held = [keys[row] for row in rows.tolist()]
    parts = [
        Step(name=f"probe-{layer}", make=_layer, arguments=(store, layer, held, stats, used))
        for layer in layers
    ]
    made = results(folder, parts, jobs=jobs) if targets else []
    clusters = np.arange(len(rows)) if speakers is None else speakers[rows]
    return {
        "statistic": stats,
        "clips": len(rows),
        "folds": FOLDS,
        "targets": [
            {
                "target": target.name,
                "classes": len(target.classes),
                "clips": int((target.y >= 0).sum()),
                "chance": 1 / len(target.classes),
                "within_speakers": target.within,
                "layers": [
                    {"layer": layer, "uar": asdict(interval)}
                    for layer, interval in zip(
                        layers,
                        _intervals(target, [part[target.name] for part in made], clusters, seed),
                        strict=True,
                    )
                ],
            }
            for target in used
        ],
        "left_out": left_out,
    }


def _of_rows(target: Target, rows: np.ndarray) -> Target:
    """The same target, of fewer clips."""
    return replace(target, y=target.y[rows], folds=target.folds[rows])


def _intervals(
    target: Target, predicted: Sequence[Sequence[int]], clusters: np.ndarray, seed: int
) -> list[Interval]:
    """Of each layer's answers. Where speakers are the classes, the mean over speakers is resampled."""
    used = target.y >= 0
    y, asked = target.y[used], np.array(predicted)[:, used]
    if not target.within:
        counts = np.stack(
            [cluster_counts(y, row, clusters[used], classes=len(target.classes)) for row in asked], axis=1
        )
        return score_intervals(counts, metric="uar", seed=seed)
    sizes = np.bincount(y)
    recalls = np.stack([np.bincount(y, weights=row == y) / sizes for row in asked], axis=1)
    return mean_intervals(recalls, seed=seed)


def _layer(
    store: FeatureStore, layer: str, keys: Sequence[str], stats: str, targets: Sequence[Target]
) -> dict[str, Any]:
    """For each target the classes (N,) that are answered on one layer, -1 for clips that are not used."""
    if store.extraction.stats == (FRAME,):
        X = mean_states(store, layer, keys)
    else:
        X = store.layer(layer, keys, stats=[stats])
    predicted = {target.name: np.full(len(X), -1) for target in targets}
    for within in (False, True):
        together = [target for target in targets if target.within == within]
        for fold in range(FOLDS) if together else ():
            tested = together[0].folds == fold
            train, test = standardise(X[~tested], X[tested], variance=True)
            train, test = orthogonal_columns(train, test)
            for target in together:
                scores = _fit(train, target.y[~tested], test, classes=len(target.classes))
                predicted[target.name][tested] = np.where(target.y[tested] >= 0, scores.argmax(1), -1)
    return {name: rows.tolist() for name, rows in predicted.items()}


def _fit(train: np.ndarray, y: np.ndarray, test: np.ndarray, *, classes: int) -> np.ndarray:
    """(m, K) scores of the test rows; training rows with y = -1 have no weight."""
    used = y >= 0
    share = used.sum() / (classes * np.bincount(y[used], minlength=classes))
    weight = np.where(used, share[y], 0.0)
    power = float(np.square(train).sum(dtype=np.float64) / len(train))
    solver = Solver(
        train, np.where(used, y, 0), weight, classes=classes, loss=cross_entropy, curvature=1 / classes
    )
    W, b = solver.solve(penalty=power * (2 if classes == 2 else 1) / STRENGTH)
    return test @ W + b
