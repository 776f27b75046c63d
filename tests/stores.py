"""Small stores for tests."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from layerprobe.cache import FeatureStore
from layerprobe.cache.identity.extraction import FRAME, Extraction

Clips = Mapping[str, Mapping[str, np.ndarray]]


def extraction(**changes: Any) -> Extraction:
    """Three layers, one of another width; any field may be given."""
    fields: dict[str, Any] = {
        "model": "tiny",
        "revision": "",
        "weights": "seed:0",
        "architecture": "a",
        "normalise": True,
        "layers": ("0", "1", "cnn"),
        "widths": (8, 8, 4),
        "stats": ("mean", "std"),
        "dtype": "float16",
        "precision": "fp32",
        "window": 30.0,
        "rate": 16_000,
        "frame_rate": 50.0,
        "receptive_field": 0.025,
    }
    return Extraction(**{**fields, **changes})


def clips(of: Extraction, count: int, *, seed: int) -> dict[str, dict[str, np.ndarray]]:
    """key → layer → (S, D) of random states."""
    rng = np.random.default_rng(seed)
    return {
        rng.bytes(32).hex(): {
            layer: rng.standard_normal((len(of.stats), width)).astype(of.dtype)
            for layer, width in zip(of.layers, of.widths, strict=True)
        }
        for _ in range(count)
    }


def fill(store: FeatureStore, held: Clips) -> None:
    """One writer adds the clips, each a second long; where frames are stored, with a single frame."""
    frames = 1 if store.extraction.stats == (FRAME,) else 50
    with store.writer() as writer:
        for key, states in held.items():
            writer.add(key, states, frames=frames, seconds=1.0, path=f"{key[:8]}.wav")


def check(store: FeatureStore, held: Clips) -> None:
    """The store has these clips and no others, bit for bit."""
    assert store.keys() == sorted(held)
    frames = store.extraction.stats == (FRAME,)
    for layer in store.extraction.layers if held else ():
        expected = np.stack([states[layer].reshape(-1) for states in held.values()]).astype("f4")
        keys = list(held)
        found = (
            np.concatenate([store.frames(layer, key) for key in keys]) if frames else store.layer(layer, keys)
        )
        np.testing.assert_array_equal(found, expected)
