"""The identity of a model's states is known before its weights are loaded, and stays the same then."""

from __future__ import annotations

from pathlib import Path

import pytest

from layerprobe.cache.common.errors import ModelError
from layerprobe.embed.config import EmbedConfig
from layerprobe.embed.models import backbones
from layerprobe.embed.models.backbones import plan_model
from tests.tiny import save_tiny
from tests.whispers import save_whisper

KNOWN = ("layers", "widths", "normalise", "precision", "frame_rate", "receptive_field")


def model_of(folder: Path, family: str) -> str:
    """A model's name; one that is read from files is saved in `folder` first."""
    if family == "whisper":
        return str(save_whisper(folder))
    return family if family in ("mfcc", "random:hubert-tiny") else str(save_tiny(folder, family))


@pytest.mark.parametrize(
    "family",
    [
        "mfcc",
        "random:hubert-tiny",
        "whisper",
        "wav2vec2-layer",
        "data2vec",
        "conformer-rotary",
        "sew",
        "w2v-bert",
    ],
)
def test_what_is_planned_is_what_is_loaded(tmp_path, family):
    plan = plan_model(EmbedConfig(model=model_of(tmp_path / "model", family), cache=tmp_path, device="cpu"))
    backbone = plan.load()
    assert {name: getattr(backbone, name) for name in KNOWN} == {
        name: getattr(plan.extraction, name) for name in KNOWN
    }
    assert backbone.device == plan.device
    drawn = getattr(backbone, "weights", None)  # of random weights
    assert drawn in (None, plan.extraction.weights)


def test_weights_are_read_from_files_only_when_the_model_is_loaded(tmp_path, monkeypatch):
    folder = save_tiny(tmp_path / "model", "hubert-group")
    monkeypatch.setitem(backbones.BACKBONES, "hubert", lambda *_, **__: pytest.fail("it was loaded"))
    plan = plan_model(EmbedConfig(model=str(folder), cache=tmp_path, device="cpu"))
    with pytest.raises(pytest.fail.Exception, match="it was loaded"):
        plan.load()
    (folder / "model.safetensors").write_bytes(b"")
    with pytest.raises(ModelError, match="the file is empty"):
        plan_model(EmbedConfig(model=str(folder), cache=tmp_path, device="cpu"))
