"""Small synthetic data sets for studies: labelled clips of several speakers, and a store with their
states."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from layerprobe.cache.identity.digests import DigestCache
from layerprobe.cache.identity.extraction import FRAME
from layerprobe.cache.store.feature_store import FeatureStore
from layerprobe.cache.store.keys import clip_key
from layerprobe.classify.data.dataset import Dataset
from layerprobe.classify.features.fold_features import FoldFeatures, LayerStates
from layerprobe.classify.features.lru_cache import LruCache
from layerprobe.embed.manifest.clips import Clip
from tests.stores import extraction


def made_clips(folder: Path, *, speakers: int = 9, each: int = 8, classes: int = 3) -> list[Clip]:
    """`each` clips of every speaker, classes in turn; all files differ."""
    folder.mkdir(parents=True, exist_ok=True)
    clips = []
    for speaker in range(speakers):
        for number in range(each):
            name = f"s{speaker}-{number}.wav"
            (folder / name).write_bytes(f"{folder} {name}".encode())
            label = "abcdefgh"[(number + speaker) % classes]
            clips.append(
                Clip(id=name, file=str(folder / name), labels={"emotion": label}, speaker=f"s{speaker}")
            )
    return clips


def made_store(
    cache: Path,
    clips: list[Clip],
    *,
    layers: tuple[str, ...] = ("0", "1"),
    width: int = 6,
    signal: float = 1.0,
    seed: int = 0,
) -> FeatureStore:
    """States that separate the classes, better in later layers; each speaker has its own offset."""
    of = extraction(
        layers=layers, widths=(width,) * len(layers), stats=("mean", "std"), dtype="float32", notes={}
    )
    store = FeatureStore.create(cache, of)
    rng = np.random.default_rng(seed)
    names = sorted({clip.speaker or "" for clip in clips})
    offset = dict(zip(names, rng.standard_normal((len(names), 2, width)), strict=True))
    labels = sorted({clip.labels["emotion"] for clip in clips})
    centre = dict(zip(labels, rng.standard_normal((len(labels), 2, width)), strict=True))
    with DigestCache(cache) as digests:
        found = digests.hash_files([clip.path for clip in clips])
    with store.writer() as writer:
        for clip in clips:
            digest = found[clip.path]
            assert isinstance(digest, str)
            states = {}
            for depth, layer in enumerate(layers, 1):
                noise = rng.standard_normal((2, width)) + 0.5 * offset[clip.speaker or ""]
                pull = signal * depth / len(layers)
                states[layer] = (noise + pull * centre[clip.labels["emotion"]]).astype(np.float32)
            key = clip_key(digest, start=clip.start, end=clip.end)
            writer.add(key, states, frames=10, seconds=1.0, path=str(clip.path))
    return store


def made_frames(
    cache: Path, clips: list[Clip], *, layers: tuple[str, ...] = ("0",), width: int = 6, seed: int = 0
) -> FeatureStore:
    """Frames that only their order separates into classes: a class is the number of sign changes.

    In every clip half of the frames have each sign, so that means and deviations carry nothing.
    """
    of = extraction(layers=layers, widths=(width,) * len(layers), stats=(FRAME,), dtype="float32", notes={})
    store = FeatureStore.create(cache, of)
    rng = np.random.default_rng(seed)
    axis = 2 * rng.standard_normal(width)
    labels = sorted({clip.labels["emotion"] for clip in clips})
    with DigestCache(cache) as digests, store.writer() as writer:
        found = digests.hash_files([clip.path for clip in clips])
        for clip in clips:
            digest = found[clip.path]
            assert isinstance(digest, str)
            turns = 2 ** labels.index(clip.labels["emotion"])  # +-, +-+-, +-+-+-+-
            frames = 8 * int(rng.integers(1, 4))
            side = np.where(np.arange(frames) * 2 * turns // frames % 2, -1, 1)[:, None]
            states = {
                layer: (side * axis + rng.standard_normal((frames, width))).astype(np.float32)
                for layer in layers
            }
            key = clip_key(digest, start=clip.start, end=clip.end)
            writer.add(key, states, frames=frames, seconds=frames / 50, path=str(clip.path))
    return store


def made_data(
    *, clips: int = 120, speakers: int = 8, classes: int = 3, seed: int = 0, shares: list[int] | None = None
) -> Dataset:
    """Labels and speakers without files; `shares` are the speakers' clip counts."""
    rng = np.random.default_rng(seed)
    counts = shares or [clips // speakers] * speakers
    of = np.repeat(np.arange(len(counts)), counts)
    y = rng.permutation(np.arange(len(of)) % classes)
    return Dataset(
        ids=tuple(f"c{i}" for i in range(len(of))),
        keys=tuple(f"{i:064x}" for i in range(len(of))),
        classes=tuple("abcdefgh"[:classes]),
        y=y,
        speaker_names=tuple(f"s{s}" for s in range(len(counts))),
        speakers=of,
        partitions=("",) * len(of),
        excluded={},
    )


def with_numbers(clips: list[Clip], *, seed: int = 0) -> list[Clip]:
    """The clips with a column `arousal`: the class's number with noise and an offset of each speaker."""
    rng = np.random.default_rng(seed)
    names = sorted({clip.speaker or "" for clip in clips})
    offset = dict(zip(names, 0.3 * rng.standard_normal(len(names)), strict=True))
    values = [
        3
        + "abcdefgh".index(clip.labels["emotion"])
        + offset[clip.speaker or ""]
        + 0.3 * rng.standard_normal()
        for clip in clips
    ]
    return [
        replace(clip, labels={**clip.labels, "arousal": f"{value:.4f}"})
        for clip, value in zip(clips, values, strict=True)
    ]


def made_numbers(
    *, rows: int = 240, width: int = 12, noise: float = 0.5, seed: int = 0
) -> tuple[FoldFeatures, np.ndarray, np.ndarray]:
    """As `made_features`, with numbers y (N,) that depend on the states linearly and through one product."""
    shared, X, _ = made_features(rows=rows, width=width, seed=seed)
    rng = np.random.default_rng(seed + 1)
    Z = (X - X.mean(0)) / X.std(0)
    y = Z @ rng.standard_normal(Z.shape[1]) / Z.shape[1] ** 0.5 + 0.5 * Z[:, 0] * Z[:, 1]
    y = 40 + 7 * (y + noise * rng.standard_normal(rows))
    train, test = shared.train, shared.test
    features = FoldFeatures(shared.layers, y, train=train, test=test, classes=0, cache=LruCache(1 << 30))
    return features, X, y


def made_features(
    *, rows: int = 240, width: int = 12, classes: int = 3, signal: float = 0.8, seed: int = 0
) -> tuple[FoldFeatures, np.ndarray, np.ndarray]:
    """What trials share for two thirds of the rows as training part; and X (N, 2*width) and y (N,)."""
    rng = np.random.default_rng(seed)
    y = rng.permutation(np.arange(rows) % classes)
    scale = np.exp(rng.uniform(-2, 2, 2 * width))
    mixing = rng.standard_normal((2 * width, 2 * width)) / width**0.5
    X = (
        rng.standard_normal((rows, 2 * width)) + signal * rng.standard_normal((classes, 2 * width))[y]
    ) @ mixing
    X = (X * scale + 3 * scale).astype(np.float32)
    train, test = np.arange(rows * 2 // 3), np.arange(rows * 2 // 3, rows)
    states = LayerStates(lambda: X, ("mean", "std"), width, np.arange(rows) % 8)
    shared = FoldFeatures((states,), y, train=train, test=test, classes=classes, cache=LruCache(1 << 30))
    return shared, X, y
