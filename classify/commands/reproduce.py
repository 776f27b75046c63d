"""The command `reproduce`: look what is there, run what can run, print it beside the published table."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from layerprobe.cache.common.console import print_json, print_table, say
from layerprobe.cache.common.errors import InputError
from layerprobe.classify.config import StudyConfig
from layerprobe.embed.config import DEFAULT_CACHE, DEVICES, EmbedConfig

if TYPE_CHECKING:
    from layerprobe.classify.reproduce.table import RowReport

DEFAULT_OUT = Path("runs/published")


def reproduce(
    rows: Annotated[
        list[str] | None, typer.Argument(help="Rows of the published table; all of them by default.")
    ] = None,
    corpora: Annotated[
        Path | None, typer.Option(help="Folder with the corpora in it, as baved and eyase.")
    ] = None,
    weights: Annotated[
        Path | None,
        typer.Option(help="Folder with weights as OWNER/NAME; else the hub's cache is looked at."),
    ] = None,
    out: Annotated[Path, typer.Option(help="Folder for the tables and runs.")] = DEFAULT_OUT,
    cache: Annotated[Path, typer.Option(help="Folder of the stores.")] = DEFAULT_CACHE,
    trials: Annotated[
        int, typer.Option(help="Of the frozen heads, for each outer fold, layer and head.")
    ] = StudyConfig.trials,
    jobs: Annotated[
        int, typer.Option(help="Processes for the heads; -1 for one per core.")
    ] = StudyConfig.jobs,
    device: Annotated[
        str, typer.Option(help=f"{', '.join(DEVICES)}, or as torch calls it.")
    ] = EmbedConfig.device,
    stand_in: Annotated[
        bool,
        typer.Option("--stand-in", help="Tiny random models and a few synthetic voices: does it all work?"),
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Tell what is there, what is missing and what would run.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object a row.")] = False,
) -> None:
    """Run the published table again: fine-tuned as published, beside frozen heads, and on unseen speakers.

    A row needs its corpora and its weights; what is missing is told with how to get it. Rows that were
    interrupted go on, finished ones are not repeated, and one that fails does not stop the others.
    """
    from layerprobe.classify.reproduce.published import choose
    from layerprobe.classify.reproduce.run import RunSettings, reproduce_rows

    settings = RunSettings(
        corpora=corpora,
        weights=weights,
        out=out,
        cache=cache,
        device=device,
        heads=StudyConfig(trials=trials, jobs=jobs),
        stand_in=stand_in,
    )
    reports = reproduce_rows(choose(rows or ()), settings, dry_run=dry_run)
    if as_json:
        print_json(reports)
    else:
        _print(reports, stand_in=stand_in, dry_run=dry_run)
    failed = [report.row for report in reports if report.state == "failed"]
    if failed:
        say(f"error: {len(failed)} of {len(reports)} rows failed: {', '.join(failed)}")
        raise typer.Exit(1)
    if not dry_run and all(report.state == "missing" for report in reports):
        raise InputError("no row could run", do="get what is missing, or try --stand-in")


def _print(reports: Sequence[RowReport], *, stand_in: bool, dry_run: bool) -> None:
    from layerprobe.classify.reproduce.table import plan_row, table_row

    if dry_run:
        print_table([plan_row(report) for report in reports])
    else:
        title = "accuracy in %; in brackets 95 % over speakers"
        print_table([table_row(report, stand_in=stand_in) for report in reports], title=title)
        print("published: stratified random 80/20 split (seed 101); test scores were monitored in training")
        print("reproduced: same recipe, same split; speaker-independent: test speakers unseen in training")
    for missing in dict.fromkeys(missing for report in reports for missing in report.missing):
        say(f"missing: {missing.name}\n  reason: {missing.reason}")
        say(f"  source: {missing.source}; licence: {missing.licence}\n  expected: {missing.expected}")
    for report in reports:
        for note in report.notes:
            say(f"note: {report.row}: {note}")
