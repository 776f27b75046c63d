"""The benchmark of heads on few clips: both heads of a pair are searched on the same folds."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path

import pytest

from benchmarks import bench_heads
from benchmarks.bench_heads import Head, measure, measure_study, plan_of, with_targets
from layerprobe.classify.config import StudyConfig
from layerprobe.classify.heads.frames.bilstm import BILSTM
from layerprobe.classify.heads.solvers import frame_training
from tests.studies import made_clips, made_frames, made_store

pytestmark = pytest.mark.slow
PAIRS: tuple[tuple[Head, Head], ...] = (
    (("regression", "ridge"), ("classification", "ridge")),
    (("ordinal", "ordinal"), ("classification", "logreg")),
    (("soft", "logreg"), ("classification", "logreg")),
)
FRAMES: tuple[Head, Head] = ("soft", "attention"), ("classification", "bilstm")


def test_pairs_on_statistics_and_frames(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(frame_training, "ROUNDS", 2)
    monkeypatch.setitem(BILSTM.start, "hidden", 32)
    clips = made_clips(tmp_path / "corpus", speakers=6, each=9)
    targets = with_targets(clips, target="emotion")
    assert targets[0].labels["label"] == "0"
    assert {clip.labels["votes"].count("=") for clip in targets} == {3}
    store = made_store(tmp_path / "cache", clips)
    for pair in PAIRS:
        figures = measure(targets, store, "1", pair, 2, repeats=1)
        assert figures["head"] == "/".join(pair[0])
        assert figures["clips"] == 54
        assert figures["trials"] == [2, 2]
        assert len(figures["ratios"]) == 1
        assert figures["ratio"] == pytest.approx(figures["ratios"][0], abs=1e-3)
    frames = made_frames(tmp_path / "frames", clips)
    assert measure(targets, frames, "0", FRAMES, 1, repeats=1)["trials"] == [1, 1]
    assert plan_of(targets, store, "1", ("regression", "ridge"), 3).config.pruner == "none"
    few = partial(StudyConfig, trials=1, folds=3, inner_folds=2, jobs=1)
    monkeypatch.setattr(bench_heads, "StudyConfig", few)
    measure_study(clips, store, target="emotion")
    line = json.loads(capsys.readouterr().out)
    assert (line["study"], line["layers"]) == ("weights", 2)
    assert line["wall_s"] > 0
