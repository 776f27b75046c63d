"""The command `embed`. Most of its options are in `embed.config`."""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass
from typing import TYPE_CHECKING, Annotated

from layerprobe.cache.common.console import print_json, print_table, say, say_error
from layerprobe.cache.common.interrupts import Interrupted
from layerprobe.cache.common.options import FLAT, OutputOptions, TableColumns, TableFile
from layerprobe.cache.common.text import format_bytes, format_count, format_duration
from layerprobe.embed.config import LOCAL, EmbedConfig

if TYPE_CHECKING:
    from layerprobe.embed.extract.estimate import Estimate
    from layerprobe.embed.extract.run import ExtractionSummary

MAX_FAILURES = 5  # printed at the end of a run; all are in failures.csv


@dataclass(frozen=True)
class EmbedOptions:
    """Options of `embed`."""

    table: TableFile
    _: KW_ONLY
    config: Annotated[EmbedConfig, FLAT]
    columns: Annotated[TableColumns, FLAT] = TableColumns()
    dry_run: bool = False
    """Report clips, hours, bytes and time; compute nothing."""
    part: str | None = None
    """Embed one part of the table, such as 3/8, the third of eight of about equal length. Under torchrun and
    srun each process takes its own part without this option."""
    backend: str = LOCAL
    """Where to compute: local, or dask or ray, the cluster of DASK_SCHEDULER_ADDRESS or RAY_ADDRESS, else one
    of this machine's cores."""
    output: Annotated[OutputOptions, FLAT] = OutputOptions()


def embed(options: Annotated[EmbedOptions, FLAT]) -> None:
    """Pass every clip once through a frozen model and cache each layer's states.

    States that the store already holds are not computed again: an interrupted run continues with the same
    command.
    """
    from layerprobe.embed.distributed.launch import embed_anywhere, find_process
    from layerprobe.embed.distributed.sharing import selection
    from layerprobe.embed.extract.estimate import estimate
    from layerprobe.embed.manifest.clips import read_manifest

    clips = read_manifest(options.table, **vars(options.columns), must_exist=False)
    config, part = find_process(options.config, options.part)
    if options.dry_run:
        planned = estimate(clips, config, select=selection(part, config) if part else None)
        _print_estimate(planned, as_json=options.output.json)
        if planned.scratch > config.scratch:
            needed, given = format_bytes(planned.scratch), format_bytes(config.scratch)
            say(
                f"note: {needed} of scratch space would be used, and --scratch allows {given}: segments of "
                "files that do not fit are each decoded from the file's start"
            )
        return
    summary = embed_anywhere(clips, config, part=part, backend=options.backend)
    _print_summary(summary, as_json=options.output.json)
    if summary.recomputed:
        count = f"{summary.recomputed} window{'s' if summary.recomputed != 1 else ''}"
        say(f"{count} overflowed in half precision and were computed again in fp32")
    if summary.stopped:
        raise Interrupted(f"{summary.embedded} clips are saved; the same command resumes")


def _print_estimate(estimate: Estimate, *, as_json: bool) -> None:
    if as_json:
        print_json(estimate)
        return
    print_table(
        [
            {
                "clips": estimate.clips,
                "already cached": estimate.cached,
                "to compute": estimate.missing,
                "hours": estimate.hours,
                "bytes": format_bytes(estimate.bytes),
                "time": format_duration(estimate.seconds),
                "x real time": estimate.real_time,
                "failed": estimate.failed,
                **({"scratch": format_bytes(estimate.scratch)} if estimate.scratch else {}),
            }
        ]
    )


def _print_summary(summary: ExtractionSummary, *, as_json: bool) -> None:
    """Print a run as one row, and failed clips by name on stderr."""
    failed = [
        {"path": path, "start": start, "end": end, "reason": reason}
        for (path, start, end), reason in summary.failures.items()
    ]
    real_time = summary.seconds / summary.elapsed if summary.elapsed else 0.0
    if as_json:
        print_json({**vars(summary), "failures": failed, "real_time": real_time})
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
                    "time": format_duration(summary.elapsed),
                    "x real time": real_time,
                    "store": str(summary.store),
                }
            ]
        )
    for entry in failed[:MAX_FAILURES]:
        times = ["" if entry[name] is None else str(entry[name]) for name in ("start", "end")]
        segment = f"#{'-'.join(times)}" if any(times) else ""
        say_error(f"  {entry['path']}{segment}: {entry['reason']}")
    if len(failed) > MAX_FAILURES:
        say_error(f"  … and {len(failed) - MAX_FAILURES} more")
    if failed:
        clips = format_count(len(failed), "clip")
        say_error(f"{clips} could not be used; all are listed in {summary.store / 'failures.csv'}")
