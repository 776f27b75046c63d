from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from sklearn.metrics import balanced_accuracy_score, f1_score

from layerprobe.classify.data.dataset import Dataset
from layerprobe.classify.data.splits import OuterFold, outer_folds
from layerprobe.classify.scores.results import StudyId, StudyResult
from layerprobe.classify.scores.scoring import Scorer
from tests.studies import made_data

DATA = made_data(shares=[30, 6, 6, 6, 12, 12], seed=3)


def folds_of(data: Dataset) -> list[OuterFold]:
    return outer_folds(data, split="speaker", folds=3, inner_folds=2, seed=0)


def system(data: Dataset, *, right: float, seed: int = 0) -> list[StudyResult]:
    """Predictions that are right for about that share of the clips."""
    rng = np.random.default_rng(seed)
    results = []
    for number, fold in enumerate(folds_of(data)):
        y = data.y[fold.outer.test]
        predicted = np.where(rng.random(len(y)) < right, y, (y + 1) % 3)
        results.append(
            StudyResult(
                id=StudyId(number, "1", "svm"),
                params={},
                inner_score=0.5,
                predicted=predicted,
                probability=np.eye(3)[predicted] * 0.7 + 0.1,
                trials=1,
                pruned=0,
            )
        )
    return results


def test_pooled_scores_are_over_all_test_clips_together() -> None:
    scorer, chosen = Scorer(DATA, folds_of(DATA), seed=0), system(DATA, right=0.6)
    y = np.concatenate([DATA.y[fold.outer.test] for fold in folds_of(DATA)])
    predicted = np.concatenate([result.predicted for result in chosen])
    entry, perfect = scorer.pooled([chosen, system(DATA, right=1.0)])
    assert entry["uar"]["value"] == pytest.approx(balanced_accuracy_score(y, predicted))
    assert entry["macro_f1"]["value"] == pytest.approx(f1_score(y, predicted, average="macro"))
    assert entry["uar"]["low"] < entry["uar"]["value"] < entry["uar"]["high"]
    assert perfect["accuracy"] == {"value": 1.0, "low": 1.0, "high": 1.0}


def test_details_name_folds_speakers_and_classes() -> None:
    scorer, chosen = Scorer(DATA, folds_of(DATA), seed=0), system(DATA, right=0.6)
    entry = scorer.details(chosen)
    by_fold = [scorer.on_fold(result)["uar"] for result in chosen]
    assert entry["over_folds"]["uar"] == {
        "mean": pytest.approx(np.mean(by_fold)),
        "sd": pytest.approx(np.std(by_fold, ddof=1)),
    }
    assert DATA.speakers is not None
    by_speaker = []
    for speaker in range(6):
        right = [
            (result.predicted == DATA.y[fold.outer.test])[DATA.speakers[fold.outer.test] == speaker]
            for fold, result in zip(folds_of(DATA), chosen, strict=True)
        ]
        by_speaker.append(np.concatenate(right).mean())
    mean = entry["over_speakers"]["accuracy"]
    assert mean["value"] == pytest.approx(np.mean(by_speaker))
    assert mean["low"] < mean["value"] < mean["high"]
    for name in ("log_loss", "calibration_error"):
        assert entry["over_folds"][name]["mean"] == pytest.approx(entry[name], abs=0.1)
        assert entry["over_folds"][name]["sd"] > 0
    assert [row["class"] for row in entry["classes"]] == ["a", "b", "c"]
    assert sum(row["clips"] for row in entry["classes"]) == len(DATA)
    assert entry["confusion"]["counts"].sum() == len(DATA)
    np.testing.assert_allclose(entry["confusion"]["rates"].sum(1), 1)


def test_without_speakers_clips_are_resampled_and_there_is_no_mean_over_speakers() -> None:
    chosen, folds = system(DATA, right=0.6), folds_of(DATA)
    nameless = Scorer(replace(DATA, speakers=None, speaker_names=()), folds, seed=0)
    assert nameless.details(chosen)["over_speakers"] is None
    by_clip, by_speaker = (s.pooled([chosen])[0]["uar"] for s in (nameless, Scorer(DATA, folds, seed=0)))
    assert by_clip["value"] == by_speaker["value"]
    assert by_clip["low"] != by_speaker["low"]


def test_the_baseline_takes_each_folds_own_training_part() -> None:
    entry = Scorer(DATA, folds_of(DATA), seed=0).baseline()
    right = 0
    for fold in folds_of(DATA):
        most = np.bincount(DATA.y[fold.outer.train]).argmax()
        right += (DATA.y[fold.outer.test] == most).sum()
    assert entry["accuracy"]["value"] == pytest.approx(right / len(DATA))


def test_a_single_fold_has_no_spread() -> None:
    fold = folds_of(DATA)[:1]
    entry = Scorer(DATA, fold, seed=0).details(system(DATA, right=0.6)[:1])
    assert np.isnan(entry["over_folds"]["uar"]["sd"])


def numbers(*, error: float) -> tuple[Dataset, list[StudyResult]]:
    """A regression on the same clips, and predictions with that error."""
    rng = np.random.default_rng(1)
    y = 2.0 * DATA.y + rng.standard_normal(len(DATA))
    data = replace(DATA, y=y, classes=(), task="regression")
    results = []
    for number, fold in enumerate(folds_of(data)):
        predicted = y[fold.outer.test] + error * rng.standard_normal(len(fold.outer.test))
        results.append(
            StudyResult(
                id=StudyId(number, "1", "ridge"), params={}, inner_score=0.5, predicted=predicted,
                probability=np.zeros((len(predicted), 0)), trials=1, pruned=0,
            )
        )  # fmt: skip
    return data, results


def test_numbers_are_scored_as_numbers() -> None:
    data, chosen = numbers(error=1.0)
    folds = folds_of(data)
    scorer = Scorer(data, folds, seed=0)
    y = np.concatenate([data.y[fold.outer.test] for fold in folds])
    predicted = np.concatenate([result.predicted for result in chosen])
    (entry,) = scorer.pooled([chosen])
    assert list(entry) == ["ccc", "pearson", "spearman", "rmse", "mae"]
    assert entry["pearson"]["value"] == pytest.approx(np.corrcoef(y, predicted)[0, 1])
    assert entry["rmse"]["value"] == pytest.approx(np.sqrt(np.square(predicted - y).mean()))
    for score in entry.values():
        assert score["low"] < score["value"] < score["high"]
    details = scorer.details(chosen)
    assert details["true"]["mean"] == pytest.approx(y.mean())
    assert details["predicted"]["sd"] == pytest.approx(predicted.std(ddof=1))
    assert "confusion" not in details
    assert scorer.chance == 0
    by_fold = [scorer.on_fold(result)["mae"] for result in chosen]
    assert details["over_folds"]["mae"]["mean"] == pytest.approx(np.mean(by_fold))
    assert data.speakers is not None
    speakers = np.concatenate([data.speakers[fold.outer.test] for fold in folds])
    each = [np.corrcoef(y[speakers == s], predicted[speakers == s])[0, 1] for s in range(6)]
    assert details["over_speakers"]["pearson"]["value"] == pytest.approx(np.mean(each))


def test_speakers_without_a_correlation_are_left_out_of_its_mean() -> None:
    data, chosen = numbers(error=1.0)
    assert data.speakers is not None
    y = np.where(data.speakers == 2, 1.0, data.y)
    entry = Scorer(replace(data, y=y), folds_of(data), seed=0).details(chosen)["over_speakers"]
    assert np.isfinite(entry["ccc"]["value"])
    assert np.isfinite(entry["rmse"]["value"])


def test_the_baseline_of_numbers_is_the_mean_of_each_folds_training_part() -> None:
    data, _ = numbers(error=1.0)
    folds = folds_of(data)
    entry = Scorer(data, folds, seed=0).baseline()
    errors = [np.square(data.y[f.outer.test] - data.y[f.outer.train].mean()) for f in folds]
    assert entry["rmse"]["value"] == pytest.approx(np.sqrt(np.concatenate(errors).mean()))
    assert abs(entry["ccc"]["value"]) < 0.1
