"""Which files tests have drawn of each figure of a run: an SVG, unless a test wants the others too."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module

import pytest

from layerprobe.cache.common.options import FIGURE_KINDS

FEW = ("svg",)  # PDF and PNG take as long as the rest of a small study


@contextmanager
def few_of_reports() -> Iterator[None]:
    """Within it, reports have the figures that the page contains, and not those for papers."""
    paper = import_module("layerprobe.classify.report.figures.paper")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(paper, "WIDTHS", {"two-columns": paper.WIDTHS["two-columns"]})
        patch.setattr(paper, "KINDS", FEW)
        yield


@contextmanager
def run_kinds(kinds: Sequence[str] | None = None) -> Iterator[None]:
    """Within it, runs write each figure in these kinds, by default in those that users get."""
    plotting = import_module("layerprobe.classify.plotting")  # with matplotlib, which most tests do not need

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(plotting, "RUN_KINDS", kinds or FIGURE_KINDS)
        yield
