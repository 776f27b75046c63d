"""Does a worker on another machine see the stores that its units read?"""

from __future__ import annotations

import socket
from collections.abc import Sequence
from typing import Any

from layerprobe.cache.common.errors import StoreError
from layerprobe.cache.store.feature_store import FeatureStore
from layerprobe.cache.store.index import Shards


def require_stores(shared: Sequence[Any]) -> None:
    """Raise StoreError if this machine lacks the folder of a store. shared: plans, stores and other objects,
    or what has a plan."""
    for one in shared:
        plan = getattr(one, "plan", one)
        store = getattr(plan, "store", plan)
        if not isinstance(store, FeatureStore) or type(store.shards) is not Shards:
            continue  # nothing to read, or on object storage
        if not store.folder.is_dir():
            raise StoreError(
                f"a worker on {socket.gethostname()} cannot see the cache",
                where=str(store.folder),
                do="give all workers the cache under this path, as on a file system that they share",
            )
