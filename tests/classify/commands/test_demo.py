"""The demo's corpus and models: which it takes, and what it says where something is missing."""

from __future__ import annotations

import pytest

from layerprobe.cache.common.errors import ModelError
from layerprobe.classify.commands.demo import (
    BASELINE,
    TRAINED,
    UNTRAINED,
    DemoOptions,
    _find_clips,
    _find_models,
)
from layerprobe.embed.models import sources
from tests.trees import baved_names, touch


@pytest.mark.parametrize(
    ("corpus", "name", "emotion"),
    [("emodb", "03a01Fa.wav", "happiness"), ("baved", "0/0-m-20-0-2-0.wav", "2")],
)
def test_a_real_corpus_is_read_in_its_layout(tmp_path, corpus, name, emotion):
    folder = touch(tmp_path / "corpus", name)
    (clip,) = _find_clips(DemoOptions(folder=folder, corpus=corpus, out=tmp_path / "demo"))
    assert clip.labels["emotion"] == emotion


def test_the_option_of_one_corpus_still_works(tmp_path):
    folder = touch(tmp_path / "corpus", *baved_names())
    assert len(_find_clips(DemoOptions(baved=folder, out=tmp_path / "demo"))) == 12


@pytest.mark.parametrize("available", [True, False])
def test_without_a_trained_model_the_demo_says_so_and_runs(monkeypatch, capsys, available):
    def find(_name: str) -> None:
        if not available:
            raise ModelError("cannot fetch it", do="check the network")

    monkeypatch.setattr(sources, "find_model", find)
    assert _find_models() == ((BASELINE, TRAINED, UNTRAINED) if available else (BASELINE, UNTRAINED))
    said = capsys.readouterr().err
    expected = (
        "has random weights" if available else "without a trained model, because of this: cannot fetch it"
    )
    assert expected in said
