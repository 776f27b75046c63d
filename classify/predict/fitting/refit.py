"""A layer and head fitted to all clips of a study with given parameters."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from layerprobe.classify.features.fitted import FittedInputs, FittedLayer
from layerprobe.classify.features.fitted_frames import FittedFrames
from layerprobe.classify.features.fold_features import BOTH, Preprocessing
from layerprobe.classify.features.frames import Frames
from layerprobe.classify.features.joined import read_layer
from layerprobe.classify.features.kernels import exact_kernels_fit, kernel_bytes, nystroem_landmarks
from layerprobe.classify.features.lru_cache import LruCache
from layerprobe.classify.features.sampling import Recipe, make_recipe
from layerprobe.classify.features.scaling import scale
from layerprobe.classify.features.streamed.fitted import fit_streamed
from layerprobe.classify.heads.fitted import TrainingRows
from layerprobe.classify.heads.registry import head_of
from layerprobe.classify.predict.system import System
from layerprobe.classify.search.nested import split_params
from layerprobe.classify.search.plan import Plan, layer_states


def refit(
    plan: Plan,
    layer: str,
    head: str,
    params: Mapping[str, Any],
    *,
    temperature: float,
    frames: Callable[[], Frames] | None = None,
) -> System:
    """Fit a layer and head with these parameters to all clips of the plan.

    frames: reads those of the layer, for a store that holds frames.
    """
    streamed = plan.streams(head)
    one, own = head_of(plan.config.task, head, streamed=streamed), dict(params)
    value = own.pop(one.path[0]) if one.path[0] else one.path[1][0]
    prep, own = split_params(own, layers=len(plan.layers_of(layer)))
    inputs: FittedInputs | FittedFrames
    if streamed:
        inputs, rows = _fit_streamed(plan, layer, prep, kernel=one.kernel)
    elif frames is None:
        inputs, rows = _fit_inputs(plan, layer, prep, kernel=one.kernel)
    else:
        inputs, rows = _fit_frames(plan, layer, prep, frames())
    return System(inputs=inputs, head=one.refit(rows, own, value, plan.config.seed), temperature=temperature)


def _fit_inputs(
    plan: Plan, layer: str, prep: Preprocessing, *, kernel: bool
) -> tuple[FittedInputs, TrainingRows]:
    """Statistics over frames of all clips, as the head receives them."""
    names = plan.layers_of(layer)
    shares = prep.mix or (1.0,) * len(names)
    keys, stats = plan.data.keys, prep.stats.split(BOTH)
    y, speakers, rows_shares = plan.data.y, plan.data.speakers, None
    recipe = _recipe(plan, names, prep)
    if recipe is not None:
        rows_shares = np.concatenate([np.ones(len(y)), recipe.weight])
        y = np.concatenate([y, recipe.y])
    columns, layers = [], []
    for name, share in zip(names, shares, strict=True):
        X = read_layer(plan.store, name, keys, stats=stats)
        if recipe is not None:
            X = np.concatenate([X, recipe.apply(X)])
        fitted, Z = FittedLayer.fit(name, X, prep, speakers, share=share if kernel else None)
        layers.append(fitted)
        columns.append(Z)
    count = len(y)
    exact = exact_kernels_fit(count, nbytes=kernel_bytes(count, 0), memory=plan.config.memory)
    rows = TrainingRows(
        Z=np.hstack(columns),
        y=y,
        classes=len(plan.data.classes),
        landmarks=None if exact else nystroem_landmarks(count, seed=plan.config.seed),
        layers=len(names),
        speakers=speakers,
        shares=rows_shares,
    )
    return FittedInputs(tuple(layers)), rows


def _fit_streamed(
    plan: Plan, layer: str, prep: Preprocessing, *, kernel: bool
) -> tuple[FittedInputs, TrainingRows]:
    """As `_fit_inputs`, of more clips than fit into memory."""
    data, classes = plan.data, len(plan.data.classes)
    (states,) = layer_states(plan, (layer,), cache=LruCache(plan.config.memory))
    fitted, Z = fit_streamed(layer, states, prep, data.y, classes=classes, kernel=kernel)
    rows = TrainingRows(Z=Z, y=data.y, classes=classes, speakers=data.speakers, streamed=True)
    return FittedInputs((fitted,)), rows


def _fit_frames(
    plan: Plan, layer: str, prep: Preprocessing, frames: Frames
) -> tuple[FittedFrames, TrainingRows]:
    """Every frame of all clips, as the head receives them."""
    data = plan.data
    everything = np.arange(len(data))
    fitted, scaled = FittedFrames.fit(layer, frames, prep.scaling, train=everything, speakers=data.speakers)
    rows = TrainingRows(
        Z=np.empty((len(data), 0), np.float32),
        y=data.y,
        classes=len(data.classes),
        frames=scaled,
        speakers=data.speakers,
    )
    return fitted, rows


def _recipe(plan: Plan, names: Sequence[str], prep: Preprocessing) -> Recipe | None:
    """How rows are added to all clips of the plan; None without sampling."""
    if prep.sampling == "none":
        return None
    stats = plan.config.stats or plan.store.extraction.stats

    def states() -> np.ndarray:
        read = (read_layer(plan.store, name, plan.data.keys, stats=[one]) for name in names for one in stats)
        return np.hstack([scale(X, X[:0], variance=True)[0] for X in read])

    return make_recipe(plan.data.y, prep.sampling, states, seed=plan.config.seed)
