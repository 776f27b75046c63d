"""`layerprobe.classify` runs the command, and returns its result."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import layerprobe
from layerprobe.cache.common.errors import InputError
from layerprobe.embed.config import EmbedConfig
from layerprobe.embed.extract.run import embed
from layerprobe.embed.manifest.clips import read_manifest
from tests.run import write_corpus


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("study")
    write_corpus(folder, clips=36, speakers=6)
    embed(read_manifest(folder / "clips.csv"), EmbedConfig(model="mfcc", cache=folder / "features"))
    return folder


def run(place: Path, **changes: Any) -> Any:
    options: dict[str, Any] = {
        "heads": ["logreg"], "folds": 2, "inner_folds": 2, "trials": 2, "jobs": 1, "audit": False,
        "controls": "none", "cache": place / "features", **changes,
    }  # fmt: skip
    out = options.pop("out", place / "run")
    classify: Any = layerprobe.classify  # a package that can be called
    return classify(place / "clips.csv", model="mfcc", out=out, **options)


def test_a_study_has_its_summary_layers_and_bundle(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    study = run(place)
    assert study.summary["selected"]["head"] == "logreg"
    table = study.layers
    assert list(table.columns) == ["layer", "head", "uar", "low", "high"]
    assert table["uar"][0] == study.summary["layers"][0]["uar"]["value"]
    assert study.bundle.labels == ("a", "b", "c")
    assert "mfcc" in repr(study)
    assert "<table>" in study._repr_html_()
    again = layerprobe.Study(place / "run")
    assert again.summary == study.summary
    monkeypatch.setattr("layerprobe.classify.predict.study.find_spec", lambda name: None)
    assert study.layers[0]["head"] == "logreg"


def test_a_text_stands_for_several_values_as_on_the_command_line(place: Path, tmp_path: Path) -> None:
    """It was read letter by letter: "--heads l, o, g"."""
    study = run(place, out=tmp_path / "r", heads="logreg, majority", scalings="standard")
    assert {entry["head"] for entry in study.summary["layers"]} == {"logreg", "majority"}


def test_options_that_do_not_exist_or_contradict(place: Path, tmp_path: Path) -> None:
    with pytest.raises(TypeError, match="'colour'"):
        run(place, out=tmp_path / "r", colour="red")
    with pytest.raises(InputError, match="--folds"):
        run(place, out=tmp_path / "r", split="loso", folds=3)
    with pytest.raises(InputError, match="cannot be read"):
        layerprobe.Study(tmp_path)


def test_without_a_bundle(place: Path, tmp_path: Path) -> None:
    study = run(place, out=tmp_path / "r", bundle=False)
    assert not (tmp_path / "r" / "bundle").exists()
    with pytest.raises(InputError, match="the run has no bundle"):
        _ = study.bundle
