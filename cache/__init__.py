"""A cache of speech embeddings that loses nothing and never lies."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cache.store import FeatureStore

__all__ = ["FeatureStore"]


def __getattr__(name: str) -> object:
    # Late, so that `from cache.errors import …` costs neither numpy nor HDF5.
    if name == "FeatureStore":
        from cache.store import FeatureStore

        return FeatureStore
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
