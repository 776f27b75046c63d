"""Weight files: which are intact, and whether their tensors are those of the configuration."""

from __future__ import annotations

import json
import pickle
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from layerprobe.cache.common.errors import InputError, ModelError
from layerprobe.embed.checkpoints.loading import load_model
from layerprobe.embed.models.sources import find_model
from tests.run import cli, refused
from tests.tiny import save_tiny

pytestmark = pytest.mark.slow

SAFE, PICKLED = "model.safetensors", "pytorch_model.bin"
POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 12\n"


@pytest.fixture
def folder(tmp_path) -> Path:
    return save_tiny(tmp_path / "model", "wav2vec2-layer")


def pickle_weights(folder: Path, **options: Any) -> Path:
    """The same weights as torch.save writes them."""
    from safetensors.torch import load_file

    torch.save(load_file(folder / SAFE), folder / PICKLED, **options)
    (folder / SAFE).unlink()
    return folder / PICKLED


def change_tensors(folder: Path, change: Callable[[dict[str, torch.Tensor]], None]) -> None:
    from safetensors.torch import load_file, save_file

    tensors = load_file(folder / SAFE)
    change(tensors)
    save_file(tensors, folder / SAFE, metadata={"format": "pt"})


def edit_config(folder: Path, **changes: Any) -> None:
    file = folder / "config.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), **changes}))


def refusal(folder: Path) -> str:
    with pytest.raises(InputError) as error:
        load_model(find_model(str(folder)), seed=0)
    line = str(error.value)
    assert "\n" not in line
    assert str(folder) in line
    return line


@pytest.mark.parametrize("options", [{}, {"_use_new_zipfile_serialization": False}], ids=["zip", "legacy"])
def test_pickled_weights_are_read(folder, options):
    expected = load_model(find_model(str(folder)), seed=0).state_dict()
    pickle_weights(folder, **options)
    for name, tensor in load_model(find_model(str(folder)), seed=0).state_dict().items():
        torch.testing.assert_close(tensor, expected[name], rtol=0, atol=0)


@pytest.mark.parametrize("pickled", [False, True], ids=["safetensors", "pickle"])
@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "the file is empty"),
        (POINTER, "Git LFS pointer, not the weights"),
        (b"<!DOCTYPE html><html>Sign in</html>", "a web page, not the weights"),
        (b"\n <html>", "a web page, not the weights"),
        (b"not tensors at all", "cannot load the weights"),
        (bytes(5), "cannot load the weights"),
        (bytes(1_000), "cannot load the weights"),
        (b"\xff" * 1_000, "cannot load the weights"),
    ],
    ids=lambda value: repr(value)[:20],
)
def test_a_file_that_holds_no_weights_is_refused(folder, content, message, pickled):
    file = pickle_weights(folder) if pickled else folder / SAFE
    file.write_bytes(content)
    line = refusal(folder)
    assert message in line
    assert str(file) in line


@pytest.mark.parametrize("share", [0.001, 0.1, 0.5, 0.999])
@pytest.mark.parametrize("kind", ["safetensors", "zip", "legacy"])
def test_a_file_that_is_cut_short_is_refused(folder, kind, share):
    new = {"_use_new_zipfile_serialization": kind == "zip"}
    file = folder / SAFE if kind == "safetensors" else pickle_weights(folder, **new)
    data = file.read_bytes()
    file.write_bytes(data[: int(len(data) * share)])
    assert "download or copy it again" in refusal(folder)


def test_a_file_with_more_than_its_header_lists_is_refused(folder):
    with (folder / SAFE).open("ab") as file:
        file.write(bytes(10))
    assert "its header lists tensors up to byte" in refusal(folder)


@pytest.mark.parametrize(
    "header",
    [
        b"[]",
        b"{}",
        b'{"a": 1}',
        b'{"a": {"dtype": "F32", "shape": [1], "data_offsets": [0, "x"]}}',
        b"[" * 9_000,
    ],
)
def test_a_damaged_header_is_refused(folder, header):
    (folder / SAFE).write_bytes(struct.pack("<Q", len(header)) + header)
    refusal(folder)


def test_a_pickle_that_holds_something_else_is_refused(folder):
    file = pickle_weights(folder)
    torch.save([1, 2, 3], file)
    assert "cannot load the weights" in refusal(folder)
    file.write_bytes(pickle.dumps({"a": object}))
    assert "cannot load the weights" in refusal(folder)


def test_the_command_refuses_an_empty_file_in_one_line(folder):
    pickle_weights(folder).write_bytes(b"")
    assert "the file is empty" in refused(cli("doctor", folder))


def test_quantised_tensors_are_refused(folder):
    change_tensors(folder, lambda tensors: tensors.update({k: v.to(torch.int8) for k, v in tensors.items()}))
    assert "quantised weights are not supported" in refusal(folder)


def test_fewer_layers_in_the_configuration_than_in_the_file_are_refused(folder):
    edit_config(folder, num_hidden_layers=2)
    line = refusal(folder)
    assert "leaves 16 tensors of the encoder unused, such as encoder.layers.2." in line


def test_biases_that_the_configuration_leaves_unused_are_refused(folder):
    edit_config(folder, conv_bias=False)
    assert "feature_extractor.conv_layers.0.conv.bias" in refusal(folder)


def test_more_layers_in_the_configuration_than_in_the_file_are_refused(folder):
    edit_config(folder, num_hidden_layers=4)
    assert "16 tensors are missing from the weights, such as encoder.layers.3." in refusal(folder)


def test_tensors_of_another_shape_are_refused_with_both_shapes(folder):
    edit_config(folder, intermediate_size=128)
    line = refusal(folder)
    assert "((64,) in the file, (128,) in the model)" in line


@pytest.mark.parametrize(
    "family", ["wav2vec2-layer", "hubert-layer", "wavlm-layer", "sew", "w2v-bert", "data2vec"]
)
def test_heads_and_prefixes_are_no_fault(tmp_path, family):
    """A checkpoint with a CTC head: the encoder's names have a prefix, and the head is unused."""
    from transformers import AutoConfig, AutoModelForCTC

    folder = save_tiny(tmp_path, family)
    base = load_model(find_model(str(folder)), seed=0)
    config = AutoConfig.from_pretrained(folder, vocab_size=20)
    model = AutoModelForCTC.from_pretrained(folder, config=config)
    model.save_pretrained(folder)
    for name, tensor in load_model(find_model(str(folder)), seed=0).state_dict().items():
        torch.testing.assert_close(tensor, base.state_dict()[name], rtol=0, atol=0)
    # With a prefix too, a tensor of the encoder that is left unused is recognised.
    edit_config(folder, num_hidden_layers=1)
    assert "tensors of the encoder unused" in refusal(folder)


def test_constants_that_older_versions_saved_are_no_fault(tmp_path):
    folder = save_tiny(tmp_path, "conformer-relative")
    change_tensors(folder, lambda t: t.update({"encoder.embed_positions.pe": torch.zeros(1, 9, 32)}))
    change_tensors(folder, lambda t: t.update({"encoder.embed_positions.inv_freq": torch.zeros(4)}))
    load_model(find_model(str(folder)), seed=0)


def test_an_adapter_after_the_encoder_may_be_left_unused(tmp_path):
    folder = save_tiny(tmp_path, "wav2vec2-layer", add_adapter=True)
    edit_config(folder, add_adapter=False)
    load_model(find_model(str(folder)), seed=0)


def test_an_index_that_names_files_elsewhere_is_refused(folder):
    index = {"weight_map": {"x": "../other/model.safetensors"}}
    (folder / f"{SAFE}.index.json").write_text(json.dumps(index))
    with pytest.raises(ModelError, match="unreadable weight index"):
        find_model(str(folder)).weight_files()
