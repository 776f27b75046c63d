from __future__ import annotations

from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
from matplotlib.image import imread

from layerprobe.classify.search.layer_figure import draw_layers

pytestmark = pytest.mark.slow


def summary(layers: list[str], heads: list[str], **selected: Any) -> dict[str, Any]:
    entries = [
        {"layer": layer, "head": head, "uar": {"value": 0.5, "low": 0.4, "high": 0.6}}
        for layer in layers
        for head in heads
    ]
    return {
        "layers": entries,
        "selected": {"split": "speaker", **selected},
        "data": {"clips": 72, "speakers": 9, "classes": {"a": 36, "b": 36}},
        "chance": 0.5,
        "target": "emotion",
        "model": "tiny",
    }


@pytest.mark.parametrize(
    ("layers", "heads"),
    [
        (["mfcc"], ["svm"]),
        (["mfcc"], ["logreg", "svm", "xgboost"]),
        (["0", "1", "2"], ["logreg"]),
        ([*map(str, range(49)), "final", "mix"], ["logreg", "svm", "xgboost", "majority"]),
    ],
)
def test_figures_are_whole_files_with_ink_in_them(
    layers: list[str], heads: list[str], tmp_path: Path
) -> None:
    paths = draw_layers(summary(layers, heads), tmp_path / "figures")
    assert [path.name for path in paths] == ["layers.svg", "layers.pdf", "layers.png"]
    assert ElementTree.parse(paths[0]).getroot().tag.endswith("svg")
    assert paths[1].read_bytes().startswith(b"%PDF")
    picture = imread(paths[2])
    pixels = np.round(picture[::2, ::2, :3].reshape(-1, 3) * 255).astype(int)
    colours = set(map(tuple, pixels.tolist()))
    drawn = [(0, 114, 178), (213, 94, 0), (0, 158, 115), (204, 121, 167)][: len(heads)]
    assert set(drawn) <= colours


def test_the_same_run_draws_the_same_files(tmp_path: Path) -> None:
    told = summary(["0", "1"], ["svm"])
    for one, two in zip(draw_layers(told, tmp_path / "a"), draw_layers(told, tmp_path / "b"), strict=True):
        assert one.read_bytes() == two.read_bytes()


def test_scores_without_interval_or_speakers_are_drawn(tmp_path: Path) -> None:
    told = summary(["0", "1"], ["svm"], split="random")
    told["layers"][0]["uar"] = {"value": 0.5, "low": None, "high": None}
    told["data"]["speakers"] = None
    assert all(path.stat().st_size > 1000 for path in draw_layers(told, tmp_path / "figures"))


def test_a_layer_that_a_head_did_not_see_is_left_out(tmp_path: Path) -> None:
    told = summary(["0", "1"], ["logreg", "svm"])
    told["layers"].append({"layer": "mix", "head": "svm", "uar": {"value": 0.6, "low": 0.5, "high": 0.7}})
    draw_layers(told, tmp_path / "figures")
