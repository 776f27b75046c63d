"""The page: a Jinja template with autoescape, plotly.js, and the figures for print, all in one file."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from plotly.offline import get_plotlyjs

from layerprobe.cache.common.text import format_count, printable
from layerprobe.classify.report.escape import isolated
from layerprobe.classify.report.figures.charts import Chart, Cloud
from layerprobe.classify.report.figures.interactive import figure
from layerprobe.classify.report.tables import Cell, cell_text

if TYPE_CHECKING:
    from layerprobe.classify.report.write import ComparisonReport, RunReport

TEMPLATE = "report.html"
FILTERED_ROWS = 12  # rows from which a table can be filtered
FIRST_ROWS = 100  # of a table; the page's script adds the others when they are wanted
PLOT_HEIGHT = 420  # pixels, of figures without a height of their own; as in report.js


def render(pages: Sequence[RunReport], compared: ComparisonReport | None, out: Path, *, version: str) -> str:
    """The complete page. out: the report's folder, whose figures/ are already drawn."""
    environment = Environment(
        loader=PackageLoader("layerprobe.classify.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"cell": cell_text, "printable": printable, "count": format_count}
    environment.filters["isolated"] = isolated
    environment.filters["script_rows"] = _script_rows
    data: dict[str, Any] = {f"{page.id}-map": page.map for page in pages if page.map}
    heights: dict[str, int] = {}
    static: dict[str, str] = {}
    sources = [(page.id, page.charts, page.id if len(pages) > 1 else "") for page in pages]
    if compared is not None:
        sources.append(("comparison", compared.charts, "comparison"))
    for id, charts, folder in sources:
        for name, chart in charts.items():
            key = f"{id}-{name}"
            static[key] = _picture(out / "figures" / folder / f"{name}-two-columns.svg")
            if not isinstance(chart, Cloud):
                data[key] = figure(chart)
                heights[key] = data[key]["layout"].get("height", PLOT_HEIGHT)
    return environment.get_template(TEMPLATE).render(
        title=_title(pages),
        version=version,
        pages=pages,
        compared=compared,
        static=static,
        data=data,
        heights=heights,
        plotly=get_plotlyjs(),
        style=_resource(environment, "report.css"),
        script=_resource(environment, "report.js"),
        filtered_rows=FILTERED_ROWS,
        first_rows=FIRST_ROWS,
        folders={page.id: f"{page.id}/" if len(pages) > 1 else "" for page in pages},
        is_cloud=_is_cloud,
    )


def _resource(environment: Environment, name: str) -> str:
    assert environment.loader is not None
    return environment.loader.get_source(environment, name)[0]


def _picture(path: Path) -> str:
    """A figure as a data URL: ids and styles of several figures cannot collide."""
    return f"data:image/svg+xml;base64,{base64.b64encode(path.read_bytes()).decode()}"


def _script_rows(rows: Sequence[Sequence[Cell]]) -> list[list[tuple[str, float | None]]]:
    """Rows for the page's script: each cell's text, and its value if it is a number."""
    return [
        [(cell_text(cell), cell if isinstance(cell, int | float) else None) for cell in row] for row in rows
    ]


def _is_cloud(chart: Chart) -> bool:
    return isinstance(chart, Cloud)


def _title(pages: Sequence[RunReport]) -> str:
    return " and ".join(page.name for page in pages) if len(pages) < 4 else format_count(len(pages), "run")
