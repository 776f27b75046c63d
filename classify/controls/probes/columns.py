"""Probes of the columns of a table, on every layer of a store."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from layerprobe.cache.common.console import stage
from layerprobe.cache.store.feature_store import FeatureStore
from layerprobe.classify.controls.checkpoint import Step, run_steps
from layerprobe.classify.controls.probes.description_length import coding_blocks
from layerprobe.classify.controls.probes.linear import by_layer, class_scores, order_seed, probe_layer
from layerprobe.classify.controls.probes.targets import FOLDS, Target, probe_targets
from layerprobe.classify.data.dataset import Dataset
from layerprobe.classify.features.frames import clip_states, main_statistic
from layerprobe.classify.search.nested import derive_seed
from layerprobe.embed.manifest.clips import Clip

MAX_CLIPS = 4000  # a larger corpus is subsampled


@stage("probes")
def probe_columns(
    out: Path | None,
    store: FeatureStore,
    data: Dataset,
    clips: Sequence[Clip],
    names: Sequence[str],
    *,
    jobs: int,
    seed: int,
) -> dict[str, Any]:
    """Linear probes for each target on each layer: UAR, selectivity and description length, with intervals.

    names: columns of the table, `speaker` or `duration`; `left_out` receives the reason for each skipped one.
    out: run folder in which finished layers are saved, if any. See `linear.class_scores` for the entries.
    coding_blocks: clips of each block of the description length, except for the target `speaker`.

    Linear probes as in Alain & Bengio (2017): logistic regression with balanced classes and one fixed
    penalty, on each clip's mean over frames, scaled on training clips. Nothing is tuned: they compare layers
    and targets. The control task of selectivity has the same probe and labels that are shuffled within each
    speaker's training clips. The description length is that of `description_length`.
    """
    seconds = store.seconds(data.keys)
    targets, left_out = probe_targets(names, data, {clip.id: clip for clip in clips}, seconds, seed=seed)
    rows = sampled_rows(len(data.keys), seed=seed)
    targets = [replace(target, y=target.y[rows], folds=target.folds[rows]) for target in targets]
    keys = [data.keys[row] for row in rows.tolist()]
    speakers = None if data.speakers is None else data.speakers[rows]
    steps = [
        Step(name=f"linear-{layer}", function=_layer, arguments=(store, layer, keys, targets, speakers, seed))
        for layer in store.extraction.layers
    ]
    results = run_steps(out, steps, jobs=jobs) if targets else []
    clusters = np.arange(len(rows)) if speakers is None else speakers
    entries = []
    for target in targets:
        scores = class_scores(target, [result[target.name] for result in results], clusters, seed=seed)
        entries.append({**target.summary(), "layers": by_layer(store, scores)})
    blocks = [len(block) for block in coding_blocks(clusters, seed=order_seed(seed))]
    return {
        "statistic": main_statistic(store), "clips": len(rows), "folds": FOLDS, "coding_blocks": blocks,
        "targets": entries, "left_out": left_out,
    }  # fmt: skip


def sampled_rows(count: int, *, seed: int) -> np.ndarray:
    """The clips that are probed: all of `count`, or MAX_CLIPS at random, in order."""
    if count <= MAX_CLIPS:
        return np.arange(count)
    rng = np.random.default_rng(derive_seed(seed, "probed clips"))
    return np.sort(rng.choice(count, MAX_CLIPS, replace=False))


def _layer(
    store: FeatureStore,
    layer: str,
    keys: Sequence[str],
    targets: Sequence[Target],
    speakers: np.ndarray | None,
    seed: int,
) -> dict[str, Any]:
    X = clip_states(store, layer, keys, stats=[main_statistic(store)])
    return probe_layer(X, targets, speakers, seed=seed)
