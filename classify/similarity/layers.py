"""Every layer of one model against every layer of the same or of another model, on the same clips."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from layerprobe.cache.common.errors import InputError
from layerprobe.cache.store.feature_store import FeatureStore
from layerprobe.classify.data.dataset import embedded_clips, number_speakers
from layerprobe.classify.features.frames import clip_states
from layerprobe.classify.scores.jackknife import group_clusters, jackknife_interval
from layerprobe.classify.similarity.cka import LEAST_CLIPS, linear_cka
from layerprobe.classify.similarity.svcca import principal_directions, svcca
from layerprobe.embed.manifest.clips import Clip

Measure = Literal["cka", "svcca"]
CLIPS_AN_AXIS = 10  # fewer, and canonical correlations are clearly above 0 by chance
MOST_GROUPS = {"cka": 100, "svcca": 10}  # of speakers: svcca is computed anew for each


@dataclass(frozen=True, kw_only=True)
class Similarity:
    """Similarity of each layer of `models[0]` (A of them) to each of `models[1]` (B), which may be the same.

    value, low, high: (A, B); NaN for layers whose states do not differ, low and high also with one speaker.
    of: what intervals resample, "speakers" or "clips". excluded: clips of the table that were not compared.
    """

    models: tuple[str, str]
    layers: tuple[tuple[str, ...], tuple[str, ...]]
    measure: Measure
    stats: tuple[str, ...]
    clips: int
    speakers: int | None
    excluded: int
    value: np.ndarray
    low: np.ndarray
    high: np.ndarray
    notes: tuple[str, ...] = ()

    @property
    def one_model(self) -> bool:
        """Whether a model is compared with itself."""
        return self.models[0] == self.models[1] and self.layers[0] == self.layers[1]


def compare_layers(
    clips: Sequence[Clip],
    stores: Sequence[FeatureStore],
    *,
    names: Sequence[str],
    measure: Measure,
    stats: Sequence[str],
    seed: int,
    report: Callable[[float], None] | None = None,
) -> Similarity:
    """Compare the layers of one store, or of two, on the clips that all of them have.

    names: of the models, one for each store. Clips that could not be embedded are left out. report: called
    with the share that is done. Raises MissingStatesError for clips that were never embedded, and InputError
    for fewer than LEAST_CLIPS clips, clips without a speaker next to clips with one, and a single layer.
    """
    if len(stores) == 1 and len(stores[0].extraction.layers) == 1:
        what = f"{names[0]} has one layer, {stores[0].extraction.layers[0]}, and nothing to compare it with"
        raise InputError(what, do="name a second model with --model")
    joined = [embedded_clips(clips, store) for store in stores]
    failed = {id for one in joined for id in one.failed}
    used = [clip for clip in clips if clip.id not in failed]
    if len(used) < LEAST_CLIPS:
        raise InputError(
            f"{len(used)} clips have states", do=f"layers are compared on {LEAST_CLIPS} clips or more"
        )
    keys = [one.stored_keys(used, store) for one, store in zip(joined, stores, strict=True)]
    _, speakers = number_speakers(used)
    groups = group_clusters(
        np.arange(len(used)) if speakers is None else speakers, most=MOST_GROUPS[measure], seed=seed
    )
    states = [
        [clip_states(store, layer, held, stats=stats) for layer in store.extraction.layers]
        for store, held in zip(stores, keys, strict=True)
    ]
    layers = [array for arrays in states for array in arrays]
    function = linear_cka if measure == "cka" else svcca
    value, without = function(layers, groups, report=report)
    low, high = jackknife_interval(value, without, np.bincount(groups))
    first = len(states[0])
    part = (slice(0, first), slice(first, None) if len(stores) > 1 else slice(0, first))
    return Similarity(
        models=(names[0], names[-1]),
        layers=(stores[0].extraction.layers, stores[-1].extraction.layers),
        measure=measure,
        stats=tuple(stats),
        clips=len(used),
        speakers=None if speakers is None else len(np.unique(speakers)),
        excluded=len(clips) - len(used),
        value=value[part],
        low=np.maximum(low[part], -1 if measure == "cka" else 0),
        high=np.minimum(high[part], 1),
        notes=(
            *dict.fromkeys(one.note for one in joined if one.note),
            *(_few_clips(layers) if measure == "svcca" else ()),
        ),
    )


def _few_clips(layers: Sequence[np.ndarray]) -> tuple[str, ...]:
    """A note where clips are too few for the canonical correlations of so many axes."""
    clips, axes = len(layers[0]), max(principal_directions(layer).shape[1] for layer in layers)
    if clips >= CLIPS_AN_AXIS * axes:
        return ()
    few = f"{clips:,} clips are few for up to {axes} principal axes of a layer"
    return (f"{few}: svcca of unrelated layers is above 0, too; cka is not affected",)
