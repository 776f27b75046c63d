"""The command `cache export`; the work is done in `cache.maintenance.export`."""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

from layerprobe.cache.commands.selection import existing_folder
from layerprobe.cache.common.console import print_json, say
from layerprobe.cache.common.disk import check_overwrite
from layerprobe.cache.common.errors import InputError
from layerprobe.cache.common.options import FLAT, Force, ModelName, OutputOptions, StoreOptions, TableColumns

if TYPE_CHECKING:
    from layerprobe.cache.maintenance.export import Format

FORMATS = ("h5", "npz", "parquet")
MAX_CLIPS = 5  # left out, listed by name


@dataclass(frozen=True)
class ExportOptions:
    """Options of `cache export`."""

    table: Path | None = None
    """Table of clips to export, in its order; all clips of the store if omitted."""
    _: KW_ONLY
    model: ModelName
    layer: str
    """Name of the layer, such as 9 or final."""
    out: Path
    """File to write."""
    stats: tuple[str, ...] = ()
    """Statistics, side by side; all that are cached if omitted."""
    format: str | None = None
    """h5, npz or parquet; chosen by the file's suffix if omitted."""
    force: Force = False
    source: Annotated[StoreOptions, FLAT] = StoreOptions()
    columns: Annotated[TableColumns, FLAT] = TableColumns()
    output: Annotated[OutputOptions, FLAT] = OutputOptions()


def export(options: Annotated[ExportOptions, FLAT]) -> None:
    """Write one layer as a plain file: `states` (N, W), `paths` and `keys` (N,)."""
    from layerprobe.cache.maintenance.export import export as export_layer
    from layerprobe.cache.maintenance.export import select_rows
    from layerprobe.embed.manifest.channels import stored_channels
    from layerprobe.embed.manifest.clips import read_manifest
    from layerprobe.embed.models.lookup import find_model_store

    kind = options.format or options.out.suffix.removeprefix(".")
    if kind not in FORMATS:
        problem = f"--format {kind}" if options.format else f"--out {options.out}: its suffix names no format"
        raise InputError(problem, do=f"choose --format from {', '.join(FORMATS)}")
    check_overwrite(options.out, force=options.force, inputs=[options.table] if options.table else [])
    existing_folder(options.source.cache)
    store = find_model_store(
        model=options.model, layers=options.layer, stats=options.stats, **vars(options.source)
    )
    rows = None
    if options.table is not None:
        clips = stored_channels(
            read_manifest(options.table, **vars(options.columns), must_exist=False), store
        )
        rows, left_out, note = select_rows(clips, store, cache=options.source.cache, table=options.table)
        if note:
            say(f"note: {note}")
        if left_out:
            names = ", ".join(left_out[:MAX_CLIPS]) + (" …" if len(left_out) > MAX_CLIPS else "")
            say(f"note: {len(left_out)} clips could not be embedded and are left out: {names}")
    exported = export_layer(
        store,
        options.out,
        layer=options.layer,
        format=cast("Format", kind),
        stats=options.stats or None,
        clips=rows,
    )
    if options.output.json:
        print_json(exported)
        return
    print(f"{exported.clips} clips × {exported.width} numbers of layer {exported.layer} in {exported.path}")
