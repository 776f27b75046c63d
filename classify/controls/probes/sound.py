"""Probes of the sound itself: R² of acoustic targets on every layer of a store."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from layerprobe.cache.common.console import stage
from layerprobe.cache.common.text import format_count
from layerprobe.cache.store.feature_store import FeatureStore
from layerprobe.classify.controls.checkpoint import Step, run_steps
from layerprobe.classify.controls.probes.acoustics import TARGETS, UNITS, measure
from layerprobe.classify.controls.probes.columns import sampled_rows
from layerprobe.classify.controls.probes.linear import by_layer
from layerprobe.classify.controls.probes.ridge import number_scores, ridge_layer
from layerprobe.classify.controls.probes.targets import FOLDS, disjoint_folds
from layerprobe.classify.data.dataset import Dataset
from layerprobe.classify.features.frames import clip_states, main_statistic
from layerprobe.embed.manifest.clips import Clip

FEWEST_CLIPS = 4 * FOLDS


@stage("probes of the sound")
def probe_sound(
    out: Path | None,
    store: FeatureStore,
    data: Dataset,
    clips: Sequence[Clip],
    names: Sequence[str],
    *,
    jobs: int,
    seed: int,
) -> dict[str, Any]:
    """R² of a ridge regression for each of `names` (of `acoustics.TARGETS`) on each layer.

    Folds, clips and intervals are those of `columns.probe_columns`; the penalty is chosen inside the training
    part. Clips without a voiced frame are left out. source: the model that measured the sound. out: run
    folder in which finished layers are saved, if any. Raises as `acoustics.measure`.
    """
    by_id = {clip.id: clip for clip in clips}
    rows = sampled_rows(len(data), seed=seed)
    chosen = [by_id[data.ids[row]] for row in rows.tolist()]
    measured = measure(chosen, [data.keys[row] for row in rows.tolist()], store)
    known = np.isfinite(measured.values).all(1)
    rows, values = rows[known], measured.values[known]
    result: dict[str, Any] = {
        "source": measured.source, "statistic": main_statistic(store), "clips": len(rows), "folds": FOLDS,
        "targets": [], "left_out": {},
    }  # fmt: skip
    if len(rows) < FEWEST_CLIPS:
        why = f"{format_count(len(rows), 'clip')} with voiced frames are too few"
        return {**result, "left_out": dict.fromkeys(names, why)}
    constant = np.ptp(values, axis=0) == 0
    result["left_out"] = {name: "it is always the same" for name in names if constant[TARGETS.index(name)]}
    used = [name for name in names if name not in result["left_out"]]
    Y = values[:, [TARGETS.index(name) for name in used]]
    speakers = None if data.speakers is None else data.speakers[rows]
    folds = disjoint_folds(data.strata[rows], speakers, balance=data.balance[rows], seed=seed)
    keys = [data.keys[row] for row in rows.tolist()]
    steps = [
        Step(name=f"sound-{layer}", function=_layer, arguments=(store, layer, keys, Y, folds, speakers, seed))
        for layer in store.extraction.layers
    ]
    results = run_steps(out, steps, jobs=jobs) if used else []
    clusters = np.arange(len(rows)) if speakers is None else speakers
    for place, name in enumerate(used):
        scores = number_scores(Y[:, place], results, place, clusters)
        layers = by_layer(store, scores)
        result["targets"].append({"target": name, "unit": UNITS[name], "clips": len(rows), "layers": layers})
    return result


def _layer(
    store: FeatureStore,
    layer: str,
    keys: Sequence[str],
    Y: np.ndarray,
    folds: np.ndarray,
    speakers: np.ndarray | None,
    seed: int,
) -> dict[str, Any]:
    X = clip_states(store, layer, keys, stats=[main_statistic(store)])
    return ridge_layer(X, Y, folds, speakers, seed=seed)
