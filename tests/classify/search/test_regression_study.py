"""A study of numbers from the table to its run folder; runs compared."""

from __future__ import annotations

import csv
import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.metrics import cohen_kappa_score

from layerprobe.cache.common.errors import InputError
from layerprobe.classify.runs.compare import compare, rank
from layerprobe.classify.runs.run_record import read_recorded
from layerprobe.classify.search.study import run_study
from tests.regressions import number_clips, number_study

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Any:
    return number_clips(tmp_path_factory.mktemp("corpus"))


@pytest.fixture(scope="module")
def run(corpus: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    clips, store = corpus
    table = str(Path(clips[0].file).parent.parent / "clips.csv")
    return run_study(
        clips, store, tmp_path_factory.mktemp("run") / "run", number_study(), command={"table": table}
    )


def table(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_files_hold_numbers_and_scores_by_name(run: Path, corpus: Any) -> None:
    clips, _ = corpus
    results = table(run / "results.csv")
    assert {row["head"] for row in results} == {"ridge", "svm", "xgboost"}
    assert list(results[0])[4:9] == ["ccc", "pearson", "spearman", "rmse", "mae"]
    predictions = table(run / "predictions.csv")
    assert list(predictions[0]) == ["clip", "fold", "speaker", "system", "label", "predicted"]
    truth = {clip.id: float(clip.labels["arousal"]) for clip in clips}
    assert all(float(row["label"]) == truth[row["clip"]] for row in predictions)
    summary = json.loads((run / "summary.json").read_text())
    assert (summary["task"], summary["metric"], summary["chance"]) == ("regression", "ccc", 0)
    chosen = [row for row in predictions if row["system"] == "selected"]
    y, predicted = (np.array([float(row[name]) for row in chosen]) for name in ("label", "predicted"))
    selected = summary["selected"]
    covariance = np.cov(y, predicted, ddof=0)
    ccc = 2 * covariance[0, 1] / (np.trace(covariance) + (y.mean() - predicted.mean()) ** 2)
    assert selected["ccc"]["value"] == pytest.approx(ccc)
    assert selected["ccc"]["low"] < ccc < selected["ccc"]["high"]
    assert ccc > 0.5  # the states encode the numbers
    assert summary["controls"]["mean"]["ccc"]["value"] < 0.1
    assert summary["data"]["numbers"]["largest"] == max(truth.values())
    assert (run / "figures" / "layers.svg").stat().st_size > 1000


def test_the_search_maximises_what_it_was_asked_to(corpus: Any, tmp_path: Path) -> None:
    clips, store = corpus
    config = number_study(heads=("ridge",), metric="pearson", trials=2)
    out = run_study(clips, store, tmp_path / "run", config)
    summary = json.loads((out / "summary.json").read_text())
    assert summary["metric"] == "pearson"
    assert {"ccc", "pearson"} <= set(summary["layers"][0])
    with pytest.raises(InputError, match="--metric rmse; choose from ccc, pearson, spearman"):
        number_study(metric="rmse")
    with pytest.raises(InputError, match="--metric uar; choose from ccc, pearson, spearman"):
        number_study(metric="uar")
    with pytest.raises(InputError, match="--heads logreg; choose from ridge, svm, xgboost, mean"):
        run_study(clips, store, tmp_path / "other", number_study(heads=("logreg",)))


def test_the_run_is_recorded_as_a_regression_and_can_be_repeated(run: Path) -> None:
    recorded = read_recorded(run, runtime={"jobs": 1, "storage": None})
    assert (recorded.config.task, recorded.config.heads) == ("regression", ("ridge", "svm", "xgboost"))


def test_runs_of_numbers_are_compared_by_ccc(run: Path, corpus: Any, tmp_path: Path) -> None:
    clips, store = corpus
    mean = run_study(clips, store, tmp_path / "mean", number_study(heads=("mean",), trials=1))
    comparison = compare([run, mean])
    assert comparison.metric == "ccc"
    (pair,) = comparison.pairs
    assert pair.difference.low > 0.3
    assert pair.difference.p < 0.01
    assert comparison.entries[0].best
    assert not comparison.entries[1].within_noise
    by_error = compare([run, mean], metric="rmse")
    assert by_error.entries[0].best
    assert by_error.pairs[0].difference.value < 0
    ranked = rank(run, metric="rmse")
    values = [entry.scores["rmse"].value for entry in ranked]
    assert values == sorted(values)
    with pytest.raises(InputError, match="--metric uar; choose from ccc, pearson, spearman, rmse, mae"):
        compare([run, mean], metric="uar")


def test_runs_of_different_tasks_are_not_compared(run: Path, corpus: Any, tmp_path: Path) -> None:
    clips, store = corpus
    classes = number_study(target="emotion", task="classification", heads=("majority",), trials=1)
    other = run_study(clips, store, tmp_path / "classes", classes)
    with pytest.raises(InputError, match=r"of the task regression, and .* of classification; compare"):
        compare([run, other])


def test_a_prediction_that_is_no_number_is_an_error(run: Path, tmp_path: Path) -> None:
    damaged = shutil.copytree(run, tmp_path / "run")
    text = (damaged / "predictions.csv").read_text().splitlines()
    text[5] = text[5].rpartition(",")[0] + ",high"
    (damaged / "predictions.csv").write_text("\n".join(text) + "\n")
    with pytest.raises(
        InputError, match=r"predictions.csv: a fold, or a label of a regression, is no number"
    ):
        compare([run, damaged])


def test_levels_are_searched_scored_and_compared_in_their_order(corpus: Any, tmp_path: Path) -> None:
    clips, store = corpus
    named = {"a": "low", "b": "middle", "c": "high"}  # whose order is not the alphabet's
    clips = [replace(clip, labels={"level": named[clip.labels["emotion"]]}) for clip in clips]
    config = number_study(
        target="level", task="ordinal", levels=("low", "middle", "high"), heads=("ordinal", "ridge")
    )
    run = run_study(clips, store, tmp_path / "run", config)
    summary = json.loads((run / "summary.json").read_text())
    rows = [row for row in table(run / "predictions.csv") if row["system"] == "selected"]
    assert list(rows[0])[-3:] == ["p_low", "p_middle", "p_high"]
    order = ("low", "middle", "high")
    y, predicted = ([order.index(row[name]) for row in rows] for name in ("label", "predicted"))
    kappa = cohen_kappa_score(y, predicted, weights="quadratic")
    assert summary["selected"]["qwk"]["value"] == pytest.approx(kappa)
    assert summary["selected"]["level_mae"]["value"] == pytest.approx(
        np.abs(np.subtract(y, predicted)).mean()
    )
    assert [entry["class"] for entry in summary["selected"]["classes"]] == list(order)
    ranked = rank(run)
    selected = next(entry for entry in ranked if entry.system == "1/ordinal")
    scores = [row for row in table(run / "predictions.csv") if row["system"] == "1/ordinal"]
    y, predicted = ([order.index(row[name]) for row in scores] for name in ("label", "predicted"))
    expected = cohen_kappa_score(y, predicted, weights="quadratic")
    assert selected.scores["qwk"].value == pytest.approx(expected)
    with pytest.raises(InputError, match="--levels is the order of an ordinal task"):
        number_study(levels=("1", "2"))
