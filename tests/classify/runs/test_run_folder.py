from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest

from layerprobe.cache.common.errors import InputError
from layerprobe.classify.data.splits import outer_folds
from layerprobe.classify.runs.run_folder import (
    load_result,
    read_csv,
    read_json,
    save_result,
    write_json,
    write_predictions,
    write_results,
    write_splits,
)
from layerprobe.classify.scores.results import ResultRow, StudyId, StudyResult
from tests.studies import made_data


def outcome(id: StudyId, rows: int) -> StudyResult:
    p = np.random.default_rng(id.fold).dirichlet([1, 1, 1], rows)
    return StudyResult(
        id=id,
        params={"C": 0.1 + 0.2, "kernel": "rbf"},
        inner_score=1 / 3,
        predicted=p.argmax(1),
        probability=p,
        trials=7,
        pruned=2,
    )


def test_numbers_that_are_not_finite_become_null(tmp_path: Path) -> None:
    write_json(tmp_path / "a.json", {"a": float("nan"), "b": [np.float32(0.5), np.int64(3)], "c": np.eye(2)})
    assert read_json(tmp_path / "a.json") == {"a": None, "b": [0.5, 3], "c": [[1.0, 0.0], [0.0, 1.0]]}


@pytest.mark.parametrize("content", [None, "{", "[1]"])
def test_a_missing_or_damaged_file_is_told_by_name(content: str | None, tmp_path: Path) -> None:
    path = tmp_path / "summary.json"
    if content is not None:
        path.write_text(content)
    with pytest.raises(InputError, match=r"summary\.json"):
        read_json(path)


def test_an_outcome_comes_back_bit_for_bit(tmp_path: Path) -> None:
    id = StudyId(3, "mfcc", "svm")
    kept = outcome(id, 9)
    assert load_result(tmp_path, id) is None
    save_result(tmp_path, kept)
    held = load_result(tmp_path, id)
    assert held is not None
    assert (held.id, held.params, held.inner_score) == (id, kept.params, kept.inner_score)
    np.testing.assert_array_equal(held.probability, kept.probability)
    assert load_result(tmp_path, StudyId(2, "mfcc", "svm")) is None


def test_splits_by_clip_id(tmp_path: Path) -> None:
    data = made_data(clips=48)
    folds = outer_folds(data, split="speaker", folds=4, inner_folds=3, seed=0)
    write_splits(tmp_path, data, folds)
    told = json.loads((tmp_path / "splits.json").read_text())["folds"]
    assert sorted(clip for fold in told for clip in fold["test"]) == sorted(data.ids)
    for entry, fold in zip(told, folds, strict=True):
        assert entry["train"] == [data.ids[row] for row in fold.outer.train]
        assert sorted(clip for inner in entry["inner"] for clip in inner["test"]) == sorted(entry["train"])


def test_predictions_name_clip_fold_speaker_system_and_probabilities(tmp_path: Path) -> None:
    data = made_data(clips=24)
    folds = outer_folds(data, split="speaker", folds=2, inner_folds=2, seed=0)
    system = [outcome(StudyId(f, "1", "svm"), len(fold.outer.test)) for f, fold in enumerate(folds)]
    write_predictions(tmp_path, data, folds, [("1/svm", system)])
    with (tmp_path / "predictions.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == [
        "clip", "fold", "speaker", "system", "label", "predicted", "p_a", "p_b", "p_c",
    ]  # fmt: skip
    assert len(rows) == 24
    for row in rows:
        clip = data.ids.index(row["clip"])
        assert data.speakers is not None
        assert row["speaker"] == f"s{data.speakers[clip]}"
        assert row["label"] == data.classes[data.y[clip]]
        p = {name: float(row[f"p_{name}"]) for name in data.classes}
        assert row["predicted"] == max(p, key=lambda name: p[name])


def test_results_keep_commas_and_quotes_of_parameters(tmp_path: Path) -> None:
    params = json.dumps({"kernel": 'a "b", c', "C": 1.0})
    row = ResultRow(
        fold=0, layer="mix", head="svm", inner_score=0.5, scores={"uar": 1 / 3, "macro_f1": float("nan")},
        trials=3, pruned=1, params=params,
    )  # fmt: skip
    write_results(tmp_path, [row])
    with (tmp_path / "results.csv").open(newline="") as file:
        (held,) = csv.DictReader(file)
    assert held["params"] == params
    assert held["uar"] == "0.333333"
    named = ["fold", "layer", "head", "inner_score", "uar", "macro_f1", "trials", "pruned", "params"]
    assert list(held) == named


def test_a_table_that_a_spreadsheet_saved_is_read(tmp_path: Path) -> None:
    """Excel saves UTF-8 with a byte order mark; the files of a run folder have none."""
    row = ResultRow(
        fold=0, layer="mix", head="svm", inner_score=0.5, scores={"uar": 0.5}, trials=3, pruned=1, params="{}"
    )
    write_results(tmp_path, [row])
    path = tmp_path / "results.csv"
    before = list(read_csv(path))
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    assert list(read_csv(path)) == before
    assert before[0][0] == "fold"
