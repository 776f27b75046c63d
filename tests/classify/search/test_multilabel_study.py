"""A study of sets of labels: files, scores, comparison, controls, report and bundle."""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.metrics import f1_score

from layerprobe.cache.common.errors import InputError
from layerprobe.classify.config import EvaluationConfig
from layerprobe.classify.controls.console import print_summary
from layerprobe.classify.controls.evaluation import evaluate_run
from layerprobe.classify.predict.bundle import load_bundle
from layerprobe.classify.predict.make import make_bundle
from layerprobe.classify.predict.results.table import as_rows
from layerprobe.classify.report.write import write_report
from layerprobe.classify.runs.compare import compare, rank
from layerprobe.classify.search.plan import make_plan
from layerprobe.classify.search.study import run_study
from layerprobe.embed.manifest.clips import read_manifest, write_manifest
from tests.figures import few_of_reports
from tests.regressions import number_study, page_data
from tests.studies import made_clips, made_store

pytestmark = pytest.mark.slow

SETS = {"a": "calm", "b": "angry|loud", "c": "sad|loud"}
CONFIG = number_study(target="mood", task="multilabel", separator="|", heads=("logreg", "ridge"), trials=2)


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder = tmp_path_factory.mktemp("sets")
    clips = made_clips(folder / "corpus")
    clips = [replace(clip, labels={**clip.labels, "mood": SETS[clip.labels["emotion"]]}) for clip in clips]
    write_manifest(clips, folder / "clips.csv")
    clips = read_manifest(folder / "clips.csv")
    return folder, clips, made_store(folder / "features", clips, signal=0.9)


@pytest.fixture(scope="module")
def run(corpus: Any) -> Path:
    folder, clips, store = corpus
    out = run_study(clips, store, folder / "run", CONFIG, command={"table": str(folder / "clips.csv")})
    evaluate_run(out, make_plan(clips, store, CONFIG), clips, EvaluationConfig(controls="full"))
    make_bundle(out, clips, store, CONFIG)
    return out


def selected(run: Path) -> list[dict[str, str]]:
    with (run / "predictions.csv").open(newline="") as file:
        return [row for row in csv.DictReader(file) if row["system"] == "selected"]


def test_scores_are_those_of_the_predictions(run: Path) -> None:
    rows, names = selected(run), ("angry", "calm", "loud", "sad")
    y, predicted = (
        np.array([[name in row[column].split("|") for name in names] for row in rows])
        for column in ("label", "predicted")
    )
    summary = json.loads((run / "summary.json").read_text())
    score = summary["selected"]["label_f1"]
    assert score["value"] == pytest.approx(f1_score(y, predicted, average="macro"))
    assert score["low"] < score["value"] < score["high"]
    assert score["value"] > 0.6
    assert [entry["label"] for entry in summary["selected"]["labels"]] == list(names)
    assert summary["selected"]["labels"][2]["clips"] == y[:, 2].sum()
    assert list(rows[0])[-4:] == [f"p_{name}" for name in names]
    assert summary["controls"]["shuffled"]["label_f1"]["value"] < score["value"]
    ranked = {entry.system: entry.scores["exact_match"].value for entry in rank(run)}
    assert len(ranked) == 4
    assert all(0 <= value <= 1 for value in ranked.values())


def test_runs_are_compared(run: Path, corpus: Any) -> None:
    folder, clips, store = corpus
    majority = run_study(clips, store, folder / "majority", replace(CONFIG, heads=("majority",)))
    (pair,) = compare([run, majority]).pairs
    assert pair.difference.low > 0


def test_everything_is_printed_and_drawn(run: Path, capsys: Any) -> None:
    print_summary(run, json.loads((run / "summary.json").read_text()), as_json=False)
    text = capsys.readouterr().out
    for words in (
        "macro F1",
        "exact match",
        "Each label, folds pooled",
        "labels of most clips",
        "average precision",
    ):
        assert words in text
    with few_of_reports():
        page = write_report([run], run / "report")
    assert page_data(page, "labels") is not None
    assert page_data(page, "confusion") is None
    groups = page_data(page, "map")["colours"]["mood"]["groups"]
    assert groups == ["loud + sad", "calm", "angry + loud"]


def test_a_bundle_gives_the_labels_that_are_more_probable_than_not(run: Path, corpus: Any) -> None:
    _, clips, store = corpus
    bundle = load_bundle(run / "bundle")
    assert bundle.content["separator"] == "|"  # between the labels of what `predict` writes, too
    predictions = bundle.predict_clips(clips, cache=store.cache)
    rows = as_rows(predictions, bundle.labels, windows=False)
    right = 0
    for row, clip in zip(rows, clips, strict=True):
        assert row["labels"] == [name for name, p in row["probabilities"].items() if p > 0.5]
        right += set(row["labels"]) == set(clip.labels["mood"].split("|"))
    assert right > 0.8 * len(rows)  # it was fitted to these clips
    with pytest.raises(InputError, match="predicts a set of labels, which has no sets of labels"):
        bundle.set_threshold(0.9)
    assert not (run / "bundle" / "held_out.safetensors").exists()


def test_labels_must_be_present_and_absent_in_training(corpus: Any, tmp_path: Path) -> None:
    _, clips, store = corpus
    rare = [
        replace(clip, labels={"mood": clip.labels["mood"] + ("|odd" if clip.speaker == "s0" else "")})
        for clip in clips
    ]
    with pytest.raises(InputError, match="class 'odd' has too few speakers"):
        run_study(rare, store, tmp_path / "run", CONFIG)
    with pytest.raises(InputError, match="--separator is between the labels of a multilabel task"):
        number_study(separator="|")
