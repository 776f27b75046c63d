"""The command `cache prune`; the work is done in `cache.maintenance.prune`."""

from __future__ import annotations

import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated

from layerprobe.cache.commands.selection import CacheSelection
from layerprobe.cache.common.console import print_json, print_table, say_error
from layerprobe.cache.common.errors import InputError
from layerprobe.cache.common.options import FLAT, OutputOptions, TableColumns
from layerprobe.cache.common.text import format_bytes


@dataclass(frozen=True, kw_only=True)
class PruneOptions:
    """Options of `cache prune`."""

    selection: Annotated[CacheSelection, FLAT] = CacheSelection()
    keep: list[Path] | None = None
    """Table whose clips stay; clips that are in no such table are removed. Repeatable."""
    columns: Annotated[TableColumns, FLAT] = TableColumns()
    yes: bool = False
    """Remove without asking."""
    output: Annotated[OutputOptions, FLAT] = OutputOptions()


def prune(options: Annotated[PruneOptions, FLAT] = PruneOptions()) -> None:
    """Remove a model's states, or those of clips that are in none of the given tables."""
    from layerprobe.cache.maintenance.prune import apply_plan, keys_to_keep, plan_pruning
    from layerprobe.cache.store import failures
    from layerprobe.embed.manifest.clips import read_manifest

    selection = options.selection
    clips = [
        clip
        for table in options.keep or ()
        for clip in read_manifest(table, **vars(options.columns), must_exist=False)
    ]
    cache = selection.existing_cache()
    keys = None if options.keep is None else keys_to_keep(cache, clips)
    # An unreadable file is listed as its first channel in stores that hold each channel.
    both = [*clips, *(replace(clip, own_channel=0) for clip in clips)]
    names = {failures.failure_id(clip) for clip in both}
    planned = plan_pruning(cache, model=selection.canonical_model(), keep=keys, names=names)
    selection.check_any([*planned.stores, *planned.faults])
    rows = [
        {
            "model": store.model,
            "fingerprint": store.fingerprint,
            "clips to remove": store.clips,
            "clips to keep": store.remaining_clips,
            "failures to forget": len(store.failures),
            "size": format_bytes(store.nbytes),
        }
        for store in planned.stores
    ]
    for fault in planned.faults:
        say_error(f"fault, left alone: {fault}")
    if not options.output.json:
        print_table(rows)
    elif not options.yes:  # the JSON document is printed at the end; the user must see what to agree to
        for row in rows:
            say_error(", ".join(f"{name}: {value}" for name, value in row.items()))
    removed = bool(rows) and (options.yes or _confirm("Remove them?"))
    if removed:
        apply_plan(planned)
    if options.output.json:
        print_json({"removed": removed, "stores": rows})
    elif rows:
        print("removed" if removed else "nothing was removed")


def _confirm(question: str) -> bool:
    """Ask on stderr until the answer is yes or no (the default). Raises InputError at the end of input."""
    while True:
        print(f"{question} [y/N]: ", end="", file=sys.stderr, flush=True)
        line = sys.stdin.readline()
        if not line:
            say_error("")
            raise InputError(
                "no answer was given, nothing was removed", do="give --yes to remove without asking"
            )
        answer = line.strip().lower()
        if answer in ("y", "yes"):
            return True
        if answer in ("n", "no", ""):
            return False
        say_error("please answer y or n")
