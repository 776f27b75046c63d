"""Which stores of a cache a command works on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from layerprobe.cache.common.console import say_error
from layerprobe.cache.common.errors import StoreError
from layerprobe.cache.common.options import DEFAULT_CACHE, CacheFolder

if TYPE_CHECKING:
    from layerprobe.cache.store.feature_store import FeatureStore


@dataclass(frozen=True, kw_only=True)
class CacheSelection:
    """A cache, or one model's stores in it."""

    cache: CacheFolder = DEFAULT_CACHE
    model: str | None = None
    """Only this model's stores; all if omitted."""

    def existing_cache(self) -> Path:
        """The cache folder. Raises StoreError if it does not exist."""
        return existing_folder(self.cache)

    def canonical_model(self) -> str | None:
        """The name under which the model's stores are kept."""
        from layerprobe.embed.models.presets import canonical_name

        return None if self.model is None else canonical_name(self.model)

    def open_stores(self) -> tuple[list[FeatureStore], list[StoreError]]:
        """The readable stores, and the faults of the others, which are printed."""
        from layerprobe.cache.maintenance.catalog import open_stores

        stores, faults = open_stores(self.existing_cache(), model=self.canonical_model())
        for fault in faults:
            say_error(f"fault: {fault}")
        self.check_any([*stores, *faults])
        return stores, faults

    def check_any(self, stores: Sequence[object]) -> None:
        """Raise StoreError if a model is named that has no store; `stores` is what was found of it."""
        from layerprobe.cache.maintenance.catalog import no_states_error, open_stores

        if self.model is None or stores:
            return
        readable, _ = open_stores(self.cache)
        if self.canonical_model() not in {store.extraction.model for store in readable}:
            raise no_states_error(self.model, readable, self.cache)


def existing_folder(cache: Path) -> Path:
    """The cache folder. Raises StoreError if it does not exist."""
    if not cache.is_dir():
        problem = "is a file" if cache.is_file() else "no such folder"
        raise StoreError(problem, where=str(cache), do="give the --cache that embed filled")
    return cache
