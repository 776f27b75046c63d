"""Finding a model by name, and the hashes that identify its weights and configuration."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest

from layerprobe.cache.common.errors import ModelError
from layerprobe.embed.checkpoints.source import files_hash
from layerprobe.embed.models.layers import layer_names
from layerprobe.embed.models.presets import ARCHITECTURES, PRESETS
from layerprobe.embed.models.sources import find_model
from tests.tiny import save_tiny


@pytest.mark.parametrize("name", PRESETS)
def test_the_architecture_of_every_preset_is_known_offline(name):
    source = find_model(f"random:{name}")
    assert source.folder is None
    assert len(layer_names(source.config)) >= 3
    known = json.loads(ARCHITECTURES.read_text())
    assert source.config == known[PRESETS[name].architecture]


def test_the_checkpoints_that_studies_name_are_presets():
    hub_ids = {preset.hub_id for preset in PRESETS.values()}
    assert {
        "facebook/wav2vec2-base",
        "facebook/wav2vec2-large",
        "facebook/wav2vec2-large-xlsr-53",
        "facebook/wav2vec2-xls-r-300m",
        "facebook/hubert-base-ls960",
        "facebook/hubert-large-ll60k",
        "microsoft/wavlm-base",
        "microsoft/wavlm-base-plus",
        "microsoft/wavlm-large",
        "ntu-spml/distilhubert",
        "elgeish/wav2vec2-large-xlsr-53-arabic",
        "othrif/wav2vec2-large-xlsr-arabic",
        "Zaid/wav2vec2-large-xlsr-53-arabic-egyptian",
    } <= hub_ids


def test_presets_of_which_the_normalisation_is_unknown_are_documented():
    unknown = {name for name, preset in PRESETS.items() if preset.normalise is None}
    text = (Path(__file__).parents[3] / "docs" / "models.md").read_text()
    checks = text.split("## What is checked before a model is used")[1].split("\n## ")[0]
    assert unknown == set(re.findall(r"copy of\s+`([\w.-]+)`", checks))


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("nosuch", "no model named nosuch; known names: wav2vec2-base"),
        ("Hubert-bse", "no model named Hubert-bse; did you mean hubert-base"),
        ("random:nosuch", "no architecture named nosuch"),
        ("./nosuch", "no folder nosuch"),
        ("hubert-tiny", "has no published weights; use random:hubert-tiny"),
    ],
)
def test_a_missing_model_is_named(name, message):
    with pytest.raises(ModelError, match=re.escape(message)):
        find_model(name)


def test_a_local_folder(tmp_path):
    folder = save_tiny(tmp_path, "wavlm-group", normalise=False)
    source = find_model(str(folder))
    assert source.normalise is False
    assert source.weight_files() == [folder / "model.safetensors"]
    assert find_model(f"random:{folder}").weight_files() == []


def test_weights_in_several_files_are_all_listed(tmp_path):
    from transformers import AutoModel

    folder = save_tiny(tmp_path / "one", "hubert-group")
    AutoModel.from_pretrained(folder).save_pretrained(tmp_path / "many", max_shard_size="40KB")
    shutil.copy(folder / "preprocessor_config.json", tmp_path / "many")
    files = find_model(str(tmp_path / "many")).weight_files()
    assert len(files) > 1
    assert all(file.is_file() for file in files)


def test_safetensors_come_before_pickles(tmp_path):
    folder = save_tiny(tmp_path, "hubert-group")
    (folder / "pytorch_model.bin").write_bytes(b"")
    assert find_model(str(folder)).weight_files()[0].name == "model.safetensors"


@pytest.mark.parametrize(
    ("file", "text", "message"),
    [
        ("config.json", "{", "unreadable configuration"),
        ("config.json", '{"model_type": "bert"}', "is of type bert; supported are wav2vec2"),
        ("preprocessor_config.json", "[", "unreadable configuration"),
        ("config.json", "[]", "unreadable configuration"),
        ("preprocessor_config.json", "[]", "unreadable configuration"),
        (
            "preprocessor_config.json",
            '{"sampling_rate": 8000}',
            "it expects audio at 8000 Hz; only models of 16000",
        ),
        ("config.json", '{"model_type": "hubert"}', r"config\.json: its num_hidden_layers is missing"),
    ],
)
def test_a_folder_without_a_supported_model_is_rejected(tmp_path, file, text, message):
    folder = save_tiny(tmp_path, "hubert-group")
    (folder / file).write_text(text)
    with pytest.raises(ModelError, match=message):
        find_model(str(folder))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"num_hidden_layers": "three"}, "its num_hidden_layers is three"),
        ({"hidden_size": 0}, "its hidden_size is 0"),
        ({"conv_stride": None}, "its conv_stride is None"),
        ({"conv_stride": [5, 2]}, "differ in length"),
    ],
)
def test_an_inconsistent_configuration_is_rejected(tmp_path, changes, message):
    file = save_tiny(tmp_path, "hubert-group") / "config.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), **changes}))
    with pytest.raises(ModelError, match=message):
        find_model(str(tmp_path))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"weight_map":', "unreadable weight index"),
        ("[]", "unreadable weight index"),
        ('{"weight_map": {"x": "gone.safetensors"}}', "1 weight files are missing, such as gone"),
    ],
)
def test_an_index_without_its_weights_is_rejected(tmp_path, text, message):
    folder = save_tiny(tmp_path, "hubert-group")
    (folder / "model.safetensors.index.json").write_text(text)
    with pytest.raises(ModelError, match=message):
        find_model(str(folder)).weight_files()


def test_a_folder_without_weights_is_rejected(tmp_path):
    folder = save_tiny(tmp_path, "hubert-group")
    (folder / "model.safetensors").unlink()
    with pytest.raises(ModelError, match=r"no weights.*model\.safetensors"):
        find_model(str(folder)).weight_files()


def test_a_revision_of_a_folder_is_rejected(tmp_path):
    folder = save_tiny(tmp_path, "hubert-group")
    with pytest.raises(ModelError, match="--revision"):
        find_model(str(folder), revision="main")


class TestIdentity:
    """What changes the hashes of architecture and weights, and what does not."""

    def test_architecture_changes_with_settings_that_determine_states(self, tmp_path):
        plain = find_model(str(save_tiny(tmp_path / "a", "hubert-group"))).architecture()
        changes: list[dict[str, Any]] = [
            {"hidden_act": "relu"},
            {"layer_norm_eps": 1e-3},
            {"conv_bias": True},
        ]
        for number, change in enumerate(changes):
            other = save_tiny(tmp_path / f"b{number}", "hubert-group", **change)
            assert find_model(str(other)).architecture() != plain, change

    def test_architecture_does_not_change_with_provenance(self, tmp_path):
        folder = save_tiny(tmp_path, "hubert-group")
        before = find_model(str(folder)).architecture()
        config = json.loads((folder / "config.json").read_text())
        config |= {"transformers_version": "4.0.0", "_name_or_path": "elsewhere", "architectures": ["X"]}
        (folder / "config.json").write_text(json.dumps(config))
        assert find_model(str(folder)).architecture() == before

    def test_weights_change_with_one_bit_and_not_with_the_folder(self, tmp_path):
        folder = save_tiny(tmp_path / "a", "hubert-group")
        cache = tmp_path / "cache"
        before = files_hash(find_model(str(folder)), cache)
        moved = folder.rename(tmp_path / "b")
        assert files_hash(find_model(str(moved)), cache) == before
        file = moved / "model.safetensors"
        data = bytearray(file.read_bytes())
        data[-1] ^= 1
        file.write_bytes(data)
        assert files_hash(find_model(str(moved)), cache) != before
