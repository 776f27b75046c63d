"""Charts as Plotly figures: dictionaries that the page's script draws in the colours of its theme."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from layerprobe.classify.plotting import COLOURS
from layerprobe.classify.report.escape import plotly, shorten
from layerprobe.classify.report.figures.charts import (
    Bars,
    Chart,
    Curves,
    Grid,
    Reference,
    Scatter,
    Series,
    look,
)

MARKS = ("circle", "square", "triangle-up", "diamond", "triangle-down", "cross")
DASHES = ("dash", "dot", "dashdot", "longdash")
BAND = 0.15  # opacity


def figure(chart: Chart) -> dict[str, Any]:
    """`data` and `layout` of Plotly; names are escaped, and theme colours are added by the page's script."""
    layout: dict[str, Any] = {
        "xaxis": {"title": {"text": plotly(chart.x_label)}},
        "yaxis": {"title": {"text": plotly(chart.y_label)}},
    }
    if isinstance(chart, Curves):
        return {"data": _curves(chart, layout), "layout": layout}
    if isinstance(chart, Bars):
        return {"data": _bars(chart, layout), "layout": layout}
    if isinstance(chart, Scatter):
        return {"data": _scatter(chart), "layout": {**layout, "height": 480, "hovermode": "closest"}}
    assert isinstance(chart, Grid)
    return {"data": _grid(chart, layout), "layout": layout}


def _curves(chart: Curves, layout: dict[str, Any]) -> list[dict[str, Any]]:
    xs = [x for series in chart.series for x in series.x]
    traces = []
    for number, series in enumerate(chart.series):
        traces += _series(series, number, chart.ticks)
    if chart.diagonal:
        traces.append(_dashed("perfect", [0, 1], [0, 1], 0))
    for number, line in enumerate(chart.references):
        traces.append(_dashed(_name(line), [min(xs), max(xs)], [line.value] * 2, number))
    if chart.ticks:
        layout["xaxis"] |= {"tickvals": list(range(len(chart.ticks))), "ticktext": _names(chart.ticks)}
    if chart.log_x:
        steps = [digit * 10.0**power for power in range(-4, 8) for digit in (1, 2, 5)]
        layout["xaxis"] |= {"type": "log", "tickvals": steps, "ticktext": [f"{step:g}" for step in steps]}
    for trace in traces:
        if "text" in trace:  # a label to the right of the last point would be cut off
            right = (max(xs) * min(xs)) ** 0.5 if chart.log_x else (max(xs) + min(xs)) / 2
            trace["textposition"] = ["middle left" if x > right else "middle right" for x in trace["x"]]
    layout["showlegend"] = True  # of a single series too: its name explains it
    return traces


def _series(series: Series, number: int, ticks: Sequence[str]) -> list[dict[str, Any]]:
    (shade, mark), name = look(number), plotly(series.name)
    colour = COLOURS[shade]
    places = _names(ticks) if ticks else None
    trace: dict[str, Any] = {
        "type": "scatter",
        "name": name,
        "legendgroup": name,
        "x": list(series.x),
        "y": list(series.y),
        "mode": {"line": "lines+markers", "points": "markers", "steps": "lines"}[series.style],
        "line": {"color": colour},
        "marker": {"color": colour, "symbol": MARKS[mark], "size": 8},
        "customdata": [_hover(series, i, places) for i in range(len(series.x))],
        "hovertemplate": "%{customdata}<extra></extra>",
    }
    if series.labels:
        trace |= {
            "text": _names(series.labels),
            "mode": f"{trace['mode']}+text",
        }
    if not series.low:
        return [trace]
    known = [i for i, (a, b) in enumerate(zip(series.low, series.high, strict=True)) if None not in (a, b)]
    if series.style == "points" or len(series.x) == 1:  # a band needs two points
        y = {i: series.y[i] or 0.0 for i in known}
        up = [(series.high[i] or 0.0) - y[i] if i in y else 0 for i in range(len(series.x))]
        down = [y[i] - (series.low[i] or 0.0) if i in y else 0 for i in range(len(series.x))]
        trace["error_y"] = {"type": "data", "array": up, "arrayminus": down, "symmetric": False}
        return [trace]
    band = {
        "type": "scatter",
        "x": [series.x[i] for i in (*known, *reversed(known))],
        "y": [*(series.high[i] for i in known), *(series.low[i] for i in reversed(known))],
        "fill": "toself",
        "fillcolor": colour,
        "opacity": BAND,
        "mode": "none",
        "hoverinfo": "skip",
        "legendgroup": name,
        "showlegend": False,
    }
    return [band, trace]


def _hover(series: Series, i: int, places: Sequence[str] | None) -> str:
    """Name, place, value and interval of a point."""
    place = f"{series.x[i]:g}" if places is None else places[int(series.x[i])]
    value = "" if series.y[i] is None else f"{series.y[i]:.3f}"
    interval = ""
    if series.low and series.low[i] is not None and series.high[i] is not None:
        interval = f" [{series.low[i]:.3f}, {series.high[i]:.3f}]"
    return f"{plotly(series.name)}<br>{place}: {value}{interval}"


def _bars(chart: Bars, layout: dict[str, Any]) -> list[dict[str, Any]]:
    names, places = _names(chart.names), list(range(len(chart.names)))
    trace: dict[str, Any] = {
        "type": "scatter",
        "mode": "markers",
        "x": list(chart.values),
        "y": places,
        "marker": {"color": COLOURS[0], "size": 9},
        "customdata": [f"{name}: {value:.3f}" for name, value in zip(names, chart.values, strict=True)],
        "hovertemplate": "%{customdata}<extra></extra>",
        "showlegend": False,
    }
    if chart.low:
        bounds = list(zip(chart.values, chart.low, chart.high, strict=True))
        trace["error_x"] = {
            "type": "data",
            "symmetric": False,
            "array": [0 if high is None else high - value for value, _, high in bounds],
            "arrayminus": [0 if low is None else value - low for value, low, _ in bounds],
        }
    ends = [-0.5, len(names) - 0.5]
    lines = [_dashed(_name(line), [line.value] * 2, ends, n) for n, line in enumerate(chart.references)]
    layout["yaxis"] |= {"tickvals": places, "ticktext": names, "range": ends[::-1], "automargin": True}
    layout["height"] = 180 + 24 * len(names)
    return [trace, *lines]


def _grid(chart: Grid, layout: dict[str, Any]) -> list[dict[str, Any]]:
    rows, columns = _names(chart.rows), _names(chart.columns)
    for axis, names in (("xaxis", columns), ("yaxis", rows)):
        layout[axis] |= {"tickvals": list(range(len(names))), "ticktext": names, "automargin": True}
    layout["yaxis"]["range"] = [len(rows) - 0.5, -0.5]
    layout["height"] = 200 + 44 * len(rows)
    hover = [
        [f"{plotly(chart.y_label)} {row}<br>{plotly(chart.x_label)} {column}" for column in columns]
        for row in rows
    ]
    middle = (chart.low + chart.high) / 2
    shared = {
        "type": "heatmap",
        "zmin": chart.low,
        "zmax": chart.high,
        "texttemplate": "%{text}",
        "customdata": hover,
        "hovertemplate": "%{customdata}<br>%{z:.3f}<extra></extra>",
        "hoverongaps": False,
        "colorscale": "Cividis",
        "colorbar": {"title": {"text": plotly(chart.colour_label), "side": "right", "font": {"size": 13}}},
    }

    def cells(*, dark: bool) -> dict[str, Any]:
        """The cells of one half of the scale; the others have neither value nor text."""
        z: list[list[float | None]] = [[None for _ in row] for row in chart.values]
        text = [["" for _ in row] for row in chart.values]
        for row, values in enumerate(chart.values):
            for column, value in enumerate(values):
                if value is not None and (value < middle) == dark:
                    z[row][column] = value
                    text[row][column] = "<br>".join(map(plotly, chart.texts[row][column].split("\n")))
        return {**shared, "z": z, "text": text, "textfont": {"color": "white" if dark else "black"}}

    # Plotly's own choice for light cells is a grey that is hard to read on the middle of the scale.
    return [cells(dark=True), {**cells(dark=False), "showscale": False}]


def _scatter(chart: Scatter) -> list[dict[str, Any]]:
    points: dict[str, Any] = {
        "type": "scatter",
        "mode": "markers",
        "name": "test clips",
        "x": chart.x.tolist(),
        "y": chart.y.tolist(),
        "marker": {"color": COLOURS[0], "size": 6, "opacity": 0.5},
        "customdata": [plotly(name) for name in chart.labels],
        "hovertemplate": "%{customdata}<br>true %{x:.4g}, predicted %{y:.4g}<extra></extra>",
    }
    return [points, _dashed("perfect", chart.ends, chart.ends, 0)]


def _dashed(name: str, x: Sequence[float], y: Sequence[float], number: int) -> dict[str, Any]:
    return {
        "type": "scatter",
        "mode": "lines",
        "name": name,
        "x": list(x),
        "y": list(y),
        "line": {"dash": DASHES[number % len(DASHES)], "width": 1.5},
        "meta": "reference",  # in the theme's grey
        "hovertemplate": f"{name.replace('{', '(').replace('}', ')')}<extra></extra>",
    }


def _name(line: Reference) -> str:
    return f"{plotly(line.name)} {line.value:.3f}"


def _names(names: Sequence[str]) -> list[str]:
    return [plotly(shorten(name)) for name in names]
