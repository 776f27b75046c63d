"""A study of shares of votes: files, scores, comparison, controls, report and bundle."""

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
from layerprobe.classify.predict.make import make_bundle_of
from layerprobe.classify.predict.results.table import as_rows
from layerprobe.classify.report.write import write_report
from layerprobe.classify.runs.compare import compare
from layerprobe.classify.search.plan import make_plan
from layerprobe.classify.search.study import run_study
from layerprobe.classify.tasks.votes import join_votes
from layerprobe.embed.manifest.clips import read_manifest, write_manifest
from tests.figures import few_of_reports
from tests.regressions import number_study, page_data
from tests.studies import made_clips, made_store

pytestmark = pytest.mark.slow

NAMES = ("angry", "calm", "sad")
CONFIG = number_study(target="p_", task="soft", heads=("logreg", "weights"), trials=2)


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder = tmp_path_factory.mktemp("votes")
    clips, rng = made_clips(folder / "corpus"), np.random.default_rng(0)
    voted = []
    for clip in clips:
        chance = np.full(3, 0.1)
        chance["abc".index(clip.labels["emotion"])] = 0.8
        votes = dict(zip(NAMES, map(str, rng.multinomial(6, chance)), strict=True))
        voted.append(replace(clip, labels={**clip.labels, **{f"p_{k}": v for k, v in votes.items()}}))
    write_manifest(voted, folder / "clips.csv")
    clips = join_votes(read_manifest(folder / "clips.csv"), "p_")
    return folder, clips, made_store(folder / "features", clips, signal=0.9)


@pytest.fixture(scope="module")
def run(corpus: Any) -> Path:
    folder, clips, store = corpus
    out = run_study(clips, store, folder / "run", CONFIG, command={"table": str(folder / "clips.csv")})
    evaluate_run(out, make_plan(clips, store, CONFIG), clips, EvaluationConfig(controls="full"))
    make_bundle_of(out)  # which reads the table's columns again
    return out


def numbers(text: str) -> list[float]:
    cells = dict(part.split("=") for part in text.split(";"))
    return [float(cells.get(name, 0)) for name in NAMES]


def test_scores_are_those_of_the_predictions(run: Path) -> None:
    with (run / "predictions.csv").open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["system"] == "selected"]
    y, p = (np.array([numbers(row[column]) for row in rows]) for column in ("label", "predicted"))
    summary = json.loads((run / "summary.json").read_text())
    found = summary["selected"]
    assert found["soft_f1"]["value"] == pytest.approx(f1_score(y > 0.334, p > 0.334, average="macro"))
    assert found["soft_loss"]["value"] == pytest.approx(-(y * np.log(np.maximum(p, 1e-6))).sum(1).mean())
    for name in ("soft_f1", "soft_loss", "soft_kl"):
        assert found[name]["low"] < found[name]["value"] < found[name]["high"]
    probability = np.array([[float(row[f"p_{name}"]) for name in NAMES] for row in rows])
    np.testing.assert_allclose(probability, p, atol=1e-5)
    controls = summary["controls"]
    assert controls["shuffled"]["soft_f1"]["value"] < found["soft_f1"]["value"]
    assert controls["majority"]["soft_loss"]["value"] > found["soft_loss"]["value"]
    assert len(controls["learning_curve"]["points"]) > 2
    assert [entry["clips"] for entry in found["labels"]] == (y > 0.334).sum(0).tolist()


def test_runs_are_compared_by_every_score(run: Path, corpus: Any) -> None:
    folder, clips, store = corpus
    majority = run_study(clips, store, folder / "majority", replace(CONFIG, heads=("majority",)))
    (pair,) = compare([run, majority], metric="soft_f1").pairs
    assert pair.difference.low > 0
    (pair,) = compare([run, majority], metric="soft_kl").pairs
    assert pair.difference.high < 0  # a lower divergence


def test_everything_is_printed_and_drawn(run: Path, capsys: Any) -> None:
    print_summary(run, json.loads((run / "summary.json").read_text()), as_json=False)
    text = capsys.readouterr().out
    for words in (
        "macro F1",
        "log loss",
        "KL divergence",
        "Each label, folds pooled",
        "mean shares of votes",
    ):
        assert words in text
    with few_of_reports():
        page = write_report([run], run / "report")
    assert page_data(page, "labels") is not None
    assert page_data(page, "confusion") is None
    assert "those with the largest log loss" in page.read_text()


def test_a_bundle_predicts_shares(run: Path, corpus: Any) -> None:
    _, clips, store = corpus
    bundle = load_bundle(run / "bundle")
    rows = as_rows(bundle.predict_clips(clips, cache=store.cache), bundle.labels, windows=False)
    votes = np.array([numbers(clip.labels["p_"]) for clip in clips])
    predicted = np.array([[row["probabilities"][name] for name in NAMES] for row in rows])
    np.testing.assert_allclose(predicted.sum(1), 1)
    assert [row["label"] for row in rows] == [NAMES[k] for k in predicted.argmax(1)]
    loss = -(votes / votes.sum(1, keepdims=True) * np.log(predicted)).sum(1).mean()
    assert loss < np.log(3) - 0.2  # it was fitted to these clips
    with pytest.raises(InputError, match="predicts shares of votes, which has no sets of labels"):
        bundle.set_threshold(0.9)
    assert not (run / "bundle" / "held_out.safetensors").exists()
