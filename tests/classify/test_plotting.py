from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
from matplotlib.image import imread

from layerprobe.classify.controls.probes.figure import draw_probes
from layerprobe.classify.search.layer_figure import draw_layer_curves, draw_layers, draw_run
from tests.figures import run_kinds

pytestmark = pytest.mark.slow


@pytest.fixture(autouse=True)
def every_kind() -> Iterator[None]:
    with run_kinds():
        yield


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


def texts(svg: Path) -> list[str]:
    """The text elements of an SVG, in order."""
    return [
        "".join(node.itertext()) for node in ElementTree.parse(svg).iter("{http://www.w3.org/2000/svg}text")
    ]


def test_text_stays_text_in_svg_and_fonts_are_embedded_in_pdf(tmp_path: Path) -> None:
    svg, pdf, _ = draw_layers({**summary(["0", "1"], ["svm"]), "model": "my $model$"}, tmp_path)
    assert "my $model$: emotion by layer" in texts(svg)
    assert b"/Type3" not in pdf.read_bytes()
    assert b"/CIDFontType2" in pdf.read_bytes()


@pytest.mark.parametrize(("title", "count"), [(None, 3), ("Mine", 1), ("none", 0)])
def test_a_title_is_replaced_or_left_out(title: str | None, count: int, tmp_path: Path) -> None:
    run = summary(["0", "1"], ["svm"])
    path = draw_run(run, tmp_path / "one.svg", title=title)
    without = texts(draw_run(run, tmp_path / "two.svg", title="none"))
    assert len(texts(path)) == len(without) + count
    assert ("Mine" in texts(path)) == (title == "Mine")


def test_a_fine_tuned_run_is_a_level_among_layer_curves(tmp_path: Path) -> None:
    base = summary(["0", "1", "2", "mix"], ["logreg", "svm"], head="svm")
    large = {**summary(["0", "1", "2"], ["logreg"], head="logreg"), "model": "large"}
    tuned = summary(["all"], ["linear"], head="linear")
    found = texts(draw_layer_curves({"a": base, "b": large, "c": tuned}, tmp_path / "runs.svg"))
    for name in ("a (tiny, svm)", "b (large, logreg)", "c (tiny, fine-tuned)"):
        assert found.count(name) == 1
    assert [text for text in found if text in ("0", "1", "2", "mix", "all")] == ["0", "1", "2"]


@pytest.mark.parametrize("layers", [["mfcc"], ["0", "1", "2"]])
def test_probes_of_one_layer_are_points_named_on_the_axis(layers: list[str], tmp_path: Path) -> None:
    entries = [{"layer": layer, "uar": {"value": 0.75, "low": 0.7, "high": 0.8}} for layer in layers]
    probes = {
        "targets": [{"target": name, "chance": 0.5, "layers": entries} for name in ("emotion", "speaker")]
    }
    draw_probes(probes, "tiny", tmp_path / "p.svg")
    found = texts(tmp_path / "p.svg")
    one = len(layers) == 1
    assert found.count("0.50") == (2 if one else 0)  # half the way from chance to perfect
    assert any(text.endswith("on layer mfcc (dashed: chance)") for text in found) == one
    assert ("layer" in found) != one
