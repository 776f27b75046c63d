"""`write_report`: the page, its figures and its tables, from one run folder or several."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from layerprobe.cache.common.console import stage
from layerprobe.cache.common.disk import write_atomically
from layerprobe.cache.common.errors import InputError
from layerprobe.cache.common.text import format_count
from layerprobe.classify.report.comparison import compare_runs, comparison_tables, cost_chart, run_names
from layerprobe.classify.report.figures.charts import Chart
from layerprobe.classify.report.figures.clip_map import (
    PCA,
    check_map,
    clip_map,
    map_data,
    map_figure,
    sound_links,
    table_clips,
)
from layerprobe.classify.report.figures.paper import draw
from layerprobe.classify.report.figures.search_history import search_charts
from layerprobe.classify.report.figures.system_charts import run_charts
from layerprobe.classify.report.hardest import hardest_rows
from layerprobe.classify.report.headline import Statement, score_sentence, statements, system_name
from layerprobe.classify.report.page import render
from layerprobe.classify.report.run_data import RunData, read_run
from layerprobe.classify.report.run_tables import run_tables
from layerprobe.classify.report.settings import repeat_command, settings
from layerprobe.classify.report.tables import Table, write_table
from layerprobe.classify.runs.run_folder import RESTORE_OR_RERUN
from layerprobe.embed.manifest.clips import Clip

PAGE = "report.html"
NO_CONTROLS = "not run: give classify --controls cheap"
FULL = "not run: give classify --controls full"
Say = Callable[[str], None]
T = TypeVar("T")


@dataclass(kw_only=True)
class RunReport:
    """What the page shows of one run.

    missing: title of what the run does not have → why. players: links to the sounds of the hardest clips, ""
    where there is no file. map: data of the map for the page's script.
    """

    name: str
    id: str
    system: str
    score: str
    statements: Sequence[Statement]
    charts: dict[str, Chart]
    tables: dict[str, Table]
    settings: Sequence[Table]
    command: str
    players: Sequence[str]
    missing: dict[str, str] = field(default_factory=dict)
    map: Mapping[str, Any] | None = None

    @property
    def importances(self) -> list[str]:
        """Names of the charts of hyper-parameters, one per head."""
        return [name for name in self.charts if name.startswith("importance_")]


@dataclass(frozen=True, kw_only=True)
class ComparisonReport:
    """The runs next to each other; failure: why they cannot be compared, or ""."""

    tables: Sequence[Table]
    charts: dict[str, Chart]
    notes: Sequence[str]
    failure: str


def write_report(
    runs: Sequence[Path], out: Path, *, map: str = PCA, version: str = "", report: Say = lambda _: None
) -> Path:
    """Write report.html, figures/ and tables/ of the runs into `out`; returns the page.

    map: how the clips are projected, pca or umap. version: of layerprobe, for the foot of the page. report:
    called with a line before each step.

    Raises InputError for a folder that holds no finished run or is damaged, and for an `out` that cannot be
    written.
    """
    check_map(map)
    if len({run.resolve() for run in runs}) < len(runs):
        raise InputError("a run is given twice", do="name each run once")
    data = []
    for run in runs:
        with _damage_reported(run):
            data.append(read_run(run))
    names = run_names(runs)
    try:
        out.mkdir(parents=True, exist_ok=True)
        pages = []
        for number, (name, one) in enumerate(zip(names, data, strict=True)):
            report(f"{name}: reading")
            with _damage_reported(one.folder):
                pages.append(_run_report(one, name=name, id=f"run{number}", out=out, map=map))
        compared = _comparison(data, names) if len(data) > 1 else None
        _write_files(pages, compared, out, report)
        page = out / PAGE
        write_atomically(page, render(pages, compared, out, version=version))
    except OSError as error:
        what = f"cannot be written ({error.strerror or error})"
        raise InputError(what, where=str(out), do="choose another folder for --out") from error
    return page


@contextmanager
def _damage_reported(run: Path) -> Iterator[None]:
    """A file with missing or wrong entries is one line, not a traceback."""
    try:
        yield
    except (KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
        reason = f"{type(error).__name__}: {error}"
        what = f"is damaged, or was written by a version that this one cannot read ({reason})"
        raise InputError(what, where=str(run), do=RESTORE_OR_RERUN) from error


@stage("draw a run")
def _run_report(run: RunData, *, name: str, id: str, out: Path, map: str) -> RunReport:
    charts, tables = run_charts(run), {table.name: table for table in run_tables(run)}
    searched, no_search = search_charts(run)
    no_table: dict[str, Clip] = {}
    clips, no_clips = _optional(lambda: table_clips(run), no_table)
    links = sound_links(run, clips, out)
    page = RunReport(
        name=name,
        id=id,
        system=system_name(run),
        score=score_sentence(run),
        statements=statements(run),
        charts={**charts, **searched},
        tables=tables,
        settings=settings(run),
        command=repeat_command(run),
        players=[links[row] for row in hardest_rows(run).tolist()],
    )
    found, no_map = _optional(lambda: clip_map(run, clips, method=map) if clips else None, None)
    if found is not None:
        layer = run.summary["selected"]["layer"]
        first = layer if layer in found.xy else next(iter(found.xy))
        page.map = map_data(run, found, links, first=first)
        page.charts["clip_map"] = map_figure(run, found, first)
    missing = {
        "Controls": ("controls" not in tables, NO_CONTROLS),
        "Probes": ("probes" not in charts, NO_CONTROLS),
        "Learning curve": ("learning_curve" not in charts, FULL),
        "Audit": ("audit" not in tables, "not run: omit --no-audit"),
        "Search": (bool(no_search), no_search),
        "Map of the clips": (found is None, no_map or no_clips),
        "Sounds": (not any(links), no_clips or "the sound files are not there"),
    }
    page.missing = {
        title: why
        for title, (absent, why) in missing.items()
        if absent and not (run.finetuned and title != "Sounds")
    }
    return page


def _optional(make: Callable[[], T], otherwise: T) -> tuple[T, str]:
    """What can be made from files outside the run folder, or `otherwise` and why not."""
    try:
        return make(), ""
    except (InputError, OSError) as error:
        return otherwise, str(error)


def _comparison(data: Sequence[RunData], names: Sequence[str]) -> ComparisonReport:
    found, failure = compare_runs(data)
    if found is None:
        return ComparisonReport(tables=(), charts={}, notes=(), failure=failure)
    chart = cost_chart(found, names)
    return ComparisonReport(
        tables=comparison_tables(found, names),
        charts={} if chart is None else {chart.name: chart},
        notes=found.notes,
        failure="",
    )


@stage("write the figures and tables")
def _write_files(
    pages: Sequence[RunReport], compared: ComparisonReport | None, out: Path, report: Say
) -> None:
    """figures/ and tables/; of several runs, each has a folder in them, named by its number on the page."""
    sources: list[tuple[str, dict[str, Chart], Sequence[Table]]] = [
        (page.id if len(pages) > 1 else "", page.charts, list(page.tables.values())) for page in pages
    ]
    if compared is not None:
        sources.append(("comparison", compared.charts, compared.tables))
    total = sum(len(charts) for _, charts, _ in sources)
    report(f"drawing {format_count(total, 'figure')}")
    for folder, charts, tables in sources:
        figures, texts = out / "figures" / folder, out / "tables" / folder
        for made in (figures, texts):
            made.mkdir(parents=True, exist_ok=True)
        for chart in charts.values():
            draw(chart, figures)
        for table in tables:
            write_table(table, texts)
