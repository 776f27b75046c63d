"""A study whose states exceed --memory: the same files as in memory, and a line that says what differs."""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from layerprobe.cache.common.errors import InputError
from layerprobe.cache.store.feature_store import FeatureStore
from layerprobe.classify.config import EvaluationConfig, StudyConfig
from layerprobe.classify.controls.evaluation import run_and_evaluate
from layerprobe.classify.predict.bundle import load_bundle
from layerprobe.classify.predict.make import make_bundle
from layerprobe.classify.search.plan import make_plan
from layerprobe.classify.search.study import run_study
from layerprobe.classify.search.summary import streaming_notes
from layerprobe.embed.manifest.clips import Clip
from tests.studies import made_clips, made_store

LITTLE = 5_000  # bytes: less than half of what a layer needs
CONFIG = StudyConfig(
    folds=3, inner_folds=2, trials=2, jobs=1, heads=("logreg", "xgboost"), scalings=("standard", "l2"),
    layers=("1",),
)  # fmt: skip


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> tuple[list[Clip], FeatureStore]:
    folder = tmp_path_factory.mktemp("study")
    clips = made_clips(folder / "corpus")
    return clips, made_store(folder / "cache", clips)


@pytest.fixture(scope="module")
def runs(
    corpus: tuple[list[Clip], FeatureStore], tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, Path]:
    """The same study in memory and from a file."""
    folder = tmp_path_factory.mktemp("runs")
    memory = run_study(*corpus, folder / "memory", CONFIG)
    return memory, run_study(*corpus, folder / "streamed", replace(CONFIG, memory=LITTLE))


def summary_of(run: Path) -> dict[str, Any]:
    summary: dict[str, Any] = json.loads((run / "summary.json").read_text())
    return summary


def rows_of(file: Path) -> list[dict[str, str]]:
    with file.open(newline="") as lines:
        return list(csv.DictReader(lines))


def test_the_run_folder_is_that_of_memory(runs: tuple[Path, Path]) -> None:
    memory, streamed = runs
    files = [sorted(path.name for path in run.iterdir()) for run in runs]
    assert files[0] == files[1]
    assert (memory / "splits.json").read_bytes() == (streamed / "splits.json").read_bytes()
    for one, other in zip(*(rows_of(run / "results.csv") for run in runs), strict=True):
        assert json.loads(one["params"]) == json.loads(other["params"])
        assert {name: one[name] for name in ("layer", "head", "uar")} == {
            name: other[name] for name in ("layer", "head", "uar")
        }
    for one, other in zip(*(rows_of(run / "predictions.csv") for run in runs), strict=True):
        assert one["predicted"] == other["predicted"]
        for label in "abc":
            assert float(other[f"p_{label}"]) == pytest.approx(float(one[f"p_{label}"]), abs=2e-3)


def test_it_is_said_in_one_line(runs: tuple[Path, Path]) -> None:
    memory, streamed = map(summary_of, runs)
    added = [note for note in streamed["notes"] if note not in memory["notes"]]
    assert added == [
        "the states of 72 clips need 10.4 kB a layer, and --memory is 5 kB: logreg, xgboost read them in "
        "blocks from a temporary file"
    ]


def test_the_same_folder_is_finished_with_any_memory(
    runs: tuple[Path, Path], corpus: tuple[list[Clip], FeatureStore]
) -> None:
    """Heads that stream with the same results do not make another run."""
    _, streamed = runs
    before = (streamed / "summary.json").read_bytes()
    run_study(*corpus, streamed, CONFIG)
    assert (streamed / "summary.json").read_bytes() == before


def test_an_svm_is_linear_and_the_mix_is_left_out(
    corpus: tuple[list[Clip], FeatureStore], tmp_path: Path
) -> None:
    config = replace(CONFIG, heads=("svm", "knn"), layers=(), memory=LITTLE)
    run = run_study(*corpus, tmp_path / "run", config)
    rows = rows_of(run / "results.csv")
    assert {row["layer"] for row in rows} == {"0", "1"}
    assert {json.loads(row["params"])["kernel"] for row in rows if row["head"] == "svm"} == {"linear"}
    (note,) = [note for note in summary_of(run)["notes"] if "temporary file" in note]
    assert note.endswith(
        "svm reads them in blocks from a temporary file; svm is linear, without RBF kernels and layer mix; "
        "knn needs them in memory all the same"
    )
    with pytest.raises(InputError, match=r"RBF kernels are left out, and now they are searched.*5000"):
        run_study(*corpus, run, replace(config, memory=1 << 30))


def test_a_mix_that_is_named_is_refused(corpus: tuple[list[Clip], FeatureStore]) -> None:
    plan = make_plan(*corpus, replace(CONFIG, heads=("svm",), layers=("0", "1", "mix"), memory=LITTLE))
    with pytest.raises(InputError, match=r"layer 'mix' of svm needs all clips in memory, 10\.4 kB"):
        plan.studies()


def test_sampling_needs_the_states_in_memory(corpus: tuple[list[Clip], FeatureStore]) -> None:
    plan = make_plan(*corpus, replace(CONFIG, sampling=("none", "smote"), memory=LITTLE))
    assert not plan.streams("logreg")
    assert streaming_notes(plan) == []
    assert make_plan(*corpus, replace(CONFIG, memory=LITTLE)).streams("logreg")


def test_a_quick_look_is_that_of_memory(corpus: tuple[list[Clip], FeatureStore], tmp_path: Path) -> None:
    config = StudyConfig(folds=3, inner_folds=2, jobs=2, quick=True)
    memory, streamed = (
        summary_of(run_study(*corpus, tmp_path / str(size), replace(config, memory=size)))
        for size in (1 << 30, LITTLE)
    )
    assert "ridge reads them in blocks" in streamed["notes"][-1]
    for one, other in zip(memory["layers"], streamed["layers"], strict=True):
        assert one["uar"] == other["uar"]
    assert memory["selected"]["layer"] == streamed["selected"]["layer"]


@pytest.mark.slow
@pytest.mark.parametrize("head", ["logreg", "svm", "xgboost"])
def test_a_bundle_is_that_of_memory(
    head: str, corpus: tuple[list[Clip], FeatureStore], tmp_path: Path
) -> None:
    """The selected system and its probabilities; of an SVM, whose search differs, that it can be made."""
    clips, store = corpus
    found = []
    for name, memory in (("memory", 1 << 30), ("streamed", LITTLE)):
        config = replace(CONFIG, heads=(head,), memory=memory)
        run = run_study(clips, store, tmp_path / name, config)
        bundle = load_bundle(make_bundle(run, clips, store, config))
        found.append(np.array([one.probabilities for one in bundle.predict_clips(clips, cache=store.cache)]))
    assert (found[1].argmax(1) == found[0].argmax(1)).mean() > 0.7
    if head != "svm":
        np.testing.assert_allclose(found[1], found[0], atol=5e-3)


@pytest.mark.slow
def test_controls_of_a_streamed_study_are_those_of_memory(
    corpus: tuple[list[Clip], FeatureStore], tmp_path: Path
) -> None:
    found = []
    for name, memory in (("memory", 1 << 30), ("streamed", LITTLE)):
        config = replace(CONFIG, heads=("logreg",), trials=1, memory=memory)
        evaluation = EvaluationConfig(audit=False, controls="cheap")
        found.append(run_and_evaluate(*corpus, tmp_path / name, config, evaluation=evaluation))
    assert found[0]["controls"]["shuffled"] == found[1]["controls"]["shuffled"]
