"""A cache of speech embeddings: every layer's states of every clip, in checksummed HDF5 shards.

`python cli.py embed` fills a cache, `python cli.py cache info` lists its stores, `FeatureStore` reads one:

    from pathlib import Path
    from layerprobe.cache import FeatureStore

    store = FeatureStore(Path("features/hubert-base/0123456789abcdef"))
    X = store.layer("9", store.keys())               # (N, 2 * 768) float32: mean | std

More examples are in docs/feature-store.md, the files on disk in docs/store-format.md.

Packages, each importing only those before it: `common` (errors, files, console), `identity` (what a clip and
an extraction are), `store` (files, reading), `maintenance` (verify, compact, prune, export), `commands`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from layerprobe.cache.store.feature_store import FeatureStore

__all__ = ["FeatureStore"]


def __getattr__(name: str) -> object:
    # Lazy, so that importing cache.common.errors loads neither numpy nor HDF5.
    if name == "FeatureStore":
        from layerprobe.cache.store.feature_store import FeatureStore

        return FeatureStore
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
