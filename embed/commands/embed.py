"""The commands of this room: `embed` and `doctor`. Parse, call one function, print."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from layerprobe.cache.common.console import print_json, print_table, say
from layerprobe.cache.common.text import format_bytes, format_duration
from layerprobe.embed.config import DEFAULT_CACHE, DEVICES, DTYPES, PRECISIONS, STATS, EmbedConfig
from layerprobe.embed.extract.progress import run

if TYPE_CHECKING:
    from layerprobe.embed.extract.run import Summary

Table = Annotated[Path, typer.Argument(help="Table of clips: CSV, TSV or Parquet.", show_default=False)]
Model = Annotated[
    str, typer.Option(help="Preset, hub id, local folder, random:NAME, mfcc or fbank.", show_default=False)
]
Cache = Annotated[Path, typer.Option(help="Folder of the stores.")]
PathColumn = Annotated[str | None, typer.Option(help="Column with the audio files, if not found by itself.")]
SpeakerColumn = Annotated[str | None, typer.Option(help="Column with the speakers, if not `speaker`.")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document instead of a table.")]
Device = Annotated[str, typer.Option(help=f"{', '.join(DEVICES)}, or as torch calls it (cuda:1).")]
SHOWN = 5  # failures told at the end of a run; all are in failures.csv


def names(text: str) -> tuple[str, ...]:
    """`a,b` → ("a", "b")."""
    return tuple(part.strip() for part in text.split(",") if part.strip())


def embed(
    table: Table,
    model: Model,
    cache: Cache = DEFAULT_CACHE,
    revision: Annotated[str | None, typer.Option(help="Branch, tag or commit of a hub model.")] = None,
    layers: Annotated[
        str, typer.Option(help="all, or names and ranges: 0-6,9,final,cnn.")
    ] = EmbedConfig.layers,
    stats: Annotated[str, typer.Option(help=f"Statistics over frames, of {','.join(STATS)}.")] = ",".join(
        EmbedConfig.stats
    ),
    frames: Annotated[bool, typer.Option("--frames", help="Keep every frame instead of statistics.")] = False,
    dtype: Annotated[str, typer.Option(help=f"Storage: {', '.join(DTYPES)}.")] = EmbedConfig.dtype,
    precision: Annotated[
        str, typer.Option(help=f"Computation: {', '.join(PRECISIONS)}; auto is bf16 on a GPU that has it.")
    ] = EmbedConfig.precision,
    device: Device = EmbedConfig.device,
    window: Annotated[
        float, typer.Option(help="Longer clips are cut into windows; seconds.")
    ] = EmbedConfig.window,
    batch_seconds: Annotated[
        float | None, typer.Option(help="Padded sound in a batch; the default suits the device.")
    ] = EmbedConfig.batch_seconds,
    on_error: Annotated[
        str, typer.Option(help="A clip that cannot be used: skip (list it and go on) or stop.")
    ] = EmbedConfig.on_error,
    seed: Annotated[int, typer.Option(help="Seed of random: weights.")] = EmbedConfig.seed,
    path_column: PathColumn = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Tell clips, hours, bytes and time; compute nothing.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Run every clip once through a frozen model and cache each layer's states.

    What the store already holds is not computed again, so an interrupted run is taken up by the same command.
    """
    config = EmbedConfig(
        model=model,
        cache=cache,
        revision=revision,
        layers=layers,
        stats=names(stats),
        frames=frames,
        dtype=dtype,
        precision=precision,
        device=device,
        window=window,
        on_error=on_error,
        seed=seed,
        batch_seconds=batch_seconds,
    )
    from layerprobe.embed.manifest.clips import read_manifest

    clips = read_manifest(table, path_column=path_column, must_exist=False)
    if dry_run:
        from layerprobe.embed.extract.estimate import estimate

        told = estimate(clips, config)
        if as_json:
            print_json(told)
            return
        print_table(
            [
                {
                    "clips": told.clips,
                    "already cached": told.cached,
                    "to compute": told.missing,
                    "hours": told.hours,
                    "bytes": format_bytes(told.bytes),
                    "time": format_duration(told.seconds),
                    "x real time": told.real_time,
                    "failed": told.failed,
                }
            ]
        )
        return
    summary = run(clips, config)
    tell_summary(summary, as_json=as_json)
    if summary.stopped:
        say(f"stopped: {summary.embedded} clips are kept; the same command takes up the rest")
        raise typer.Exit(130)


def tell_summary(summary: Summary, *, as_json: bool) -> None:
    """What a run did, as one row; failures by name on stderr."""
    failed = [
        {"path": path, "start": start, "end": end, "reason": reason}
        for (path, start, end), reason in summary.failures.items()
    ]
    real_time = summary.seconds / summary.elapsed if summary.elapsed else 0.0
    if as_json:
        told = {**vars(summary), "failures": failed, "real_time": real_time}
        print_json(told)
    else:
        print_table(
            [
                {
                    "clips": summary.clips,
                    "embedded": summary.embedded,
                    "cached": summary.cached,
                    "copies": summary.copies,
                    "failed": len(failed),
                    "sound": format_duration(summary.seconds),
                    "took": format_duration(summary.elapsed),
                    "x real time": real_time,
                    "store": str(summary.store),
                }
            ]
        )
    if failed:
        for entry in failed[:SHOWN]:
            times = ["" if entry[name] is None else str(entry[name]) for name in ("start", "end")]
            segment = f"#{'-'.join(times)}" if any(times) else ""
            say(f"  {entry['path']}{segment}: {entry['reason']}")
        more = f" (and {len(failed) - SHOWN} more)" if len(failed) > SHOWN else ""
        say(
            f"{len(failed)} clips could not be used{more}; all are listed in {summary.store / 'failures.csv'}"
        )
