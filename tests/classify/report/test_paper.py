"""Figures for a paper."""

from __future__ import annotations

import pytest

from layerprobe.classify.report.figures.charts import Curves, Series
from layerprobe.classify.report.figures.paper import draw


@pytest.mark.parametrize(("style", "joined"), [("points", False), ("line", True), ("steps", True)])
def test_only_lines_join_their_points(tmp_path, style, joined):
    series = Series(name="a", x=[1, 2], y=[0.4, 0.6], low=[0.3, 0.5], high=[0.5, 0.7], style=style)
    files = draw(Curves(name="c", title="t", alt="a", series=(series,)), tmp_path)
    assert [path.suffix for path in files] == [".svg", ".pdf"] * 2
    assert ("stroke-width: 1.2" in files[0].read_text()) == joined
