"""The commands `compare` and `protocols`: parse, call one function, print."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast, get_args

import typer

from layerprobe.cache.common.console import print_json, print_table, say
from layerprobe.cache.common.errors import InputError
from layerprobe.cache.common.text import format_bytes, format_duration, format_interval
from layerprobe.classify.config import Metric, StudyConfig

if TYPE_CHECKING:
    from layerprobe.classify.runs.compare import Comparison, Entry

Json = Annotated[bool, typer.Option("--json", help="Print one JSON document instead of a table.")]
MINUTE = 60.0
PAIRS = (
    "pairs; p values in brackets are corrected for all pairs (Holm 1979); McNemar's takes clips as\n"
    "independent, which those of one speaker are not: go by the interval and the p over speakers"
)


def compare(
    runs: Annotated[list[Path], typer.Argument(help="Run folders; one alone has its own systems compared.")],
    system: Annotated[
        str | None,
        typer.Option(help="Which system of each run: selected, or LAYER/HEAD.", show_default="selected"),
    ] = None,
    metric: Annotated[str, typer.Option(help=f"Of {', '.join(get_args(Metric))}.")] = "uar",
    seed: Annotated[int, typer.Option(help="Of the resampling.")] = StudyConfig.seed,
    euros_per_hour: Annotated[float | None, typer.Option(help="Price of an hour of the GPU.")] = None,
    euros_per_cpu_hour: Annotated[
        float | None, typer.Option(help="Price of an hour of work without a GPU.")
    ] = None,
    figure: Annotated[
        Path | None, typer.Option(help="Draw score against cost into this .svg, .pdf or .png.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Set runs side by side on the same clips: paired intervals over speakers, corrected tests, the bill."""
    from layerprobe.classify.runs.compare import compare as compare_runs
    from layerprobe.classify.runs.compare import rank
    from layerprobe.classify.runs.cost_table import Prices
    from layerprobe.classify.scores.results import SELECTED

    chosen = cast("Metric", metric)
    if figure is not None:
        from layerprobe.classify.plotting import check_figure

        check_figure(figure)
    if len(runs) == 1:
        _alone(system, figure, euros_per_hour, euros_per_cpu_hour)
        entries = rank(runs[0], metric=chosen, seed=seed)
        if as_json:
            print_json(entries)
        else:
            print_table([_row(entry, chosen) for entry in entries])
        return
    prices = Prices(gpu_hour=euros_per_hour, cpu_hour=euros_per_cpu_hour)
    found = compare_runs(runs, system=system or SELECTED, metric=chosen, seed=seed, prices=prices)
    if figure is not None:
        from layerprobe.classify.runs.cost_figure import draw_cost

        draw_cost(found, figure)
    if as_json:
        print_json(found)
        return
    print_table([_row(entry, chosen) for entry in found.entries])
    print()
    print_table(_pairs(found), title=PAIRS)
    print()
    print_table(_bills(found), title="the bill; what is empty is not known or does not apply")
    for even in found.break_even:
        first = "the extraction and " if even.extraction_known else ""
        print(
            f"in the time of the fine-tuning {even.finetuned}: {first}{even.trials:,} trials of the heads of "
            f"{even.heads}, which made {even.made:,} ({even.times:.1f} x as long)"
        )
    for note in found.notes:
        say(f"note: {note}")


def _alone(system: str | None, figure: Path | None, *prices: float | None) -> None:
    """Raise InputError for options that say something of several runs only."""
    given = {
        "--system": system is not None,
        "--figure": figure is not None,
        "--euros-per-hour": prices[0] is not None,
        "--euros-per-cpu-hour": prices[1] is not None,
    }
    useless = [name for name, there in given.items() if there]
    if useless:
        raise InputError(
            f"{useless[0]} compares runs, and one is given", do=f"name another run, or leave {useless[0]} out"
        )


def _row(entry: Entry, metric: Metric) -> dict[str, object]:
    score = entry.scores[metric]
    return {
        "run": entry.run,
        "system": entry.system,
        "model": entry.model,
        "split": entry.split,
        metric: score.value,
        "95 % interval": format_interval(score.low, score.high),
        "stands": "best" if entry.best else "within noise of the best" if entry.within_noise else "",
    }


def _pairs(found: Comparison) -> list[dict[str, object]]:
    rows = []
    for pair in found.pairs:
        first, second = found.entries[pair.first], found.entries[pair.second]
        apart = pair.difference
        corrected = "" if pair.corrected is None else f"{pair.corrected.p:.3g} ({pair.corrected_holm:.3g})"
        rows.append(
            {
                "pair": f"{first.run} - {second.run}",
                f"{found.metric} difference": apart.value,
                "95 % interval": format_interval(apart.low, apart.high),
                "p over speakers": f"{apart.p:.3g} ({pair.difference_holm:.3g})",
                "McNemar p": f"{pair.mcnemar.p:.3g} ({pair.mcnemar_holm:.3g})",
                "corrected t p": corrected,
            }
        )
    return rows


def _bills(found: Comparison) -> list[dict[str, object]]:
    rows = []
    for entry, bill in zip(found.entries, found.bills, strict=True):
        rows.append(
            {
                "run": entry.run,
                "kind": bill.kind,
                "device": bill.device,
                "extraction": _time(bill.extraction_s),
                "search or training": _time(bill.own_s),
                "GPU time": "" if bill.device_s is None else _time(bill.device_s),
                "peak memory": _bytes(bill.peak_memory_bytes),
                "peak GPU memory": _bytes(bill.peak_device_bytes),
                "parameters trained": (
                    "" if bill.trained_parameters is None else f"{bill.trained_parameters:,}"
                ),
                "GPU energy": "" if bill.energy_j is None else f"{bill.energy_j / 3600:.1f} Wh",
                "euros": "" if bill.euros is None else _euros(bill.euros),
            }
        )
    # A column that says nothing of any run is left out.
    said = [name for name in rows[0] if name in ("extraction", "euros") or any(row[name] for row in rows)]
    return [{name: row[name] for name in said} for row in rows]


def _euros(amount: float) -> str:
    """To the cent, and what is less than ten of them to two digits."""
    if not 0 < amount < 0.1:
        return f"{amount:.2f}"
    return f"{amount:.{1 - math.floor(math.log10(amount))}f}"


def _time(seconds: float | None) -> str:
    if seconds is None:
        return "unknown"
    return f"{seconds:.1f} s" if seconds < MINUTE else format_duration(seconds)


def _bytes(count: int | None) -> str:
    return "" if count is None else format_bytes(count)
