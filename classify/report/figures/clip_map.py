"""The clips in a plane, layer by layer, by PCA or UMAP of their cached states; their sound files."""

from __future__ import annotations

import base64
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np

from layerprobe.cache.common.errors import InputError
from layerprobe.cache.common.options import check_choice
from layerprobe.cache.common.places import is_url, local_store
from layerprobe.cache.store.feature_store import FeatureStore
from layerprobe.cache.store.keys import CHANNEL_MARK
from layerprobe.classify.layer_names import FUSION, is_single
from layerprobe.classify.report.figures.charts import Cloud
from layerprobe.classify.report.run_data import RunData
from layerprobe.embed.manifest.clips import Clip

MOST_CLIPS = 10_000  # on the map; of more, a sample
MOST_GROUPS = 24  # classes or speakers that have a colour of their own
PCA, UMAP = "pca", "umap"
METHODS = (PCA, UMAP)
AXES_OF = {PCA: "the first two principal components", UMAP: "a UMAP projection"}
AXES, NEIGHBOURS = 50, 15  # of UMAP: principal components that it reads, and its own default
LARGEST = 32_767  # coordinates are written as 16-bit integers


@dataclass(frozen=True, kw_only=True)
class ClipMap:
    """rows: (N,) rows of the run's predictions. xy: layer → (N, 2). explained: layer → the share of the
    variance that the plane holds; empty for UMAP, which has no such share.
    """

    method: str
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
    by_id = {clip.id: clip for clip in clips}
    # Of a run on the channels of recordings, each channel's clip is the recording.
    bases = {id: id.rpartition(CHANNEL_MARK)[0] for id in run.clips.tolist()}
    return by_id | {id: by_id[base] for id, base in bases.items() if base in by_id}


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


def clip_map(run: RunData, clips: Mapping[str, Clip], *, method: str = PCA) -> ClipMap:
    """Project the test clips' states to two dimensions. Raises InputError if the cache does not have them.

    Principal component analysis, or UMAP (McInnes, Healy & Melville 2018) of the first AXES components, of
    each layer's mean over frames (or the statistic that is cached), columns standardised. Of more than
    MOST_CLIPS clips a sample is projected, the same in every report.
    """
    from layerprobe.classify.data.dataset import join_labels
    from layerprobe.classify.features.frames import clip_states, main_statistic

    if run.finetuned:
        raise InputError("a fine-tuning has no cached states")
    if run.record.get("kind") == FUSION:
        raise InputError("the maps are in the reports of the single models")
    folder = local_store(run.record["store"])
    if not is_url(run.record["store"]) and not folder.is_dir():
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
    xy, explained, statistic = {}, {}, main_statistic(store)
    for layer in dict.fromkeys(entry["layer"] for entry in run.summary["layers"]):
        if is_single(layer):
            states = _standardised(clip_states(store, layer, keys, stats=[statistic]))
            if method == UMAP:
                xy[layer] = _umap(states)
            else:
                xy[layer], explained[layer] = _components(states, 2)
    return ClipMap(method=method, rows=rows, statistic=statistic, xy=xy, explained=explained)


def check_map(method: str) -> None:
    """Raise InputError for a method that does not exist, or whose package is not installed."""
    check_choice("--map", method, METHODS)
    if method == UMAP and find_spec("umap") is None:
        raise InputError("--map umap requires umap-learn", do="pip install 'layerprobe[umap]'")


def _standardised(states: np.ndarray) -> np.ndarray:
    deviation = states.std(0)
    return (states - states.mean(0)) / np.where(deviation > 1e-6 * deviation.max(), deviation, np.inf)


def _components(states: np.ndarray, most: int) -> tuple[np.ndarray, float]:
    """(N, most) principal components, zero beyond the rank, and the share of the variance that they hold."""
    from sklearn import decomposition

    count = min(most, *states.shape)
    solver = "covariance_eigh" if states.shape[1] < 2000 else "randomized"
    found = decomposition.PCA(count, svd_solver=solver, random_state=0)
    components = np.zeros((len(states), most))
    components[:, :count] = found.fit_transform(states)
    return components, float(np.nansum(found.explained_variance_ratio_))


def _umap(states: np.ndarray) -> np.ndarray:
    """(N, 2), the same in every report; both axes centred."""
    import warnings

    import umap

    components, _ = _components(states, AXES)
    neighbours = min(NEIGHBOURS, len(states) - 1)
    # With few clips, the spectral start needs more points than there are.
    start = "spectral" if len(states) > 4 * NEIGHBOURS else "random"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that a seed means one thread
        xy = umap.UMAP(n_neighbors=neighbours, init=start, random_state=0).fit_transform(components)
    return np.asarray(xy - xy.mean(0), np.float64)


def map_figure(run: RunData, found: ClipMap, layer: str) -> Cloud:
    """The map of one layer for a paper, coloured by class."""
    plane = "UMAP"
    if found.method == PCA:
        plane = f"PC 1 and 2, {found.explained[layer]:.0%} of the variance"
    return Cloud(
        name="clip_map",
        title=f"The clips on layer {layer}",
        alt=f"Each test clip as a point: {AXES_OF[found.method]} of layer {layer}, by class.",
        x_label=f"layer {layer}: {plane}",
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
    name = "class" if run.numbers is None and run.sets is None else str(run.summary["target"])
    colours = {name: {"groups": list(run.classes), "codes": run.labels[found.rows].tolist()}}
    columns = {} if run.speakers is None else {"speaker": run.speakers[found.rows].tolist()}
    if run.sets is not None:
        names = np.array([entry["label"] for entry in run.summary["selected"]["labels"]])
        predicted = [" + ".join(names[own]) for own in run.sets[1, found.rows]]
    elif run.numbers is None:
        correct = run.predicted[found.rows] == run.labels[found.rows]
        columns["prediction"] = ["correct" if one else "wrong" for one in correct.tolist()]
        predicted = [run.classes[k] for k in run.predicted[found.rows].tolist()]
    else:
        pairs = run.numbers[:, found.rows].T.tolist()
        predicted = [f"{guess:.4g} (true: {true:.4g})" for true, guess in pairs]
    for name, values in columns.items():
        groups, codes = np.unique(np.array(values), return_inverse=True)
        colours[name] = {"groups": groups.tolist(), "codes": codes.ravel().tolist()}
    return {
        "layers": layers,
        "first": layers.index(first) if first in layers else 0,
        "xy": [_packed(found.xy[layer]) for layer in layers],
        "method": found.method,
        "meaning": AXES_OF[found.method],
        "explained": [found.explained[layer] for layer in layers if layer in found.explained],
        "clips": run.clips[found.rows].tolist(),
        "predicted": predicted,
        "colours": colours,
        "links": [links[row] for row in found.rows.tolist()] if any(links) else [],
        "mostGroups": MOST_GROUPS,
    }


def _packed(xy: np.ndarray) -> str:
    """(N, 2) as little-endian 16-bit integers in base64; both axes on one scale."""
    scale = LARGEST / max(float(np.abs(xy).max()), 1e-12)
    return base64.b64encode((xy * scale).round().astype("<i2").tobytes()).decode()
