"""Which channels of a recording a store knows as clips of their own."""

from __future__ import annotations

from collections.abc import Sequence

from layerprobe.cache.store import failures
from layerprobe.cache.store.feature_store import FeatureStore
from layerprobe.cache.store.keys import channel_key


def held_channels(store: FeatureStore, keys: Sequence[str]) -> list[int]:
    """For each key of a recording or segment, how many of its channels were embedded or failed.

    "" for an unknown key, which has none. Raises StoreError for a damaged list of failures.
    """
    failed = {failure.key for failure in failures.read(store.folder).values()}
    counts = [0] * len(keys)
    pending = [place for place, key in enumerate(keys) if key]
    channel = 0
    while pending:
        own = [channel_key(keys[place], channel) for place in pending]
        missing = set(store.missing(own))
        channel += 1
        known = [key not in missing or key in failed for key in own]
        pending = [place for place, is_known in zip(pending, known, strict=True) if is_known]
        for place in pending:
            counts[place] = channel
    return counts


def channel_keys(store: FeatureStore, keys: Sequence[str]) -> set[str]:
    """The keys of all channels of these recordings that the store knows."""
    return {
        channel_key(key, channel)
        for key, count in zip(keys, held_channels(store, keys), strict=True)
        for channel in range(count)
    }
