"""Several runs in one report: their names, scores, differences and costs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from layerprobe.cache.common.errors import InputError
from layerprobe.cache.common.text import format_interval
from layerprobe.classify.report.figures.charts import Chart, Curves, Series
from layerprobe.classify.report.run_data import RunData
from layerprobe.classify.report.run_tables import INTERVAL
from layerprobe.classify.report.tables import Cell, Table
from layerprobe.classify.runs.compare import Comparison, compare
from layerprobe.classify.runs.cost_table import FINETUNE
from layerprobe.classify.score_names import AXIS_NAMES, SCORE_NAMES

LOG_RATIO = 8.0  # largest over smallest cost above which the axis is logarithmic


def compare_runs(runs: Sequence[RunData]) -> tuple[Comparison | None, str]:
    """The runs compared by the first score of their task; and why they cannot be compared, or ""."""
    try:
        return compare([run.folder for run in runs]), ""
    except InputError as error:
        return None, str(error)


def cost_chart(found: Comparison, names: Sequence[str]) -> Chart | None:
    """The score against wall time, fine-tuned and frozen models apart; None if fewer than two are known."""
    points = [
        (name, entry.scores[found.metric], cost.kind == FINETUNE, seconds / 60)
        for name, entry, cost in zip(names, found.entries, found.costs, strict=True)
        if (seconds := cost.wall_s or cost.own_s)
    ]
    if len(points) < 2:
        return None
    series = []
    for label, finetuned in (("heads on frozen states", False), ("fine-tuned", True)):
        own = [point for point in points if point[2] == finetuned]
        if own:
            known, scores, _, x = zip(*own, strict=True)
            bounds = {
                name: [None if bound != bound else bound for bound in (getattr(one, name) for one in scores)]
                for name in ("low", "high")
            }
            y = [one.value for one in scores]
            series.append(Series(name=label, x=x, y=y, **bounds, style="points", labels=known))
    minutes = [point[3] for point in points]
    return Curves(
        name="cost",
        title="Score against cost",
        alt=f"The {AXIS_NAMES[found.metric]} of each run against its minutes of wall time.",
        x_label="minutes, extraction and all trials together",
        y_label=AXIS_NAMES[found.metric],
        series=tuple(series),
        log_x=max(minutes) > LOG_RATIO * min(minutes),
    )


def comparison_tables(found: Comparison, names: Sequence[str]) -> list[Table]:
    """Runs on the same clips: their scores, the pairs, the costs. names: of the runs."""
    metric = SCORE_NAMES[found.metric]
    entries: list[list[Cell]] = []
    for name, entry in zip(names, found.entries, strict=True):
        score = entry.scores[found.metric]
        rank = "best" if entry.best else "within noise of the best" if entry.within_noise else ""
        entries.append([name, entry.model, score.value, format_interval(score.low, score.high), rank])
    pairs: list[list[Cell]] = [
        [
            f"{names[pair.first]} − {names[pair.second]}",
            pair.difference.value,
            format_interval(pair.difference.low, pair.difference.high),
            f"{pair.difference.p:.3g}",
            f"{pair.difference_holm:.3g}",
        ]
        for pair in found.pairs
    ]
    costs: list[list[Cell]] = [
        [name, cost.kind, cost.device, cost.extraction_s, cost.own_s, cost.wall_s, cost.trained_parameters]
        for name, cost in zip(names, found.costs, strict=True)
    ]
    heads = (
        "run",
        "kind",
        "device",
        "extraction (s)",
        "search or training (s)",
        "both (s)",
        "parameters trained",
    )
    return [
        Table(
            name="comparison", title="The runs on the same clips",
            columns=("run", "model", metric, INTERVAL, ""), rows=entries,
        ),
        Table(
            name="pairs", title="Differences between runs, p over speakers",
            columns=("pair", f"{metric} difference", INTERVAL, "p", "p, corrected (Holm)"), rows=pairs,
        ),
        Table(name="costs", title="Cost", columns=heads, rows=costs, note="Empty cells are unknown."),
    ]  # fmt: skip


def run_names(folders: Sequence[Path]) -> list[str]:
    """A different, short name for each run: the last parts of its path, as many as needed."""
    parts = [folder.resolve().parts for folder in folders]
    for length in range(1, max(map(len, parts)) + 1):
        names = ["/".join(part[-length:]) for part in parts]
        if len(set(names)) == len(names):
            return names
    return [str(folder) for folder in folders]
