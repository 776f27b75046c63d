"""The command `cache info`."""

from __future__ import annotations

from typing import Annotated

from layerprobe.cache.commands.selection import CacheSelection
from layerprobe.cache.common.console import print_json, print_table, say_error
from layerprobe.cache.common.options import FLAT, OutputOptions
from layerprobe.cache.common.text import format_bytes


def info(
    selection: Annotated[CacheSelection, FLAT] = CacheSelection(),
    output: Annotated[OutputOptions, FLAT] = OutputOptions(),
) -> None:
    """List what is cached: models, fingerprints, clips, hours, layers, bytes, last write."""
    from layerprobe.cache.maintenance.catalog import describe_cache

    cache = describe_cache(selection.existing_cache(), model=selection.canonical_model())
    selection.check_any([*cache.stores, *cache.faults])
    if output.json:
        print_json(
            {
                "cache": cache.cache,
                "stores": [{**vars(s), "last_write": s.last_write.isoformat()} for s in cache.stores],
                "remembered": cache.remembered,
                "faults": cache.faults,
            }
        )
    else:
        print_table(
            [
                {
                    "model": store.model,
                    "fingerprint": store.fingerprint,
                    "clips": store.clips,
                    "hours": store.hours,
                    "layers": len(store.layers),
                    "stats": ",".join(store.stats),
                    "dtype": store.dtype,
                    "size": format_bytes(store.nbytes),
                    "shards": store.shards,
                    "failed": "unknown" if store.failed is None else store.failed,
                    "last write": f"{store.last_write:%Y-%m-%d %H:%M}",
                }
                for store in cache.stores
            ]
        )
        print(f"hashes and measurements of audio files: {format_bytes(cache.remembered)}")
    for fault in cache.faults:
        say_error(f"fault: {fault}")
