"""Matrices of numbers and of levels: cells against SciPy and scikit-learn, plans and refusals."""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.stats import pearsonr
from sklearn.metrics import cohen_kappa_score, root_mean_squared_error

from layerprobe.cache.common.errors import InputError
from layerprobe.cache.common.options import FIGURE_KINDS
from layerprobe.cache.store.feature_store import FeatureStore
from layerprobe.classify.config import StudyConfig
from layerprobe.classify.matrix.config import MatrixStudy
from layerprobe.classify.matrix.plan import plan_matrix
from layerprobe.classify.matrix.run import run_matrix
from layerprobe.classify.matrix.table import print_matrix
from layerprobe.classify.runs.read_predictions import read_system
from layerprobe.embed.manifest.clips import Clip
from tests.figures import run_kinds
from tests.studies import made_clips, made_store, with_numbers

SHARED: dict[str, Any] = {"folds": 2, "inner_folds": 2, "trials": 1, "jobs": 1, "layers": ("1",)}
NUMBERS = StudyConfig(target="arousal", task="regression", heads=("ridge",), **SHARED)
LEVELS = StudyConfig(
    target="level", task="ordinal", heads=("ordinal",), levels=("low", "middle", "high"), **SHARED
)
Made = tuple[list[Clip], FeatureStore, Path]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    """Two corpora of four speakers, with numbers, and with levels in an order that is not alphabetical."""
    folder, clips = tmp_path_factory.mktemp("matrix"), []
    names = dict(zip("abc", ("low", "middle", "high"), strict=True))
    for name in ("one", "two"):
        for clip in with_numbers(made_clips(folder / name, speakers=4, each=9)):
            labels = {**clip.labels, "corpus": name, "level": names[clip.labels["emotion"]]}
            id, speaker = f"{name}:{clip.id}", f"{name}:{clip.speaker}"
            clips.append(replace(clip, id=id, speaker=speaker, labels=labels))
    return clips, made_store(folder / "cache", clips, signal=1.0), folder


def shifted(clips: list[Clip], *, scale: float) -> list[Clip]:
    """The numbers of corpus `two` on another scale."""
    return [
        replace(clip, labels={**clip.labels, "arousal": f"{scale * float(clip.labels['arousal']):.4f}"})
        if clip.labels["corpus"] == "two"
        else clip
        for clip in clips
    ]


@pytest.mark.slow
def test_cells_of_numbers_are_scipys(made: Made, capsys: pytest.CaptureFixture[str]) -> None:
    clips, store, folder = made
    with run_kinds():
        result = run_matrix(clips, store, folder / "numbers", NUMBERS)
    assert [(cell["train"], cell["test"], cell["kind"]) for cell in result["cells"]] == [
        *((["one"], "one", "within"), (["one"], "two", "from")),
        *((["two"], "one", "from"), (["two"], "two", "within")),
    ]
    assert (result["task"], result["labels"], result["notes"]) == ("regression", [], [])
    for cell in result["cells"]:
        run = read_system(folder / "numbers" / cell["run"])
        y, p = run.labels, run.predicted
        assert cell["clips"] == len(y) == 36
        assert cell["pearson"]["value"] == pytest.approx(pearsonr(y, p).statistic)
        assert cell["rmse"]["value"] == pytest.approx(root_mean_squared_error(y, p))
        ccc = 2 * np.cov(y, p, ddof=0)[0, 1] / (y.var() + p.var() + (y.mean() - p.mean()) ** 2)
        assert cell["ccc"]["value"] == pytest.approx(ccc)
        for metric in ("ccc", "pearson", "rmse"):
            assert cell[metric]["low"] < cell[metric]["value"] < cell[metric]["high"]
    across = result["cells"][1]
    within = result["cells"][3]["ccc"]["value"]
    assert across["minus_within"]["value"] == pytest.approx(across["ccc"]["value"] - within)
    print_matrix(result, folder / "numbers")
    text = capsys.readouterr().out
    for words in (
        "CCC for arousal, tested on",
        "Pearson's r for arousal",
        "RMSE for arousal",
        "CCC minus that of",
    ):
        assert words in text
    with (folder / "numbers" / "matrix.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert float(rows[1]["rmse_low"]) == pytest.approx(across["rmse"]["low"], abs=1e-6)
    for kind in FIGURE_KINDS:
        assert (folder / "numbers" / "figures" / f"matrix.{kind}").stat().st_size > 1000
    assert json.loads((folder / "numbers" / "matrix.json").read_text())["task"] == "regression"


@pytest.mark.slow
def test_cells_of_levels_are_scikit_learns(made: Made, capsys: pytest.CaptureFixture[str]) -> None:
    clips, store, folder = made
    result = run_matrix(clips, store, folder / "levels", LEVELS)
    assert result["labels"] == ["low", "middle", "high"]
    for cell in result["cells"]:
        run = read_system(folder / "levels" / cell["run"])
        expected = cohen_kappa_score(run.labels, run.predicted, labels=result["labels"], weights="quadratic")
        assert cell["qwk"]["value"] == pytest.approx(expected)
        assert cell["chance"] == 0
    print_matrix(result, folder / "levels")
    assert "weighted kappa for level, tested on" in capsys.readouterr().out


def test_numbers_on_other_scales_are_noted(made: Made) -> None:
    clips, _, _ = made
    assert plan_matrix(clips, NUMBERS).notes == ()
    (note,) = plan_matrix(shifted(clips, scale=10), NUMBERS).notes
    assert note.startswith("the numbers are 2.")
    assert note.endswith("on different scales, only Pearson's r and Spearman's rho compare")


def test_what_is_no_matrix_of_numbers_is_one_line(made: Made) -> None:
    clips, _, _ = made
    texts = [replace(clip, labels={**clip.labels, "arousal": "high"}) for clip in clips[:2]]
    with pytest.raises(InputError, match=r"holds 2 cells that are no numbers \(one:s0-0.wav: 'high'"):
        plan_matrix([*texts, *clips[2:]], NUMBERS)
    empty = [
        replace(clip, labels={**clip.labels, "arousal": ""}) if clip.labels["corpus"] == "two" else clip
        for clip in clips
    ]
    with pytest.raises(
        InputError, match="corpus 'two' has no number in column 'arousal'; label its clips, or omit"
    ):
        plan_matrix(empty, NUMBERS)
    with pytest.raises(InputError, match="corpus 'two' has one value only, 0, in column 'arousal'"):
        plan_matrix(shifted(clips, scale=0), NUMBERS)
    with pytest.raises(InputError, match=r"labels that --levels does not name \(middle\); name every level"):
        plan_matrix(clips, replace(LEVELS, levels=("low", "high")))
    with pytest.raises(
        InputError, match="matrix has no --task soft; choose from classification, regression, ordinal"
    ):
        MatrixStudy(task="soft")


def test_levels_that_one_corpus_lacks_are_left_out_in_order(made: Made) -> None:
    clips, _, _ = made
    fewer = [clip for clip in clips if (clip.labels["corpus"], clip.labels["level"]) != ("two", "middle")]
    plan = plan_matrix(fewer, LEVELS)
    assert plan.labels == ("low", "high")
    assert {run.config.levels for run in plan.runs} == {("low", "high")}
