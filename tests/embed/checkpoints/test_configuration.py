"""What a checkpoint says about itself: every place where it may say it, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from layerprobe.cache.common.errors import ModelError
from layerprobe.embed.checkpoints.configuration import PREPROCESSOR, PROCESSOR, WAV2VEC2_BERT
from layerprobe.embed.checkpoints.loading import load_model
from layerprobe.embed.models.sources import find_model
from tests.tiny import save_tiny


@pytest.fixture
def folder(tmp_path) -> Path:
    return save_tiny(tmp_path / "model", "hubert-layer")


def edit(file: Path, **changes: Any) -> None:
    settings = json.loads(file.read_text()) if file.is_file() else {}
    file.write_text(json.dumps({**settings, **changes}))


def refusal(folder: Path, *, load: bool = False) -> str:
    with pytest.raises(ModelError) as error:
        (load_model if load else lambda source, **_: source)(find_model(str(folder)), seed=0)
    line = str(error.value)
    assert "\n" not in line
    return line


@pytest.mark.parametrize("normalise", [True, False])
@pytest.mark.parametrize("key", ["feature_extractor", "audio_processor"])
def test_normalisation_from_a_nested_processor_file(folder, normalise, key):
    """What transformers 5 writes for a model with a tokenizer."""
    (folder / PREPROCESSOR).unlink()
    edit(folder / PROCESSOR, **{key: {"do_normalize": normalise, "sampling_rate": 16_000}})
    assert find_model(str(folder)).normalise is normalise


def test_a_processor_file_without_settings_says_nothing(folder):
    """What transformers 4 wrote: names of classes."""
    edit(folder / PREPROCESSOR, do_normalize=False)
    edit(folder / PROCESSOR, processor_class="Wav2Vec2Processor")
    assert find_model(str(folder)).normalise is False
    (folder / PREPROCESSOR).unlink()
    assert f"add {PREPROCESSOR}" in refusal(folder)


def test_two_files_that_disagree_are_refused(folder):
    edit(folder / PROCESSOR, feature_extractor={"do_normalize": False})
    assert "disagree about do_normalize" in refusal(folder)
    edit(folder / PROCESSOR, feature_extractor={"do_normalize": True})
    assert find_model(str(folder)).normalise is True


def test_a_folder_without_the_settings_is_refused_with_the_file_to_add(folder):
    (folder / PREPROCESSOR).unlink()
    line = refusal(folder)
    assert f'add {PREPROCESSOR} from the model\'s page, or write {{"do_normalize": true' in line
    assert find_model(f"random:{folder}").normalise is True  # random weights were trained on nothing
    edit(folder / PREPROCESSOR, do_normalize=False, sampling_rate=16_000)  # the advice works
    assert find_model(str(folder)).normalise is False


def test_a_file_without_the_key_has_the_feature_extractors_default(folder):
    (folder / PREPROCESSOR).write_text('{"sampling_rate": 16000}')
    assert find_model(str(folder)).normalise is True


@pytest.mark.parametrize(("value", "normalise"), [("false", False), ("true", True), (0, False), (1, True)])
def test_flags_that_are_understood(folder, value, normalise):
    """`bool("false")` is true."""
    edit(folder / PREPROCESSOR, do_normalize=value)
    assert find_model(str(folder)).normalise is normalise


@pytest.mark.parametrize("value", [None, "maybe", 2, [], {}])
def test_other_flags_are_refused(folder, value):
    edit(folder / PREPROCESSOR, do_normalize=value)
    assert "its do_normalize is" in refusal(folder)


@pytest.mark.parametrize("rate", [16_000, "16000", 16_000.0])
def test_rates_that_are_understood(folder, rate):
    edit(folder / PREPROCESSOR, sampling_rate=rate)
    assert find_model(str(folder)).normalise


@pytest.mark.parametrize("rate", [8_000, "8000", None, "fast", True, [16_000]])
@pytest.mark.parametrize("nested", [False, True])
def test_other_rates_are_refused(folder, rate, nested):
    if nested:
        edit(folder / PROCESSOR, feature_extractor={"sampling_rate": rate})
    else:
        edit(folder / PREPROCESSOR, sampling_rate=rate)
    assert f"it expects audio at {rate} Hz" in refusal(folder)


def test_a_byte_order_mark_is_no_fault(folder):
    for file in folder.glob("*.json"):
        file.write_bytes(b"\xef\xbb\xbf" + file.read_bytes())
    load_model(find_model(str(folder)), seed=0)


@pytest.mark.parametrize(
    "content", [b"", b"\x00\x01", b"\xff\xfe{\x00}\x00", b"[" * 100_000, b"null"], ids=lambda b: repr(b[:8])
)
def test_a_file_that_is_no_json_object_is_refused(folder, content):
    (folder / "config.json").write_bytes(content)
    assert "unreadable configuration" in refusal(folder)


@pytest.mark.parametrize(
    "changes",
    [
        {"vocab_size": None},
        {"layerdrop": None},
        {"classifier_proj_size": None},
        {"num_feat_extract_layers": 6},
        {"attn_implementation": "flash_attention_2"},
        {"_attn_implementation": "flash_attention_2"},
        {"dtype": "float16", "torch_dtype": "float16"},
        {"quantization_config": None},
    ],
    ids=str,
)
def test_settings_that_change_no_state_are_ignored(folder, changes):
    expected = load_model(find_model(str(folder)), seed=0)
    edit(folder / "config.json", **changes)
    model = load_model(find_model(str(folder)), seed=0)
    wave = torch.randn(1, 4_000, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(
        model(wave).last_hidden_state, expected(wave).last_hidden_state, rtol=0, atol=0
    )


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"conv_bias": 0}, "conv_bias"),
        ({"conv_bias": None}, "conv_bias"),
        ({"layer_norm_eps": None}, "layer_norm_eps"),
        ({"layer_norm_eps": "small"}, "layer_norm_eps"),
        ({"num_attention_heads": 0}, ""),
        ({"num_attention_heads": 5}, ""),
        ({"num_attention_heads": None}, "num_attention_heads"),
        ({"intermediate_size": "64"}, "intermediate_size"),
        ({"hidden_act": "nosuch"}, "nosuch"),
        ({"hidden_act": None}, ""),
        ({"feat_extract_norm": "batch"}, ""),
        ({"num_conv_pos_embedding_groups": 0}, ""),
        ({"quantization_config": {"load_in_8bit": True}}, "quantised"),
    ],
    ids=str,
)
def test_settings_that_cannot_be_used_are_refused_in_one_line(folder, changes, words):
    edit(folder / "config.json", **changes)
    line = refusal(folder, load=True)
    assert words in line
    assert str(folder) in line


@pytest.mark.parametrize(
    "changes",
    [
        {"num_hidden_layers": 10**9},
        {"num_hidden_layers": 100_000},
        {"hidden_size": 10**7},
        {"hidden_size": 300_000},
        {"intermediate_size": 10**12},
        {"num_conv_pos_embeddings": 10**9},
        {"num_conv_pos_embeddings": 5_000_000, "hidden_size": 2_000},
        {"conv_dim": [10**8] * 7},
        {"conv_kernel": [10**6] * 7},
    ],
    ids=str,
)
def test_sizes_that_no_model_has_are_refused_before_anything_is_allocated(folder, changes):
    edit(folder / "config.json", **changes)
    assert "which no model has" in refusal(folder)


@pytest.mark.parametrize(
    ("file", "changes", "message"),
    [
        ("config.json", {"feature_projection_input_dim": 80}, "its feature_projection_input_dim is 80"),
        (PREPROCESSOR, {"num_mel_bins": 40}, "its num_mel_bins is 40"),
        (PREPROCESSOR, {"stride": 1}, "its stride is 1"),
    ],
)
def test_another_front_end_of_wav2vec2_bert_is_refused(tmp_path, file, changes, message):
    folder = save_tiny(tmp_path, "w2v-bert")
    source = find_model(str(folder))
    assert source.config["model_type"] == WAV2VEC2_BERT
    assert source.normalise is False
    edit(folder / file, **changes)
    assert message in refusal(folder)


def test_an_unsupported_type_is_refused_with_the_supported_ones(folder):
    edit(folder / "config.json", model_type="bert")
    line = refusal(folder)
    for family in ("wav2vec2", "unispeech-sat", "wav2vec2-conformer", "sew-d", "wav2vec2-bert"):
        assert family in line
