"""`doctor` on local models: what it checks, and what it must not call exact."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from tests.run import cli, refused
from tests.tiny import save_batch_normed, save_tiny
from tests.whispers import save_whisper

pytestmark = pytest.mark.slow


def differences(folder: Path) -> dict[str, tuple[float, float | None]]:
    """Each layer's two differences, of a model that doctor finds exact."""
    done = cli("doctor", folder, "--json")
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert report["exact"]
    assert report["largest"] <= report["tolerance"] == 1e-5
    return {check["layer"]: (check["batch"], check["reference"]) for check in report["layers"]}


def test_a_batch_norm_before_the_positional_convolution_is_exact(tmp_path):
    assert set(differences(save_batch_normed(tmp_path))) == {"0", "1", "2", "3"}


def test_an_adapter_after_the_encoder_is_not_compared(tmp_path):
    checked = differences(save_tiny(tmp_path, "wav2vec2-layer", add_adapter=True))
    assert {layer for layer, (_, reference) in checked.items() if reference is None} == {"3", "final"}


@pytest.mark.parametrize("kind", ["WhisperForConditionalGeneration", "WhisperForAudioClassification"])
def test_a_whisper_encoder_is_compared_with_the_model_of_transformers(tmp_path, kind):
    checked = differences(save_whisper(tmp_path, kind=kind))
    assert list(checked) == ["0", "1", "2", "3", "final"]
    assert [layer for layer, (_, reference) in checked.items() if reference is None] == ["3"]


@pytest.mark.parametrize("value", [torch.nan, torch.inf])
def test_states_that_are_not_finite_are_never_called_exact(tmp_path, value):
    from transformers import AutoModel

    model = AutoModel.from_pretrained(save_tiny(tmp_path, "hubert-group"))
    torch.nn.init.constant_(model.encoder.layers[1].feed_forward.output_dense.bias, value)
    model.save_pretrained(tmp_path)
    line = refused(cli("doctor", tmp_path))
    assert f"{tmp_path}: layer 2 has states that are not finite" in line
