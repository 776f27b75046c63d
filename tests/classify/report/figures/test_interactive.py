"""Charts as Plotly figures."""

from __future__ import annotations

from layerprobe.classify.report.figures.charts import Curves, Grid, Series
from layerprobe.classify.report.figures.interactive import figure


def test_every_cell_of_a_grid_is_drawn_once_with_text_that_contrasts() -> None:
    values = ((0.0, 0.49, None), (0.5, 1.0, 0.7))
    chart = Grid(
        name="g", title="g", alt="g", rows=("a", "b"), columns=("x", "y", "z"), values=values,
        texts=(("0", "49", ""), ("50", "100", "70")), colour_label="share",
    )  # fmt: skip
    dark, light = figure(chart)["data"]
    assert dark["z"] == [[0.0, 0.49, None], [None, None, None]]
    assert light["z"] == [[None, None, None], [0.5, 1.0, 0.7]]
    assert dark["text"] == [["0", "49", ""], ["", "", ""]]
    assert light["text"] == [["", "", ""], ["50", "100", "70"]]
    assert (dark["textfont"]["color"], light["textfont"]["color"]) == ("white", "black")
    assert [one.get("showscale", True) for one in (dark, light)] == [True, False]
    assert {(one["zmin"], one["zmax"], one["colorscale"]) for one in (dark, light)} == {(0.0, 1.0, "Cividis")}


def test_labels_stay_in_the_figure_and_a_logarithmic_axis_has_plain_numbers() -> None:
    costs = Series(name="runs", x=(2.0, 22.0), y=(0.9, 0.8), style="points", labels=("cheap", "dear"))
    drawn = figure(Curves(name="c", title="c", alt="c", series=(costs,), log_x=True))
    assert drawn["data"][0]["textposition"] == ["middle right", "middle left"]
    axis = drawn["layout"]["xaxis"]
    shown = dict(zip(axis["tickvals"], axis["ticktext"], strict=True))
    assert (shown[2], shown[10], shown[50]) == ("2", "10", "50")
