"""The clips in a plane, layer by layer: principal components of their cached states; their sound files."""

from __future__ import annotations

import base64
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np

from layerprobe.cache.common.errors import InputError
from layerprobe.cache.identity.extraction import FRAME
from layerprobe.cache.store.feature_store import FeatureStore
from layerprobe.classify.config import MIX
from layerprobe.classify.report.figures.charts import Cloud
from layerprobe.classify.report.run_data import RunData
from layerprobe.embed.manifest.clips import Clip

MOST_CLIPS = 10_000  # on the map; of more, a sample
MOST_GROUPS = 24  # classes or speakers that have a colour of their own
MEAN = "mean"
LARGEST = 32_767  # coordinates are written as 16-bit integers


@dataclass(frozen=True, kw_only=True)
class ClipMap:
    """rows: (N,) rows of the run's predictions. xy: layer → (N, 2). explained: layer → the share of the
    variance that the plane holds.
    """

    rows: np.ndarray
    statistic: str
    xy: Mapping[str, np.ndarray]
    explained: Mapping[str, float]


def table_clips(run: RunData) -> dict[str, Clip]:
    """The clips of the run's table by id. Raises InputError if the table cannot be read."""
    from layerprobe.embed.manifest.clips import read_manifest

    command = run.record.get("command") or {}
    if "table" not in command:
        raise InputError("the run does not say which table it was made from")
    clips = read_manifest(
        Path(command["table"]),
        path_column=command.get("path_column"),
        speaker_column=command.get("speaker_column"),
        must_exist=False,
        note=lambda _: None,  # classify has printed the notes on the table
    )
    return {clip.id: clip for clip in clips}


def sound_links(run: RunData, clips: Mapping[str, Clip], folder: Path) -> list[str]:
    """(N,) for each prediction a link from `folder` to its sound file, or "" if there is no file."""
    base = os.path.realpath(folder)
    links = []
    for id in run.clips.tolist():
        clip = clips.get(id)
        if clip is None or not clip.path.is_file():
            links.append("")
            continue
        link = quote(os.fsencode(os.path.relpath(os.path.realpath(clip.file), base)))
        begin, end = clip.start or 0, clip.end
        if begin or end is not None:
            link += f"#t={begin:g}" + ("" if end is None else f",{end:g}")
        links.append(link)
    return links


def clip_map(run: RunData, clips: Mapping[str, Clip]) -> ClipMap:
    """Project the test clips' states to two dimensions. Raises InputError if the cache does not have them.

    Principal component analysis of each layer's mean over frames (or the statistic that is cached), columns
    standardised. Of more than MOST_CLIPS clips a sample is projected, the same in every report.
    """
    from layerprobe.classify.data.dataset import join_labels

    if run.finetuned:
        raise InputError("a fine-tuning has no cached states")
    folder = Path(run.record["store"])
    if not folder.is_dir():
        raise InputError("its cached states are not there", where=str(folder))
    store = FeatureStore(folder)
    data = join_labels([clips[id] for id in clips], store, target=run.summary["target"])
    key_of = dict(zip(data.ids, data.keys, strict=True))
    rows = np.flatnonzero([id in key_of for id in run.clips.tolist()])
    if len(rows) < 3:
        raise InputError("its clips are not in the cache", where=str(folder))
    if len(rows) > MOST_CLIPS:
        rows = np.sort(np.random.default_rng(0).choice(rows, MOST_CLIPS, replace=False))
    keys = [key_of[id] for id in run.clips[rows].tolist()]
    xy, explained = {}, {}
    stats = store.extraction.stats
    statistic = MEAN if {MEAN, FRAME} & set(stats) else stats[0]
    for layer in dict.fromkeys(entry["layer"] for entry in run.summary["layers"]):
        if layer != MIX:
            xy[layer], explained[layer] = _plane(_states(store, layer, keys, statistic))
    return ClipMap(rows=rows, statistic=statistic, xy=xy, explained=explained)


def _states(store: FeatureStore, layer: str, keys: Sequence[str], statistic: str) -> np.ndarray:
    """(N, D) float32."""
    if store.extraction.stats == (FRAME,):
        from layerprobe.classify.features.frames import mean_states

        return mean_states(store, layer, keys)
    return store.layer(layer, keys, stats=[statistic])


def _plane(states: np.ndarray) -> tuple[np.ndarray, float]:
    """(N, 2) the first two principal components, and the share of the variance that they hold."""
    from sklearn.decomposition import PCA

    deviation = states.std(0)
    scaled = (states - states.mean(0)) / np.where(deviation > 1e-6 * deviation.max(), deviation, np.inf)
    count = min(2, scaled.shape[1])
    found = PCA(
        count, svd_solver="covariance_eigh" if scaled.shape[1] < 2000 else "randomized", random_state=0
    )
    xy = np.zeros((len(states), 2))
    xy[:, :count] = found.fit_transform(scaled)
    return xy, float(np.nansum(found.explained_variance_ratio_))


def map_figure(run: RunData, found: ClipMap, layer: str) -> Cloud:
    """The map of one layer for a paper, coloured by class."""
    return Cloud(
        name="clip_map",
        title=f"The clips on layer {layer}",
        alt=f"Each test clip as a point: the first two principal components of layer {layer}, by class.",
        x_label=f"layer {layer}: PC 1 and 2, {found.explained[layer]:.0%} of the variance",
        x=found.xy[layer][:, 0],
        y=found.xy[layer][:, 1],
        group=run.labels[found.rows],
        groups=run.classes,
    )


def map_data(run: RunData, found: ClipMap, links: Sequence[str], *, first: str) -> dict[str, Any]:
    """The map for the page's script: coordinates in base64, clips as parallel lists.

    first: the layer that is shown first.
    """
    layers = list(found.xy)
    columns = {"class": [run.classes[k] for k in run.labels[found.rows].tolist()]}
    if run.speakers is not None:
        columns["speaker"] = run.speakers[found.rows].tolist()
    correct = run.predicted[found.rows] == run.labels[found.rows]
    columns["prediction"] = ["correct" if one else "wrong" for one in correct.tolist()]
    colours = {}
    for name, values in columns.items():
        groups, codes = np.unique(np.array(values), return_inverse=True)
        colours[name] = {"groups": groups.tolist(), "codes": codes.ravel().tolist()}
    return {
        "layers": layers,
        "first": layers.index(first) if first in layers else 0,
        "xy": [_packed(found.xy[layer]) for layer in layers],
        "explained": [found.explained[layer] for layer in layers],
        "clips": run.clips[found.rows].tolist(),
        "predicted": [run.classes[k] for k in run.predicted[found.rows].tolist()],
        "colours": colours,
        "links": [links[row] for row in found.rows.tolist()] if any(links) else [],
        "mostGroups": MOST_GROUPS,
    }


def _packed(xy: np.ndarray) -> str:
    """(N, 2) as little-endian 16-bit integers in base64; both axes on one scale."""
    scale = LARGEST / max(float(np.abs(xy).max()), 1e-12)
    return base64.b64encode((xy * scale).round().astype("<i2").tobytes()).decode()
