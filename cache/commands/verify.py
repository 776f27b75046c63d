"""The command `cache verify`; the work is done in `cache.maintenance.verify`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

from layerprobe.cache.commands.selection import CacheSelection
from layerprobe.cache.common.console import print_json, print_table, say_error
from layerprobe.cache.common.options import FLAT, OutputOptions
from layerprobe.cache.common.text import format_bytes

if TYPE_CHECKING:
    from layerprobe.cache.maintenance.verify import Verification

MAX_CLIPS = 5  # of a damaged shard, listed by name


@dataclass(frozen=True, kw_only=True)
class VerifyOptions:
    """Options of `cache verify`."""

    selection: Annotated[CacheSelection, FLAT] = CacheSelection()
    repair: bool = False
    """Move damaged shards aside; the next embed computes their clips again."""
    output: Annotated[OutputOptions, FLAT] = OutputOptions()


def verify(options: Annotated[VerifyOptions, FLAT] = VerifyOptions()) -> int:
    """Read every shard and verify its checksum; exit status 1 if damage is found and not repaired."""
    from layerprobe.cache.maintenance.verify import quarantine_record
    from layerprobe.cache.maintenance.verify import verify as verify_store

    stores, faults = options.selection.open_stores()
    results = [verify_store(store, repair=options.repair) for store in stores]
    set_aside = [fault.where for fault in faults if options.repair and quarantine_record(fault)]
    if options.output.json:
        print_json(results)
    else:
        print_table(
            [
                {
                    "model": result.model,
                    "fingerprint": result.fingerprint,
                    "shards": result.shards,
                    "clips": result.clips,
                    "size": format_bytes(result.nbytes),
                    "damaged": len(result.damaged),
                    "set aside": len(result.quarantined),
                }
                for result in results
            ]
        )
    _print_damage(results)
    for record in set_aside:
        say_error(f"set aside: {record}; the next embed rewrites it and finds its shards")
    damaged = any(result.damaged for result in results)
    if damaged and not options.repair:
        say_error(
            "run it again with --repair, then embed: only the clips of damaged shards are computed again"
        )
    return int((damaged and not options.repair) or len(set_aside) < len(faults))


def _print_damage(results: list[Verification]) -> None:
    for shard in (shard for result in results for shard in result.damaged):
        say_error(f"damaged: {shard.path}: {shard.reason}")
        clips = ", ".join(shard.clips[:MAX_CLIPS]) or "unknown, the shard's own list is damaged"
        more = f" and {len(shard.clips) - MAX_CLIPS} more" if len(shard.clips) > MAX_CLIPS else ""
        say_error(f"  clips: {clips}{more}")
    for path in (path for result in results for path in result.foreign_files):
        say_error(f"not written by layerprobe, never read: {path}")
