"""The command `compare`."""

from __future__ import annotations

import math
from dataclasses import KW_ONLY, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from layerprobe.cache.common.console import print_json, print_table, say
from layerprobe.cache.common.errors import InputError
from layerprobe.cache.common.options import FLAT, FigureTitle, Given, OutputOptions, check_figure
from layerprobe.cache.common.text import format_bytes, format_duration, format_interval
from layerprobe.classify.config import AUTO, MAIN, Metric, StudyConfig

if TYPE_CHECKING:
    from layerprobe.classify.runs.compare import Comparison, Entry

MINUTE = 60.0
PAIRS_TITLE = "pairs; p values in brackets are corrected for all pairs (Holm 1979)"
SEVERAL_RUNS = ("--system", "--euros-per-hour", "--euros-per-cpu-hour")


@dataclass(frozen=True)
class CompareOptions:
    """Options of `compare`."""

    runs: list[Path]
    """Run folders; of a single one, its own systems are compared."""
    _: KW_ONLY
    system: str = "selected"
    """System of each run: selected, or LAYER/HEAD."""
    metric: Annotated[Metric, MAIN] = AUTO
    """Score that is compared; the first of their task if omitted."""
    seed: int = StudyConfig.seed
    """Seed of the resampling."""
    euros_per_hour: float | None = None
    """Price of an hour on the GPU."""
    euros_per_cpu_hour: float | None = None
    """Price of an hour without a GPU."""
    figure: Path | None = None
    """Draw score against cost, or with --layers the score over layers, into this .svg, .pdf or .png."""
    layers: Annotated[bool, Parameter(negative=())] = False
    """Let --figure draw the score over layers: a line for each run, or for each head of a single run."""
    title: FigureTitle = None
    output: Annotated[OutputOptions, FLAT] = OutputOptions()


def compare(options: Annotated[CompareOptions, FLAT], *, given: Given | None = None) -> None:
    """Compare runs on the same clips: paired intervals over speakers, corrected tests, costs."""
    from layerprobe.classify.runs.compare import compare as compare_runs
    from layerprobe.classify.runs.compare import rank
    from layerprobe.classify.runs.cost_table import Prices

    _check_figure(options)
    if len(options.runs) == 1:
        for name in SEVERAL_RUNS:
            if name in (given or {}):
                raise InputError(
                    f"{name} compares runs, and only one is given", do=f"name another run, or omit {name}"
                )
        entries = rank(options.runs[0], metric=options.metric, seed=options.seed)
        if options.layers:
            _draw_layers(options)
        if options.output.json:
            print_json(entries)
        else:
            metric = next(iter(entries[0].scores)) if options.metric == AUTO else options.metric
            print_table([_entry_cells(entry, metric) for entry in entries])
        return
    comparison = compare_runs(
        options.runs,
        system=options.system,
        metric=options.metric,
        seed=options.seed,
        prices=Prices(gpu_hour=options.euros_per_hour, cpu_hour=options.euros_per_cpu_hour),
    )
    if options.layers:
        _draw_layers(options)
    elif options.figure is not None:
        from layerprobe.classify.runs.cost_figure import draw_cost

        draw_cost(comparison, options.figure, title=options.title)
    if options.output.json:
        # The key is older than the field.
        print_json({"bills" if k == "costs" else k: v for k, v in vars(comparison).items()})
    else:
        _print_comparison(comparison, comparison.metric)


def _check_figure(options: CompareOptions) -> None:
    """Raise InputError for a figure that cannot be drawn, before anything is computed."""
    check_figure(options.figure, title=options.title)
    if options.figure is None and options.layers:
        do = "name it with --figure, such as --figure layers.svg"
        raise InputError("--layers draws a figure", do=do)
    if options.figure is not None and len(options.runs) == 1 and not options.layers:
        what = "--figure draws several runs against their costs, and only one is given"
        raise InputError(what, do="name another run, or give --layers to draw the layers of this one")


def _draw_layers(options: CompareOptions) -> None:
    """Draw the layer curves of all runs into --figure."""
    from layerprobe.classify.runs.run_folder import SUMMARY, read_json
    from layerprobe.classify.search.layer_figure import draw_layer_curves, draw_run

    summaries = [read_json(run / SUMMARY, holding="layers") for run in options.runs]
    assert options.figure is not None  # as `_check_figure` requires
    if len(summaries) == 1:
        draw_run(summaries[0], options.figure, title=options.title)
    else:
        names = [str(run) for run in options.runs]
        draw_layer_curves(dict(zip(names, summaries, strict=True)), options.figure, title=options.title)
    if not options.output.json:
        print(f"figure {options.figure}")


def _print_comparison(comparison: Comparison, metric: Metric) -> None:
    print_table([_entry_cells(entry, metric) for entry in comparison.entries])
    print()
    print_table(_pair_rows(comparison), title=PAIRS_TITLE)
    print()
    print_table(_cost_rows(comparison), title="cost; empty cells are unknown or do not apply")
    for even in comparison.break_even:
        extraction = "the extraction and " if even.extraction_known else ""
        print(
            f"in the time of fine-tuning {even.finetuned}: {extraction}{even.trials:,} trials of the heads "
            f"of {even.heads}, which ran {even.made:,} ({even.times:.1f} x as long)"
        )
    for note in comparison.notes:
        say(f"note: {note}")


def _entry_cells(entry: Entry, metric: Metric) -> dict[str, object]:
    score = entry.scores[metric]
    return {
        "run": entry.run,
        "system": entry.system,
        "model": entry.model,
        "split": entry.split,
        metric: score.value,
        "95 % interval": format_interval(score.low, score.high),
        "rank": "best" if entry.best else "within noise of the best" if entry.within_noise else "",
    }


def _pair_rows(comparison: Comparison) -> list[dict[str, object]]:
    rows = []
    for pair in comparison.pairs:
        first, second = comparison.entries[pair.first], comparison.entries[pair.second]
        difference = pair.difference
        corrected = "" if pair.corrected is None else f"{pair.corrected.p:.3g} ({pair.corrected_holm:.3g})"
        rows.append(
            {
                "pair": f"{first.run} - {second.run}",
                f"{comparison.metric} difference": difference.value,
                "95 % interval": format_interval(difference.low, difference.high),
                "p over speakers": f"{difference.p:.3g} ({pair.difference_holm:.3g})",
                "corrected t p": corrected,
            }
        )
    return rows


def _cost_rows(comparison: Comparison) -> list[dict[str, object]]:
    rows = []
    for entry, cost in zip(comparison.entries, comparison.costs, strict=True):
        rows.append(
            {
                "run": entry.run,
                "kind": cost.kind,
                "device": cost.device,
                "extraction": _duration(cost.extraction_s),
                "search or training": _duration(cost.own_s),
                "GPU time": "" if cost.device_s is None else _duration(cost.device_s),
                "peak memory": _size(cost.peak_memory_bytes),
                "peak GPU memory": _size(cost.peak_device_bytes),
                "parameters trained": (
                    "" if cost.trained_parameters is None else f"{cost.trained_parameters:,}"
                ),
                "GPU energy": "" if cost.energy_j is None else f"{cost.energy_j / 3600:.1f} Wh",
                "euros": "" if cost.euros is None else _euros(cost.euros),
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


def _duration(seconds: float | None) -> str:
    if seconds is None:
        return "unknown"
    return f"{seconds:.1f} s" if seconds < MINUTE else format_duration(seconds)


def _size(count: int | None) -> str:
    return "" if count is None else format_bytes(count)
