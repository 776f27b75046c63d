"""Figures as data, so that the page and the paper show the same numbers: curves, bars, grids and points.

Names in them are as the user's tables have them; `paper.py` and `interactive.py` show them as text.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

SHADES = 6  # colours, and marks
Number = float | None


def look(number: int) -> tuple[int, int]:
    """Numbers of colour and mark, of six each, of the number-th series: the first 36 differ."""
    return number % SHADES, (number + number // SHADES) % SHADES


@dataclass(frozen=True, kw_only=True)
class Series:
    """Points (x, y) with optional bounds of the same length, None where one is unknown.

    style: `line` with a band between the bounds, `points` with error bars, or `steps`, a line without marks.
    labels: a text next to each point.
    """

    name: str
    x: Sequence[float]
    y: Sequence[Number]
    low: Sequence[Number] = ()
    high: Sequence[Number] = ()
    style: Literal["line", "points", "steps"] = "line"
    labels: Sequence[str] = ()


def score_series(name: str, x: Sequence[float], scores: Sequence[Mapping[str, Any]]) -> Series:
    """A line of scores with their intervals, as a summary has them (value, low, high)."""
    y, low, high = ([score.get(key) for score in scores] for key in ("value", "low", "high"))
    return Series(name=name, x=x, y=y, low=low, high=high)


def score_bars(scores: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """values, low and high of `Bars`, of scores as a summary has them."""
    fields = {"values": "value", "low": "low", "high": "high"}
    return {field: tuple(score.get(key) for score in scores) for field, key in fields.items()}


def with_deviation(score: Mapping[str, Any]) -> dict[str, Any]:
    """A score whose bounds are one standard deviation (sd, None for 0) away."""
    value, deviation = score["value"], score["sd"] or 0.0
    return {"value": value, "low": value - deviation, "high": value + deviation}


@dataclass(frozen=True, kw_only=True)
class Reference:
    """A horizontal line with its name, such as chance; in `Bars` a vertical one."""

    name: str
    value: float


@dataclass(frozen=True, kw_only=True)
class Chart:
    """A figure. name: stem of its files. alt: what it shows, in a sentence, for those who cannot see it."""

    name: str
    title: str
    alt: str
    x_label: str = ""
    y_label: str = ""


@dataclass(frozen=True, kw_only=True)
class Curves(Chart):
    """Series over numbers, or over the categories `ticks`, which are at 0, 1, 2, …

    diagonal: draw y = x. log_x: logarithmic axis.
    """

    series: tuple[Series, ...]
    ticks: tuple[str, ...] = ()
    references: tuple[Reference, ...] = ()
    diagonal: bool = False
    log_x: bool = False


@dataclass(frozen=True, kw_only=True)
class Bars(Chart):
    """A value with optional bounds for each name, from top to bottom."""

    names: tuple[str, ...]
    values: tuple[float, ...]
    low: tuple[Number, ...] = ()
    high: tuple[Number, ...] = ()
    references: tuple[Reference, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Grid(Chart):
    """A heat map: values[row][column], None where there is none, and the text in each cell."""

    rows: tuple[str, ...]
    columns: tuple[str, ...]
    values: tuple[tuple[Number, ...], ...]
    texts: tuple[tuple[str, ...], ...]
    colour_label: str
    low: float = 0.0
    high: float = 1.0


@dataclass(frozen=True, kw_only=True)
class Scatter(Chart):
    """N points (x, y) on one scale, with the line y = x; labels: (N,) names of the points."""

    x: np.ndarray
    y: np.ndarray
    labels: tuple[str, ...]

    @property
    def ends(self) -> tuple[float, float]:
        """Of the line y = x: the least and the largest number of either axis."""
        return min(self.x.min(), self.y.min()), max(self.x.max(), self.y.max())


@dataclass(frozen=True, kw_only=True)
class Cloud(Chart):
    """N points (x, y) in a plane; group: (N,) indices into `groups`, which give the colours."""

    x: np.ndarray
    y: np.ndarray
    group: np.ndarray
    groups: tuple[str, ...]
