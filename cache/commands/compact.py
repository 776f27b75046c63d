"""The command `cache compact`; the work is done in `cache.maintenance.compact`."""

from __future__ import annotations

from typing import Annotated

from layerprobe.cache.commands.selection import CacheSelection
from layerprobe.cache.common.console import print_json, print_table
from layerprobe.cache.common.options import FLAT, OutputOptions
from layerprobe.cache.common.text import format_bytes


def compact(
    selection: Annotated[CacheSelection, FLAT] = CacheSelection(),
    output: Annotated[OutputOptions, FLAT] = OutputOptions(),
) -> None:
    """Merge many small shards into few and drop duplicates, while readers and writers continue."""
    from layerprobe.cache.maintenance.compact import compact as compact_store

    results = [compact_store(store) for store in selection.open_stores()[0]]
    if output.json:
        print_json(results)
        return
    print_table(
        [
            {
                "model": result.model,
                "fingerprint": result.fingerprint,
                "clips": result.clips,
                "duplicates removed": result.duplicates,
                "shards": f"{result.shards_before} -> {result.shards_after}",
                "size": f"{format_bytes(result.bytes_before)} -> {format_bytes(result.bytes_after)}",
            }
            for result in results
        ]
    )
