"""The head `attention`: frames that few of a clip's frames decide, and a study on them."""

from __future__ import annotations

from pathlib import Path

import pytest

from layerprobe.cache.common.errors import InputError
from layerprobe.classify.config import StudyConfig
from layerprobe.classify.heads.neural import attention
from layerprobe.classify.heads.neural.attention import ATTENTION
from layerprobe.classify.heads.solvers import frames_torch
from layerprobe.classify.heads.solvers.attention_torch import AttentionPooling
from layerprobe.classify.runs.run_folder import RUN, SUMMARY, read_json
from layerprobe.classify.search.study import run_study
from tests.studies import made_clips, made_frames, made_store

pytestmark = pytest.mark.slow


def test_a_study_runs_on_frames_and_counts_the_parameters(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(frames_torch, "ROUNDS", 2)
    monkeypatch.setattr(attention, "HIDDEN", [8])
    monkeypatch.setitem(ATTENTION.start, "hidden", 8)
    clips = made_clips(tmp_path / "corpus", speakers=4, each=6, classes=2)
    store = made_frames(tmp_path / "cache", clips)
    config = StudyConfig(
        heads=("attention",), folds=2, inner_folds=2, trials=1, jobs=1, scalings=("standard",)
    )
    run = run_study(clips, store, tmp_path / "run", config)
    summary = read_json(run / SUMMARY)
    assert summary["selected"]["head"] == "attention"
    params = summary["selected"]["folds"][0]["params"]
    model = AttentionPooling(
        6, 2, hidden=params["hidden"], queries=params["queries"], dropout=params["dropout"]
    )
    assert read_json(run / RUN)["cost"]["trained_parameters"] == sum(p.numel() for p in model.parameters())


def test_statistics_are_refused_in_one_line(tmp_path: Path) -> None:
    clips = made_clips(tmp_path / "corpus", speakers=4, each=6, classes=2)
    store = made_store(tmp_path / "cache", clips)
    with pytest.raises(
        InputError, match=r"statistics over frames, and attention reads every frame; run.*--frames"
    ):
        run_study(clips, store, tmp_path / "run", StudyConfig(heads=("attention",)))
