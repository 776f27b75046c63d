"""Ensembles in a study: beside the other systems, from inner predictions, with their controls."""

from __future__ import annotations

import csv
import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from layerprobe.cache.common.errors import InputError
from layerprobe.cache.store.feature_store import FeatureStore
from layerprobe.classify.config import EvaluationConfig, StudyConfig
from layerprobe.classify.controls import learning_curve, shuffled_labels
from layerprobe.classify.controls.evaluation import evaluate_run
from layerprobe.classify.controls.refit import refit, selected_folds
from layerprobe.classify.features.lru_cache import LruCache
from layerprobe.classify.report.headline import system_name
from layerprobe.classify.report.run_data import read_run
from layerprobe.classify.runs import run_folder
from layerprobe.classify.runs.run_folder import SUMMARY, read_json
from layerprobe.classify.search.ensemble.members import Member, inner_rows, predict_member
from layerprobe.classify.search.plan import make_plan
from layerprobe.classify.search.study import run_study
from layerprobe.classify.tasks.classification import CLASSIFICATION
from layerprobe.embed.manifest.clips import Clip
from tests.studies import made_clips, made_store

CONFIG = StudyConfig(
    folds=3, inner_folds=2, trials=2, jobs=1, heads=("logreg", "knn"), layers=("0", "1"), ensemble=3
)
Corpus = tuple[list[Clip], FeatureStore]


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    folder = tmp_path_factory.mktemp("ensemble")
    clips = made_clips(folder / "corpus")
    return clips, made_store(folder / "cache", clips, signal=0.8)


@pytest.fixture(scope="module")
def finished(corpus: Corpus, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return run_study(*corpus, tmp_path_factory.mktemp("finished") / "run", CONFIG)


def test_an_ensemble_averages_its_members_in_each_outer_fold(finished: Path, corpus: Corpus) -> None:
    summary, plan = read_json(finished / SUMMARY), make_plan(*corpus, CONFIG)
    assert ("several", "ensemble") in [(entry["layer"], entry["head"]) for entry in summary["layers"]]
    with (finished / "predictions.csv").open() as file:
        rows = [row for row in csv.DictReader(file) if row["system"] == "several/ensemble"]
    ensembles = [fold for fold in summary["selected"]["folds"] if fold["head"] == "ensemble"]
    assert ensembles
    for entry in ensembles:
        fold = plan.folds[entry["fold"]]
        members = [(one["weight"], Member(layer=one["layer"], head=one["head"], params=one["params"]))
                   for one in entry["members"]]  # fmt: skip
        assert sum(weight for weight, _ in members) == pytest.approx(1)
        predictions = [predict_member(plan, fold, member, cache=LruCache(1 << 28)) for _, member in members]
        inner, outer = (
            sum(weight * getattr(one, part) for (weight, _), one in zip(members, predictions, strict=True))
            for part in ("inner", "outer")
        )
        true = plan.data.y[inner_rows(fold)]
        reached = CLASSIFICATION.score(true, np.asarray(inner).argmax(1), classes=3, metric="uar")
        assert entry["inner_score"] == pytest.approx(reached)
        written = [row for row in rows if row["fold"] == str(entry["fold"])]
        found = np.array([[float(row[f"p_{name}"]) for name in "abc"] for row in written])
        np.testing.assert_allclose(found, outer, atol=1e-5)


def test_members_are_the_best_of_the_inner_folds_and_none_beats_the_ensemble(finished: Path) -> None:
    with (finished / "results.csv").open() as file:
        rows = list(csv.DictReader(file))
    for number in range(3):
        own = {
            f"{row['layer']}/{row['head']}": float(row["inner_score"])
            for row in rows
            if row["fold"] == str(number)
        }
        reached = own.pop("several/ensemble")
        assert reached >= max(own.values()) - 1e-6
        (params,) = [
            json.loads(row["params"])
            for row in rows
            if row["fold"] == str(number) and row["head"] == "ensemble"
        ]
        assert set(params) <= set(sorted(own, key=lambda name: -own[name])[:3])


def test_no_outer_test_label_is_used(corpus: Corpus, finished: Path, tmp_path: Path) -> None:
    """With other labels in one outer test partition, what its ensemble predicts is the same."""
    clips, store = corpus
    tested = set(json.loads((finished / "splits.json").read_text())["folds"][0]["test"])
    moved = {"a": "b", "b": "c", "c": "a"}
    changed = [
        replace(clip, split="test" if clip.id in tested else "train", labels={"emotion": label})
        for clip in clips
        for label in [clip.labels["emotion"]]
    ]
    wrong = [
        replace(clip, labels={"emotion": moved[clip.labels["emotion"]]}) if clip.split == "test" else clip
        for clip in changed
    ]
    config = replace(CONFIG, split="column", folds=StudyConfig.folds)
    runs = [run_study(rows, store, tmp_path / str(k), config) for k, rows in enumerate((changed, wrong))]
    predicted = []
    for run in runs:
        with (run / "predictions.csv").open() as file:
            predicted.append(
                [row["predicted"] for row in csv.DictReader(file) if row["system"] == "several/ensemble"]
            )
    assert predicted[0] == predicted[1]


def test_workers_and_interruptions_do_not_change_the_files(
    corpus: Corpus, finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save, saved = run_folder.save_result, []

    def interrupted(out: Path, result: object) -> None:
        save(out, result)  # type: ignore[arg-type]
        saved.append(result)
        if len(saved) == 3 * 4 + 2:  # after the second ensemble
            raise KeyboardInterrupt

    monkeypatch.setattr(run_folder, "save_result", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run_study(*corpus, tmp_path / "run", CONFIG)
    monkeypatch.undo()
    run_study(*corpus, tmp_path / "run", CONFIG)
    for name in ("results.csv", "predictions.csv", "summary.json"):
        assert (tmp_path / "run" / name).read_bytes() == (finished / name).read_bytes(), name


def test_controls_refit_the_members(
    corpus: Corpus, finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shuffled_labels, "SHUFFLES", 2)
    monkeypatch.setattr(learning_curve, "SHARES", (1.0,))
    out = shutil.copytree(finished, tmp_path / "run")
    plan, summary = make_plan(*corpus, CONFIG), read_json(finished / SUMMARY)
    for selected in selected_folds(summary):
        fold = plan.folds[selected.fold].outer
        again = refit(plan, selected, fold, cache=LruCache(1 << 28), section="all")
        with (out / "predictions.csv").open() as file:
            rows = [
                r
                for r in csv.DictReader(file)
                if r["system"] == "selected" and r["fold"] == str(selected.fold)
            ]
        assert [plan.data.classes[k] for k in again] == [row["predicted"] for row in rows]
    evaluate_run(out, plan, corpus[0], EvaluationConfig(audit=False))
    assert read_json(out / SUMMARY)["controls"]["shuffled"]["selectivity"]["value"] > 0


def test_the_report_says_what_it_is(corpus: Corpus, finished: Path, tmp_path: Path) -> None:
    out = shutil.copytree(finished, tmp_path / "run")
    summary = read_json(out / SUMMARY)
    summary["selected"] |= {"layer": "several", "head": "ensemble"}  # as if most folds had selected it
    (out / SUMMARY).write_text(json.dumps(summary))
    assert "ensemble of layers and heads" in system_name(read_run(out))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"ensemble": 1}, "--ensemble 1; give 2 systems or more, or 0"),
        ({"ensemble": -3}, "--ensemble -3; give 2 systems or more, or 0"),
        (
            {"layers": ("1",), "heads": ("knn",)},
            "--ensemble 3, but there is one layer and one head; search more",
        ),
    ],
)
def test_ensembles_that_cannot_be_made_are_one_line(
    changes: dict, message: str, corpus: Corpus, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match=message):
        run_study(*corpus, tmp_path / "run", replace(CONFIG, **changes))
