"""The commands about published work: `reproduce` (a table) and `protocols` (splits)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import KW_ONLY, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from layerprobe.cache.common.console import print_json, print_table, say, say_error
from layerprobe.cache.common.errors import InputError
from layerprobe.cache.common.options import DEFAULT_CACHE, FLAT, CacheFolder, Device, OutputOptions
from layerprobe.classify.config import StudyConfig
from layerprobe.embed.config import EmbedConfig

if TYPE_CHECKING:
    from layerprobe.classify.reproduce.table import RowReport


@dataclass(frozen=True)
class ReproduceOptions:
    """Options of `reproduce`."""

    rows: list[str] | None = None
    """Rows of the published table; all if omitted."""
    _: KW_ONLY
    corpora: Path | None = None
    """Folder that contains the corpora as baved and eyase."""
    weights: Path | None = None
    """Folder with weights as OWNER/NAME; the hub's cache if omitted."""
    out: Path = Path("runs/published")
    """Folder for the tables and runs."""
    cache: CacheFolder = DEFAULT_CACHE
    trials: int = StudyConfig.trials
    """Trials of the frozen heads, for each outer fold, layer and head."""
    jobs: int = StudyConfig.jobs
    """Worker processes for the heads; -1 for one per core."""
    device: Device = EmbedConfig.device
    stand_in: bool = False
    """Use tiny random models and a few synthetic voices, to check that everything runs."""
    dry_run: bool = False
    """Report what is available, what is missing and what would run."""
    output: Annotated[OutputOptions, FLAT] = OutputOptions()


def reproduce(options: Annotated[ReproduceOptions, FLAT] = ReproduceOptions()) -> int:
    """Rerun the published table: as published, with frozen heads, and both on unseen speakers.

    A row requires its corpora and its weights; the command says what is missing and how to get it.
    Interrupted rows continue, finished rows are not repeated, and a row that fails does not stop the others.
    """
    from layerprobe.classify.reproduce.published import choose
    from layerprobe.classify.reproduce.run import RunSettings, reproduce_rows

    settings = RunSettings(
        corpora=options.corpora,
        weights=options.weights,
        out=options.out,
        cache=options.cache,
        device=options.device,
        heads=StudyConfig(trials=options.trials, jobs=options.jobs),
        stand_in=options.stand_in,
    )
    reports = reproduce_rows(choose(options.rows or ()), settings, dry_run=options.dry_run)
    if options.output.json:
        print_json(reports)
    else:
        _print_reports(reports, stand_in=options.stand_in, dry_run=options.dry_run)
    failed = [report.row for report in reports if report.state == "failed"]
    if failed:
        say_error(f"error: {len(failed)} of {len(reports)} rows failed: {', '.join(failed)}")
        return 1
    if not options.dry_run and all(report.state == "missing" for report in reports):
        raise InputError("no row could run", do="get what is missing, or try --stand-in")
    return 0


def _print_reports(reports: Sequence[RowReport], *, stand_in: bool, dry_run: bool) -> None:
    from layerprobe.classify.reproduce.table import plan_row, table_row

    if dry_run:
        print_table([plan_row(report) for report in reports])
    else:
        title = "accuracy in %, with 95 % intervals over speakers in brackets"
        print_table([table_row(report, stand_in=stand_in) for report in reports], title=title)
        print("published: stratified random 80/20 split (seed 101); test scores were monitored in training")
        print("reproduced: same recipe, same split; speaker-independent: test speakers unseen in training")
    for missing in dict.fromkeys(missing for report in reports for missing in report.missing):
        say_error(
            f"missing: {missing.name}",
            f"  reason: {missing.reason}",
            f"  source: {missing.source}; licence: {missing.licence}",
            f"  expected: {missing.expected}",
        )
    for report in reports:
        for note in report.notes:
            say(f"note: {report.row}: {note}")


def protocols(output: Annotated[OutputOptions, FLAT] = OutputOptions()) -> None:
    """List fixed, published splits: the rule of each, and what it leaks."""
    from layerprobe.classify.data.protocols import PROTOCOLS

    rows = [
        {
            "name": protocol.name,
            "corpus": protocol.published.corpus,
            "clips": protocol.published.clips,
            "speakers": protocol.published.speakers,
            "rule": protocol.rule.description,
            "speaker_disjoint": protocol.rule.speaker_disjoint,
            "leaks": protocol.leaks,
            "source": protocol.source or None,
        }
        for protocol in PROTOCOLS.values()
    ]
    if output.json:
        print_json(rows)
        return
    for row in rows:
        sizes = [f"{row[name]:,} {name}" for name in ("clips", "speakers") if row[name] is not None]
        print(f"{row['name']}: {', '.join([str(row['corpus']), *sizes])}")
        for name in ("rule", "leaks", "source"):
            if row[name] is not None:
                print(f"  {name:6}  {row[name]}")
