"""The fingerprint of an extraction: which models and settings change it, and which do not."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from layerprobe.cache.identity import extraction as identity
from layerprobe.embed.config import EmbedConfig
from layerprobe.embed.models import backbones
from layerprobe.embed.models.backbones import open_backbone
from layerprobe.embed.models.presets import ACOUSTIC_PRESETS, AcousticSettings
from tests.tiny import save_tiny


@pytest.fixture
def config(tmp_path) -> EmbedConfig:
    folder = save_tiny(tmp_path / "model", "hubert-group")
    return EmbedConfig(model=str(folder), cache=tmp_path / "features", device="cpu")


def fingerprint(config: EmbedConfig) -> str:
    return open_backbone(config)[1].fingerprint()


def flip_a_weight(folder: Path) -> None:
    file = folder / "model.safetensors"
    data = bytearray(file.read_bytes())
    data[-1] ^= 1
    file.write_bytes(data)


def edit(name: str, **changes: Any) -> Callable[[Path], None]:
    def act(folder: Path) -> None:
        settings = json.loads((folder / name).read_text())
        (folder / name).write_text(json.dumps(settings | changes))

    return act


@pytest.mark.parametrize(
    "act",
    [
        flip_a_weight,
        edit("config.json", layer_norm_eps=1e-3),
        edit("preprocessor_config.json", do_normalize=False),
    ],
    ids=["weights", "architecture configuration", "normalisation"],
)
def test_it_changes_with_the_model(config, act):
    before = fingerprint(config)
    act(Path(config.model))
    assert fingerprint(config) != before


@pytest.mark.parametrize(
    "option",
    [
        {"window": 20.0},
        {"stats": ("mean",)},
        {"frames": True},
        {"dtype": "float32"},
        {"precision": "bf16"},
        {"layers": "1"},
    ],
    ids=str,
)
def test_it_changes_with_an_option(config, option):
    assert fingerprint(replace(config, **option)) != fingerprint(config)


def test_it_changes_with_acoustic_settings(config, monkeypatch):
    config = replace(config, model="mfcc")
    before = fingerprint(config)
    mfcc = ACOUSTIC_PRESETS["mfcc"]
    assert isinstance(mfcc, AcousticSettings)
    monkeypatch.setitem(ACOUSTIC_PRESETS, "mfcc", replace(mfcc, low=50.0))
    assert fingerprint(config) != before


def test_it_changes_with_the_layer_convention(config):
    extraction = open_backbone(config)[1]
    assert extraction.convention == identity.LAYER_CONVENTION
    changed = replace(extraction, convention=extraction.convention + 1)
    assert changed.fingerprint() != extraction.fingerprint()


def test_it_does_not_change_with_versions_batches_paths_or_the_machine(config, monkeypatch, tmp_path):
    before = fingerprint(config)
    moved = shutil.move(config.model, tmp_path / "elsewhere")
    monkeypatch.setattr(backbones, "versions", lambda: {"torch": "99"})
    monkeypatch.setattr(backbones, "describe_device", lambda device: "another machine")
    other = replace(config, model=str(moved), batch_seconds=1.0, cache=tmp_path / "other", on_error="stop")
    assert fingerprint(other) == before
