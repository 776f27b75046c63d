"""Layer curves: what the figures say, read from the text of the SVG."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from layerprobe.classify.search.layer_figure import draw_layer_curves, draw_layers
from tests.figures import run_kinds


def summary(*layers: str, classes: int = 8, model: str = "tiny", heads: tuple[str, ...] = ("svm",)) -> Any:
    return {
        "model": model,
        "target": "emotion",
        "chance": 1 / classes,
        "selected": {"head": heads[0], "split": "speaker"},
        "data": {"clips": 80, "speakers": 10, "classes": list(range(classes))},
        "layers": [
            {"layer": layer, "head": head, "uar": {"value": 0.3 + k / 50, "low": 0.2, "high": 0.5}}
            for k, layer in enumerate(layers)
            for head in heads
        ],
    }


def words(path: Path) -> list[str]:
    return re.findall(r"<text[^>]*>([^<]*)</text>", path.read_text())


def test_chance_has_three_digits_and_text_is_text(tmp_path):
    with run_kinds():
        paths = {path.suffix: path for path in draw_layers(summary("0", "1", "mix"), tmp_path)}
    assert "chance 0.125" in words(paths[".svg"])
    assert "mix" in words(paths[".svg"])
    assert b"/Type3" not in paths[".pdf"].read_bytes()


@pytest.mark.parametrize(
    ("runs", "axis"),
    [
        ({"a": summary("0", "1", "2"), "b": summary("0", "1", "2")}, "layer"),
        (
            {"a": summary("0", "1", "2"), "b": summary("0", "1", "final")},
            "relative depth (0: first layer, 1: last)",
        ),
        ({"a": summary("0", "1", "2"), "b": summary("mfcc", model="mfcc")}, "layer"),  # a level, not a curve
    ],
)
def test_several_runs_in_one_figure(tmp_path, runs, axis):
    text = words(draw_layer_curves(runs, tmp_path / "layers.svg"))
    assert axis in text
    for run, one in runs.items():
        assert f"{run} ({one['model']}, svm)" in text
    assert ("2" in text) == (axis == "layer")


@pytest.mark.parametrize(
    ("title", "shown"),
    [(None, "emotion by layer; bands: 95 % over speakers"), ("Mine", "Mine"), ("none", None)],
)
def test_the_title_is_the_users(tmp_path, title, shown):
    text = words(draw_layer_curves({"a": summary("0", "1")}, tmp_path / "layers.svg", title=title))
    assert shown is None or shown in text
    assert "none" not in text
    assert any("bands" in line for line in text) == (title is None)
