"""The commands `cache info|verify|compact|export|prune`: parse, call one function, print."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import typer

from layerprobe.cache.common.console import print_json, print_table, say
from layerprobe.cache.common.errors import InputError, StoreError
from layerprobe.cache.common.text import format_bytes
from layerprobe.embed.config import DEFAULT_CACHE

if TYPE_CHECKING:
    from layerprobe.cache.maintenance.export import Format
    from layerprobe.cache.store.feature_store import FeatureStore

app = typer.Typer(no_args_is_help=True, help="Look after the cached states.")

Cache = Annotated[Path, typer.Option(help="Folder of the stores.")]
OneModel = Annotated[str | None, typer.Option(help="Only this model's stores; all by default.")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document instead of a table.")]
Fingerprint = Annotated[
    str | None, typer.Option(help="Which extraction, where a model was cached in several ways.")
]
FORMATS = ("h5", "npz", "parquet")


@app.command()
def info(cache: Cache = DEFAULT_CACHE, model: OneModel = None, as_json: Json = False) -> None:
    """What is cached: models, fingerprints, clips, hours, layers, bytes, last write."""
    from layerprobe.cache.maintenance.catalog import describe

    found = describe(_existing(cache), model=_canonical(model))
    _check_any(cache, model, [*found.stores, *found.faults])
    if as_json:
        print_json(
            {
                "cache": found.cache,
                "stores": [{**vars(s), "last_write": s.last_write.isoformat()} for s in found.stores],
                "remembered": found.remembered,
                "faults": found.faults,
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
                for store in found.stores
            ]
        )
        print(f"remembered of sound files, safe to delete: {format_bytes(found.remembered)}")
    for fault in found.faults:
        say(f"fault: {fault}")


@app.command()
def verify(
    cache: Cache = DEFAULT_CACHE,
    model: OneModel = None,
    repair: Annotated[
        bool, typer.Option("--repair", help="Set damaged shards aside; the next embed computes their clips.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Read every shard whole and find any flipped bit; status 1 if damage is found and not repaired."""
    from layerprobe.cache.maintenance.verify import quarantine_record
    from layerprobe.cache.maintenance.verify import verify as verify_store

    stores, faults = _opened(cache, model)
    found = [verify_store(store, repair=repair) for store in stores]
    set_aside = [fault.where for fault in faults if repair and quarantine_record(fault)]
    if as_json:
        print_json(found)
    else:
        print_table(
            [
                {
                    "model": one.model,
                    "fingerprint": one.fingerprint,
                    "shards": one.shards,
                    "clips": one.clips,
                    "size": format_bytes(one.nbytes),
                    "damaged": len(one.damaged),
                    "set aside": len(one.quarantined),
                }
                for one in found
            ]
        )
    for shard in (shard for one in found for shard in one.damaged):
        say(f"damaged: {shard.path}: {shard.reason}")
        clips = ", ".join(shard.clips[:5]) or "unknown, its own list is damaged"
        more = f" and {len(shard.clips) - 5} more" if len(shard.clips) > 5 else ""
        say(f"  clips: {clips}{more}")
    for stranger in (path for one in found for path in one.foreign_files):
        say(f"not ours, never read: {stranger}")
    for record in set_aside:
        say(f"set aside: {record}; the next embed writes it anew and finds its shards")
    damaged = any(one.damaged for one in found)
    if damaged and not repair:
        say("run it again with --repair, then embed: only the clips of damaged shards are computed anew")
    if (damaged and not repair) or len(set_aside) < len(faults):
        raise typer.Exit(1)


@app.command()
def compact(cache: Cache = DEFAULT_CACHE, model: OneModel = None, as_json: Json = False) -> None:
    """Merge many small shards into few and drop duplicates, while readers and writers go on."""
    from layerprobe.cache.maintenance.compact import compact as compact_store

    done = [compact_store(store) for store in _opened(cache, model)[0]]
    if as_json:
        print_json(done)
        return
    print_table(
        [
            {
                "model": one.model,
                "fingerprint": one.fingerprint,
                "clips": one.clips,
                "duplicates removed": one.duplicates,
                "shards": f"{one.shards_before} -> {one.shards_after}",
                "size": f"{format_bytes(one.bytes_before)} -> {format_bytes(one.bytes_after)}",
            }
            for one in done
        ]
    )


@app.command()
def export(
    model: Annotated[str, typer.Option(help="Model whose states are exported, as for embed.")],
    layer: Annotated[str, typer.Option(help="The layer's name, such as 9 or final.")],
    out: Annotated[Path, typer.Option(help="File to write.")],
    table: Annotated[
        Path | None, typer.Argument(help="Table of clips whose rows, in its order, are exported.")
    ] = None,
    cache: Cache = DEFAULT_CACHE,
    stats: Annotated[str, typer.Option(help="Statistics, side by side; all that are cached.")] = "",
    format: Annotated[
        str | None, typer.Option(help=f"{', '.join(FORMATS)}; by default as the file's ending says.")
    ] = None,
    revision: Annotated[str | None, typer.Option(help="Branch, tag or commit of a hub model.")] = None,
    fingerprint: Fingerprint = None,
    as_json: Json = False,
) -> None:
    """Write one layer as a plain file: `states` (N, W), `paths` and `keys` (N,)."""
    from layerprobe.cache.maintenance.catalog import find_store
    from layerprobe.cache.maintenance.export import export as export_layer
    from layerprobe.cache.maintenance.export import select_rows
    from layerprobe.embed.manifest.clips import read_manifest
    from layerprobe.embed.models.layers import CNN, embed_options
    from layerprobe.embed.models.lookup import check_names, wanted_fields

    kind = format or out.suffix.removeprefix(".")
    if kind not in FORMATS:
        told = f"--out {out}: its ending names no format" if format is None else f"--format {format}"
        raise InputError(told, do=f"choose --format from {', '.join(FORMATS)}")
    columns = tuple(part.strip() for part in stats.split(",") if part.strip())
    match = wanted_fields(model, revision=revision, cache=cache)
    check_names(model, revision=revision, layers=layer, stats=columns, also=(CNN,))
    store = find_store(
        _existing(cache),
        model=model,
        match=match,
        layers=(layer,),
        stats=columns,
        fingerprint=fingerprint,
        options=embed_options(layers=(layer,), stats=columns),
    )
    rows = None
    if table is not None:
        rows, left_out = select_rows(read_manifest(table, must_exist=False), store, cache=cache, table=table)
        if left_out:
            first = ", ".join(left_out[:5]) + (" …" if len(left_out) > 5 else "")
            say(f"note: {len(left_out)} clips could not be embedded and are left out: {first}")
    done = export_layer(
        store, out, layer=layer, format=cast("Format", kind), stats=columns or None, clips=rows
    )
    if as_json:
        print_json(done)
        return
    print(f"{done.clips} clips × {done.width} numbers of layer {done.layer} in {done.path}")


@app.command()
def prune(
    cache: Cache = DEFAULT_CACHE,
    model: OneModel = None,
    keep: Annotated[
        list[Path] | None,
        typer.Option(help="Table whose clips stay; what no given table holds goes. Repeatable."),
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    as_json: Json = False,
) -> None:
    """Remove a model's states, or those of clips that are in none of the given tables."""
    from layerprobe.cache.maintenance.prune import apply_plan, keys_to_keep, plan_pruning
    from layerprobe.cache.store import failures
    from layerprobe.embed.manifest.clips import read_manifest

    clips = [clip for table in keep or () for clip in read_manifest(table, must_exist=False)]
    keys = None if keep is None else keys_to_keep(_existing(cache), clips)
    names = {failures.failure_id(clip) for clip in clips}
    planned = plan_pruning(_existing(cache), model=_canonical(model), keep=keys, names=names)
    _check_any(cache, model, [*planned.stores, *planned.faults])
    rows = [
        {
            "model": one.model,
            "fingerprint": one.fingerprint,
            "clips that go": one.clips,
            "clips that stay": one.remaining_clips,
            "failures forgotten": len(one.failures),
            "size": format_bytes(one.nbytes),
        }
        for one in planned.stores
    ]
    for fault in planned.faults:
        say(f"fault, left alone: {fault}")
    if not as_json:
        print_table(rows)
    elif not yes:  # the document comes when all is done, and nobody should agree to what was not shown
        for row in rows:
            say(", ".join(f"{name}: {value}" for name, value in row.items()))
    removed = bool(rows) and (yes or _agreed("Remove them?"))
    if removed:
        apply_plan(planned)
    if as_json:
        print_json({"removed": removed, "stores": rows})
    elif rows:
        print("removed" if removed else "nothing was removed")


def _agreed(question: str) -> bool:
    """What a person answers. Raises InputError where nobody does."""
    try:
        return typer.confirm(question, default=False, err=True)
    except (typer.Abort, EOFError) as error:
        if isinstance(error.__context__, KeyboardInterrupt):
            raise KeyboardInterrupt from None
        say("")
        raise InputError("nobody answered, nothing was removed", do="give --yes to go on") from error


def _opened(cache: Path, model: str | None) -> tuple[list[FeatureStore], list[StoreError]]:
    """The stores that can be read, and the faults of the others, which are told."""
    from layerprobe.cache.maintenance.catalog import open_stores

    stores, faults = open_stores(_existing(cache), model=_canonical(model))
    for fault in faults:
        say(f"fault: {fault}")
    _check_any(cache, model, [*stores, *faults])
    return stores, faults


def _check_any(cache: Path, model: str | None, found: Sequence[object]) -> None:
    """Raises StoreError where a model is named of which there is nothing; `found` need not be looked for."""
    from layerprobe.cache.maintenance.catalog import no_states_error, open_stores

    if model is None or found:
        return
    stores, _ = open_stores(cache)
    if _canonical(model) not in {store.extraction.model for store in stores}:
        raise no_states_error(model, stores, cache)


def _existing(cache: Path) -> Path:
    if not cache.is_dir():
        told = "is a file" if cache.is_file() else "no such folder"
        raise StoreError(told, where=str(cache), do="give the --cache that embed filled")
    return cache


def _canonical(model: str | None) -> str | None:
    from layerprobe.embed.models.presets import canonical_name

    return None if model is None else canonical_name(model)
