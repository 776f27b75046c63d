"""Which checkpoints are read, and how those that do not fit are refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from layerprobe.cache.common.errors import ModelError
from layerprobe.embed.models.sources import find_model
from layerprobe.embed.models.whisper.weights import load_encoder
from tests.whispers import save_whisper


def load(folder: Path) -> Any:
    return load_encoder(find_model(str(folder)), seed=0)


@pytest.mark.parametrize(
    "kind", ["WhisperForConditionalGeneration", "WhisperModel", "WhisperForAudioClassification"]
)
def test_the_encoder_of_every_kind_of_checkpoint_is_read(tmp_path, kind):
    import transformers

    folder = save_whisper(tmp_path, kind=kind)
    theirs = getattr(transformers, kind).from_pretrained(folder)
    expected = (theirs.model if hasattr(theirs, "model") else theirs).encoder.state_dict()
    ours = load(folder).state_dict()
    assert set(ours) == set(expected)
    for name, tensor in ours.items():
        assert torch.equal(tensor, expected[name]), name


def change_tensors(folder: Path, change: Callable[[dict[str, torch.Tensor]], object]) -> Path:
    file = folder / "model.safetensors"
    tensors = load_file(file)
    change(tensors)
    save_file(tensors, file, metadata={"format": "pt"})
    return folder


BIAS = "model.encoder.conv1.bias"


def test_the_decoder_is_neither_needed_nor_checked(tmp_path):
    def damage(tensors: dict[str, torch.Tensor]) -> None:
        for name in [name for name in tensors if ".decoder." in name]:
            del tensors[name]
        tensors["model.decoder.layers.9.unknown"] = torch.zeros(3)

    change_tensors(save_whisper(tmp_path), damage)
    load(tmp_path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t.pop(BIAS), "1 tensors of the encoder are missing from the weights, such as conv1.bias"),
        (
            lambda t: t.update({"model.encoder.layers.3.fc1.bias": torch.zeros(64)}),
            "1 tensors of the encoder have no place in its configuration, such as layers.3.fc1.bias",
        ),
        (lambda t: t.update({BIAS: torch.zeros(31)}), r"conv1.bias has shape \(31,\)"),
        (
            lambda t: t.update({BIAS: torch.zeros(32, dtype=torch.int8)}),
            "quantised weights are not supported",
        ),
    ],
    ids=["missing", "unused", "shape", "type"],
)
def test_an_encoder_that_is_not_the_configurations_is_refused(tmp_path, change, message):
    change_tensors(save_whisper(tmp_path), change)
    with pytest.raises(ModelError, match=message):
        load(tmp_path)


@pytest.mark.parametrize("kind", [torch.float16, torch.bfloat16, torch.float64])
def test_other_floating_types_are_read_as_fp32(tmp_path, kind):
    def convert(tensors: dict[str, torch.Tensor]) -> None:
        tensors.update({name: tensor.to(kind) for name, tensor in tensors.items()})

    change_tensors(save_whisper(tmp_path), convert)
    state = load(tmp_path).state_dict()
    assert {tensor.dtype for tensor in state.values()} == {torch.float32}


@pytest.mark.parametrize("legacy", [False, True], ids=["zip", "before torch 1.6"])
def test_a_pickle_is_read_without_running_it(tmp_path, legacy):
    folder = save_whisper(tmp_path)
    expected = load(folder).state_dict()
    tensors = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    file = folder / "pytorch_model.bin"
    torch.save(tensors, file, _use_new_zipfile_serialization=not legacy)
    ours = load(folder).state_dict()
    assert all(torch.equal(ours[name], expected[name]) for name in expected)

    flag = tmp_path / "ran"

    class Payload:
        def __reduce__(self):
            return Path.touch, (flag,)

    torch.save({"x": Payload()}, file)
    with pytest.raises(ModelError, match="cannot load the weights"):
        load(folder)
    assert not flag.exists()


@pytest.mark.parametrize("content", [b"", b"not tensors", None], ids=["empty", "garbage", "cut"])
@pytest.mark.parametrize("name", ["model.safetensors", "pytorch_model.bin"])
def test_damaged_files_are_refused(tmp_path, name, content):
    folder = save_whisper(tmp_path)
    file = folder / name
    if name == "pytorch_model.bin":
        torch.save(load_file(folder / "model.safetensors"), file)
        (folder / "model.safetensors").unlink()
    complete = file.read_bytes()
    file.write_bytes(complete[: len(complete) // 2] if content is None else content)
    with pytest.raises(ModelError):
        load(folder)


def edit(folder: Path, name: str, **changes: Any) -> None:
    content = json.loads((folder / name).read_text())
    (folder / name).write_text(json.dumps({**content, **changes}))


@pytest.mark.parametrize(
    ("name", "changes", "message"),
    [
        ("config.json", {"d_model": None}, "its d_model is None"),
        ("config.json", {"encoder_layers": "3"}, "its encoder_layers is 3"),
        ("config.json", {"encoder_layers": 10**9}, "its encoder_layers is 1000000000"),
        ("config.json", {"encoder_attention_heads": 5}, "no even multiple of 5"),
        ("config.json", {"max_source_positions": 0}, "its max_source_positions is 0"),
        ("config.json", {"activation_function": 3}, "its activation_function is 3"),
        ("preprocessor_config.json", {"hop_length": 80}, "its hop_length is 80, and the encoder expects 160"),
        ("preprocessor_config.json", {"feature_size": 128}, "its feature_size is 128"),
        ("preprocessor_config.json", {"sampling_rate": 8000}, "expects audio at 8000 Hz"),
    ],
    ids=str,
)
def test_a_configuration_that_cannot_be_used_is_refused(tmp_path, name, changes, message):
    folder = save_whisper(tmp_path)
    edit(folder, name, **changes)
    with pytest.raises(ModelError, match=message):
        find_model(str(folder))


def test_an_activation_that_transformers_lacks_is_refused(tmp_path):
    folder = save_whisper(tmp_path)
    edit(folder, "config.json", activation_function="sigh")
    with pytest.raises(ModelError, match="cannot build its encoder"):
        load(folder)


def test_only_the_encoder_identifies_the_architecture(tmp_path):
    folder = save_whisper(tmp_path)
    before = find_model(str(folder)).architecture()
    edit(folder, "config.json", decoder_layers=7, suppress_tokens=[1], transformers_version="9", dropout=0.5)
    assert find_model(str(folder)).architecture() == before
    edit(folder, "config.json", encoder_ffn_dim=65)
    assert find_model(str(folder)).architecture() != before


def test_without_a_preprocessor_file_clips_are_not_normalised(tmp_path):
    """As in WhisperFeatureExtractor, whose default differs from that of wav2vec 2.0."""
    folder = save_whisper(tmp_path)
    assert not find_model(str(folder)).normalise
    (folder / "preprocessor_config.json").unlink()
    assert not find_model(str(folder)).normalise
