from __future__ import annotations

import csv
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from sklearn.linear_model import RidgeClassifier
from sklearn.metrics import balanced_accuracy_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from layerprobe.cache.common.errors import InputError
from layerprobe.cache.store.feature_store import FeatureStore
from layerprobe.classify.config import StudyConfig
from layerprobe.classify.controls.console import print_summary
from layerprobe.classify.predict.make import make_bundle
from layerprobe.classify.runs.compare import compare
from layerprobe.classify.search.plan import Plan, make_plan
from layerprobe.classify.search.strategies import quick
from layerprobe.classify.search.strategies.quick import probe_all, quick_params
from layerprobe.classify.search.study import run_study
from layerprobe.embed.manifest.clips import Clip
from tests.studies import made_clips, made_store

CONFIG = StudyConfig(quick=True, folds=3, inner_folds=2, jobs=2)


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> tuple[list[Clip], FeatureStore]:
    folder = tmp_path_factory.mktemp("quick")
    clips = made_clips(folder / "corpus")
    return clips, made_store(folder / "cache", clips, layers=("0", "1", "2"), width=20)


@pytest.fixture(scope="module")
def plan(corpus: tuple[list[Clip], FeatureStore]) -> Plan:
    return make_plan(*corpus, CONFIG)


@pytest.fixture(scope="module")
def run(corpus: tuple[list[Clip], FeatureStore], tmp_path_factory: pytest.TempPathFactory) -> Path:
    return run_study(*corpus, tmp_path_factory.mktemp("run") / "quick", CONFIG)


def test_every_probe_is_scikit_learns_ridge_classifier(plan: Plan) -> None:
    results = probe_all(plan, report=None)
    assert list(results) == plan.studies()
    assert len(results) == 3 * 3
    y = plan.data.y
    for id, result in results.items():
        X = plan.store.layer(id.layer, plan.data.keys).astype(np.float64)
        model = make_pipeline(
            StandardScaler(), RidgeClassifier(quick.ALPHA * X.shape[1], class_weight="balanced")
        )
        nested = plan.folds[id.fold]
        predicted = model.fit(X[nested.outer.train], y[nested.outer.train]).predict(X[nested.outer.test])
        np.testing.assert_array_equal(result.predicted, predicted)
        held_out = np.concatenate(
            [model.fit(X[fold.train], y[fold.train]).predict(X[fold.test]) for fold in nested.inner]
        )
        rows = np.concatenate([fold.test for fold in nested.inner])
        assert result.inner_score == pytest.approx(balanced_accuracy_score(y[rows], held_out))
        np.testing.assert_allclose(result.probability.sum(1), 1)
        assert result.params == quick_params(plan) == {
            "stats": "mean+std", "scaling": "standard", "pca": 0, "class_weight": "balanced", "alpha": 10.0,
        }  # fmt: skip


def test_more_threads_change_nothing_and_memory_limits_them(
    plan: Plan, monkeypatch: pytest.MonkeyPatch
) -> None:
    alone = probe_all(replace(plan, config=replace(plan.config, jobs=1)), report=None)
    for id, result in probe_all(plan, report=None).items():
        np.testing.assert_array_equal(result.probability, alone[id].probability)
    bytes_each = 4 * quick.ARRAYS * len(plan.data) * 40
    small = replace(plan, config=replace(plan.config, jobs=8, memory=3 * bytes_each))
    assert quick._threads(small) == 3
    assert quick._threads(replace(small, config=replace(small.config, memory=bytes_each - 1))) == 1
    assert quick._threads(replace(small, config=replace(small.config, memory=1))) == 8  # in blocks


def test_the_run_folder_is_a_usual_one_that_says_what_was_fitted(
    run: Path, corpus: tuple[list[Clip], FeatureStore], tmp_path: Path
) -> None:
    assert sorted(path.name for path in run.iterdir() if not path.name.startswith(".")) == [
        "figures", "predictions.csv", "results.csv", "run.json", "splits.json", "summary.json",
    ]  # fmt: skip
    summary = json.loads((run / "summary.json").read_text())
    assert summary["quick"]["alpha"] == 10
    assert summary["notes"][0].startswith(
        "a first look, nothing was tuned: ridge with alpha 10, balanced, mean+std"
    )
    assert all(
        entry["uar"]["low"] <= entry["uar"]["value"] <= entry["uar"]["high"] for entry in summary["layers"]
    )
    record = json.loads((run / "run.json").read_text())
    assert (record["config"]["quick"], record["config"]["heads"], record["jobs"]) == (True, ["ridge"], 1)
    with (run / "results.csv").open(newline="") as file:
        assert {(row["head"], row["trials"]) for row in csv.DictReader(file)} == {("ridge", "1")}
    other = run_study(*corpus, tmp_path / "search", replace(CONFIG, quick=False, trials=1))
    comparison = compare([run, other])
    assert len(comparison.entries) == 2
    again = run_study(*corpus, run, CONFIG)  # finished: nothing is fitted again
    assert json.loads((again / "run.json").read_text()) == record


def test_the_curve_is_printed_layer_by_layer(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    print_summary(run, json.loads((run / "summary.json").read_text()), as_json=False)
    printed = capsys.readouterr()
    lines = printed.out.splitlines()
    assert lines[0].split() == ["layer", "UAR", "95", "%", "interval", "from", "chance,", "0.333"]
    assert [line.split()[0] for line in lines[2:5]] == ["0", "1", "2"]
    assert max(map(len, lines[:5])) <= 80
    assert lines[6].startswith("chosen on inner folds (layer ")
    assert "nothing was tuned" in printed.err
    assert "workers" not in printed.out


def test_a_layer_that_cannot_be_learnt_from_is_named(plan: Plan, monkeypatch: pytest.MonkeyPatch) -> None:
    held = FeatureStore.layer

    def flat(self: FeatureStore, name: str, *rest: object, **more: object) -> np.ndarray:
        return held(self, name, *rest, **more) * (name != "1")  # type: ignore[arg-type]

    monkeypatch.setattr(FeatureStore, "layer", flat)
    with pytest.raises(
        InputError, match=r"layer 1, outer fold 0: every training clip has the same.*--layers"
    ):
        probe_all(plan, report=None)


def test_a_quick_look_makes_no_bundle(run: Path, corpus: tuple[list[Clip], FeatureStore]) -> None:
    with pytest.raises(InputError, match="quick look, in which nothing was tuned; run classify without"):
        make_bundle(run, *corpus, CONFIG)
