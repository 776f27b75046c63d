from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from cache.errors import InputError
from cache.store import FeatureStore
from classify.bilstm import held_out
from classify.config import StudyConfig
from classify.runfolder import SUMMARY, read_json
from classify.study import run_study
from embed.manifest import Clip
from tests.studies import made_clips, made_frames, made_store

CONFIG = StudyConfig(heads=("bilstm",), folds=2, inner_folds=2, trials=1, jobs=1, scalings=("standard",))
SAME = ("splits.json", "results.csv", "predictions.csv", "summary.json", "figures/layers.svg")


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> tuple[list[Clip], FeatureStore]:
    folder = tmp_path_factory.mktemp("bilstm")
    clips = made_clips(folder / "corpus", speakers=8, each=8, classes=2)
    return clips, made_frames(folder / "cache", clips)


@pytest.fixture(scope="module")
def whole(corpus: tuple[list[Clip], FeatureStore], tmp_path_factory: pytest.TempPathFactory) -> Path:
    return run_study(*corpus, tmp_path_factory.mktemp("whole") / "run", CONFIG)


def test_speakers_that_decide_when_to_stop_are_not_trained_on() -> None:
    speakers, y = np.repeat(np.arange(10), 6), np.tile([0, 1, 2], 20)
    held = held_out(y, speakers, seed=0)
    assert not set(speakers[held]) & set(speakers[~held])
    assert len(set(speakers[held])) == 2
    assert set(y[held]) == set(y[~held]) == {0, 1, 2}


@pytest.mark.parametrize("speakers", [None, np.zeros(30, int), np.repeat([0, 1], 15)])
def test_no_class_is_lost_to_training_by_setting_speakers_aside(speakers: np.ndarray | None) -> None:
    y = np.repeat([0, 1], 15)  # with two speakers, each has a class of their own
    held = held_out(y, speakers, seed=0)
    assert held.sum() == 6
    assert set(y[~held]) == {0, 1}


def test_a_study_finds_what_pooled_statistics_do_not_show(
    whole: Path, corpus: tuple[list[Clip], FeatureStore], tmp_path: Path
) -> None:
    summary = read_json(whole / SUMMARY)
    assert summary["selected"]["uar"]["value"] > 0.8
    assert [(entry["layer"], entry["head"]) for entry in summary["layers"]] == [("0", "bilstm")]
    clips, _ = corpus
    pooled = made_store(tmp_path / "cache", clips, signal=0.0)  # as statistics of these frames would be
    config = replace(CONFIG, heads=("logreg",))
    plain = read_json(run_study(clips, pooled, tmp_path / "run", config) / SUMMARY)
    assert plain["selected"]["uar"]["value"] < 0.7


def test_processes_do_not_change_the_files(
    whole: Path, corpus: tuple[list[Clip], FeatureStore], tmp_path: Path
) -> None:
    out = run_study(*corpus, tmp_path / "two", replace(CONFIG, jobs=2))
    for name in SAME:
        assert (out / name).read_bytes() == (whole / name).read_bytes(), name


def test_the_control_that_looks_at_nothing_runs_beside_it(
    corpus: tuple[list[Clip], FeatureStore], tmp_path: Path
) -> None:
    out = run_study(*corpus, tmp_path / "run", replace(CONFIG, heads=("majority",)))
    assert read_json(out / SUMMARY)["selected"]["uar"]["value"] == pytest.approx(0.5)


@pytest.mark.parametrize("heads", [("svm",), ("bilstm", "logreg"), ("bilstm",)])
def test_heads_and_stores_that_do_not_fit_are_told_in_one_line(
    heads: tuple[str, ...], corpus: tuple[list[Clip], FeatureStore], tmp_path: Path
) -> None:
    clips, store = corpus
    told = {
        ("svm",): "keeps every frame, and svm read statistics.*or give --heads bilstm",
        ("bilstm", "logreg"): "bilstm reads every frame, logreg statistics over frames; search them in two",
        ("bilstm",): "keeps statistics over frames.*embed TABLE --model tiny .*--frames",
    }[heads]
    if heads == ("bilstm",):
        store = made_store(tmp_path / "pooled", clips)
    with pytest.raises(InputError, match=told) as error:
        run_study(clips, store, tmp_path / "run", replace(CONFIG, heads=heads))
    assert "\n" not in str(error.value)
