"""A batch equals its clips, and a clip alone equals transformers' own forward, for every family and layer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from transformers import SeamlessM4TFeatureExtractor

from layerprobe.cache.common.errors import ModelError
from layerprobe.embed.checkpoints.configuration import FAMILIES as MODEL_TYPES
from layerprobe.embed.checkpoints.configuration import WHISPER
from layerprobe.embed.checkpoints.loading import random_model
from layerprobe.embed.checkpoints.source import ModelSource
from layerprobe.embed.config import RATE
from layerprobe.embed.doctor.model import layer_states
from layerprobe.embed.extract.batching import padded_length
from layerprobe.embed.models.backbones import BACKBONES
from layerprobe.embed.models.layers import CNN, FINAL, layer_names, other_layers
from layerprobe.embed.models.sources import find_model
from layerprobe.embed.models.wav2vec2 import TransformerBackbone
from tests.tiny import FAMILIES, save_batch_normed, save_tiny, tiny_config

pytestmark = pytest.mark.slow

TOLERANCE = 1e-5  # of a layer's largest value
CPU = torch.device("cpu")


def random_source(family: str, **changes: Any) -> ModelSource:
    config = tiny_config(family, **changes)
    name = f"random:{family}"
    return ModelSource(name=name, hub_id=None, revision="", folder=None, config=config, normalise=True)


def open_source(source: ModelSource) -> TransformerBackbone:
    layers = (*other_layers(source.config), *layer_names(source.config))
    return BACKBONES[source.config["model_type"]](source, layers=layers, device=CPU)


@cache
def open_family(family: str) -> TransformerBackbone:
    return open_source(random_source(family))


def shortest(family: str) -> int:
    """Samples of the shortest clip with a frame."""
    return next(samples for samples in (400, 560, 720) if open_family(family).frames(samples))


def waves_of(lengths: list[int], *, seed: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    waves = torch.zeros(len(lengths), padded_length(max(lengths)))
    for row, length in zip(waves, lengths, strict=True):
        row[:length] = torch.randn(length, generator=generator)
    return waves


def largest_difference(backbone: TransformerBackbone, lengths: list[int], *, seed: int = 0) -> float:
    """Over all layers and clips, as a share of the layer's largest value."""
    waves = waves_of(lengths, seed=seed)
    batch = layer_states(backbone, waves, torch.tensor(lengths))
    worst = 0.0
    for i, length in enumerate(lengths):
        alone = layer_states(backbone, waves[i : i + 1, :length], torch.tensor([length]))
        for layer, states in alone.items():
            assert states.shape[1] == backbone.frames(length)
            apart = (batch[layer][i, : states.shape[1]] - states[0]).abs().max() / states.abs().max()
            worst = max(worst, float(apart))
    return worst


@pytest.mark.parametrize("family", FAMILIES)
def test_batch_equals_each_clip_alone(family):
    lengths = [shortest(family), 5_000, 12_345, 16_000, 16_320, 12 * RATE]
    assert largest_difference(open_family(family), lengths) <= TOLERANCE


@pytest.mark.parametrize("family", FAMILIES)
@settings(max_examples=4, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    lengths=st.lists(st.integers(400, 12 * RATE), min_size=2, max_size=3),
    seed=st.integers(0, 2**16),
)
def test_batch_equals_alone_for_any_mix_of_lengths(family, lengths, seed):
    lengths = [max(length, shortest(family)) for length in lengths]
    assert largest_difference(open_family(family), lengths, seed=seed) <= TOLERANCE


def test_a_batch_norm_before_the_positional_convolution_leaks_no_padding(tmp_path):
    """As in mHuBERT: it makes zero padding nonzero, which must not reach the convolution after it."""
    source = find_model(str(save_batch_normed(tmp_path)))
    backbone = TransformerBackbone(source, layers=("0", "3"), device=CPU)
    assert largest_difference(backbone, [400, 5_000, 16_000]) <= TOLERANCE


@pytest.mark.parametrize("family", ["wav2vec2-group", "data2vec", "conformer-relative", "sew"])
def test_padding_leaks_without_exact_batching(family):
    """The comparison above can fail: transformers' own masked batch differs much for these."""
    model = random_model(random_source(family), seed=0).eval()
    lengths = [5_000, 16_000]
    waves = waves_of(lengths, seed=0)
    mask = torch.arange(waves.shape[1]) < torch.tensor(lengths)[:, None]
    with torch.inference_mode():
        padded = model(waves, attention_mask=mask).last_hidden_state[0]
        alone = model(waves[:1, :5_000]).last_hidden_state[0]
    assert float((padded[: len(alone)] - alone).abs().max()) > 1e-3


def transformers_states(model: Any, wave: torch.Tensor, layers: Sequence[str]) -> dict[str, torch.Tensor]:
    """transformers' own states of one clip (1, T), masked as its feature extractor asks for."""
    inputs = {"input_values": wave}
    if model.config.model_type == "wav2vec2-bert":
        features = SeamlessM4TFeatureExtractor()(wave[0].numpy(), sampling_rate=RATE, return_tensors="pt")
        inputs = dict(features)
    with torch.inference_mode():
        out = model(**inputs, output_hidden_states=True)
        states = {str(k): states for k, states in enumerate(out.hidden_states)}
        if CNN in layers:
            states[CNN] = model.feature_extractor(wave).transpose(1, 2)
    if FINAL in layers:
        states[FINAL] = out.last_hidden_state
    return states


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("length", [720, 16_000, 16_320, 77_777])
def test_alone_equals_transformers(family, length):
    backbone = open_family(family)
    theirs = random_model(random_source(family), seed=0).eval()
    wave = waves_of([length], seed=1)[:, :length]
    ours = layer_states(backbone, wave, torch.tensor([length]))
    expected = transformers_states(theirs, wave, backbone.layers)
    assert expected.keys() == ours.keys()
    for layer, states in ours.items():
        own = expected[layer][:, : states.shape[1]]  # transformers masks a last, incomplete frame
        scale = float(own.abs().max())
        # transformers' log-mel features are normalised in float32: 2e-5 of noise in a clip of three frames.
        tolerance = 2 * TOLERANCE if family == "w2v-bert" and length < 1_000 else TOLERANCE
        torch.testing.assert_close(states, own, rtol=0, atol=tolerance * scale)


@pytest.mark.parametrize(
    ("family", "changes"),
    [
        ("wav2vec2-layer", {"adapter_attn_dim": 8}),  # MMS
        ("w2v-bert", {"position_embeddings_type": "relative"}),
        ("w2v-bert", {"position_embeddings_type": "rotary"}),
        ("w2v-bert", {"add_adapter": True}),
        ("sew", {"num_conv_pos_embeddings": 16, "feat_extract_norm": "layer"}),
        ("sew", {"squeeze_factor": 3}),
        ("sew-d", {"num_conv_pos_embeddings": 128, "share_att_key": False}),
        ("conformer-relative", {"feat_extract_norm": "group"}),
    ],
    ids=str,
)
def test_variants_of_a_family_are_exact_too(family, changes):
    source = random_source(family, **changes)
    backbone = open_source(source)
    assert largest_difference(backbone, [1_200, 5_000, 16_000, 16_320]) <= TOLERANCE
    theirs = random_model(source, seed=0).eval()
    wave = waves_of([9_999], seed=1)[:, :9_999]
    expected = transformers_states(theirs, wave, backbone.layers)
    for layer, states in layer_states(backbone, wave, torch.tensor([9_999])).items():
        own = expected[layer][:, : states.shape[1]]
        torch.testing.assert_close(states, own, rtol=0, atol=TOLERANCE * float(own.abs().max()))


def test_every_family_has_a_backbone_and_is_tested():
    assert (*BACKBONES, WHISPER) == MODEL_TYPES
    assert {tiny_config(family)["model_type"] for family in FAMILIES} == set(BACKBONES)


@pytest.mark.parametrize("family", ["wav2vec2-layer", "hubert-layer", "wavlm-layer"])
def test_last_block_and_final_norm_are_two_layers(family):
    """Our names are the same whichever of the two a version of transformers returns as
    `hidden_states[-1]`."""
    backbone = open_family(family)
    theirs = random_model(random_source(family), seed=0).eval()
    wave = waves_of([8_000], seed=2)[:, :8_000]
    ours = layer_states(backbone, wave, torch.tensor([8_000]))
    blocks: list[torch.Tensor] = []
    theirs.encoder.layers[-1].register_forward_hook(
        lambda _m, _i, out: blocks.append(out[0] if isinstance(out, tuple) else out)
    )
    with torch.inference_mode():
        out = theirs(wave, output_hidden_states=True)
        before, after = blocks[0], theirs.encoder.layer_norm(blocks[0])
    torch.testing.assert_close(ours["3"], before, rtol=0, atol=1e-5)
    torch.testing.assert_close(ours["final"], after, rtol=0, atol=1e-5)
    assert float((before - after).abs().max()) > 0.1
    last = out.hidden_states[-1]
    version_5 = torch.allclose(last, before, atol=1e-5)
    version_4 = torch.allclose(last, after, atol=1e-5)
    assert version_5 != version_4


def test_no_block_above_the_last_selected_layer():
    source = random_source("hubert-group")
    backbone = TransformerBackbone(source, layers=("0", "2"), device=CPU)
    assert len(backbone.model.encoder.layers) == 2
    full = layer_states(open_family("hubert-group"), *_one())
    some = layer_states(backbone, *_one())
    assert list(some) == ["0", "2"]
    torch.testing.assert_close(some["2"], full["2"], rtol=0, atol=0)


def _one() -> tuple[torch.Tensor, torch.Tensor]:
    return waves_of([6_000], seed=3)[:, :6_000], torch.tensor([6_000])


def test_the_front_end_alone_runs_no_block():
    source = random_source("hubert-group")
    backbone = TransformerBackbone(source, layers=(CNN,), device=CPU)
    ran: list[int] = []
    backbone.model.encoder.layers[0].register_forward_hook(lambda *_: ran.append(1))
    assert list(layer_states(backbone, *_one())) == [CNN]
    assert not ran


@pytest.mark.parametrize(
    ("family", "torchaudio_name"), [("wav2vec2-group", "base"), ("wav2vec2-layer", "large")]
)
def test_torchaudio_gives_the_same_states(tmp_path, family, torchaudio_name):
    """The same weights in an independent implementation."""
    from torchaudio.models.wav2vec2.utils import import_huggingface_model
    from transformers import Wav2Vec2ForCTC

    folder = save_tiny(tmp_path, family)
    backbone = TransformerBackbone(find_model(str(folder)), layers=("1", "2", "3"), device=CPU)
    independent = import_huggingface_model(Wav2Vec2ForCTC.from_pretrained(folder)).eval()
    lengths = [9_000, 16_000]
    waves = waves_of(lengths, seed=4)
    ours = layer_states(backbone, waves, torch.tensor(lengths))
    for i, length in enumerate(lengths):
        with torch.inference_mode():
            theirs, _ = independent.extract_features(waves[i : i + 1, :length])
        for k, states in enumerate(theirs, start=1):
            mine = ours[str(k)][i : i + 1, : states.shape[1]]
            torch.testing.assert_close(mine, states, rtol=0, atol=1e-5 * float(states.abs().max()))


def test_random_weights_depend_on_the_seed_only():
    source = random_source("wavlm-group")
    torch.manual_seed(123)
    first = TransformerBackbone(source, layers=("0",), device=CPU)
    torch.manual_seed(321)
    second = TransformerBackbone(source, layers=("0",), device=CPU)
    other = TransformerBackbone(source, layers=("0",), device=CPU, seed=1)
    assert first.weights == second.weights != other.weights


def test_random_weights_do_not_depend_on_the_number_of_threads():
    """At the width of a real model, whose sums are divided among threads."""
    real, threads = find_model("random:hubert-base"), torch.get_num_threads()
    source = replace(real, config={**real.config, "num_hidden_layers": 1})
    hashes = set()
    try:
        for count in (1, 2):
            torch.set_num_threads(count)
            hashes.add(TransformerBackbone(source, layers=("0",), device=CPU).weights)
    finally:
        torch.set_num_threads(threads)
    assert len(hashes) == 1


def test_weights_of_another_configuration_are_rejected(tmp_path):
    folder = save_tiny(tmp_path, "hubert-group")
    config = (folder / "config.json").read_text()
    (folder / "config.json").write_text(config.replace('"num_hidden_layers": 3', '"num_hidden_layers": 4'))
    with pytest.raises(ModelError, match="missing from the weights"):
        TransformerBackbone(find_model(str(folder)), layers=("0",), device=CPU)


@pytest.mark.parametrize("damage", ["cut", "garbage"])
def test_damaged_weights_are_rejected(tmp_path, damage):
    folder = save_tiny(tmp_path, "hubert-group")
    file = folder / "model.safetensors"
    data = file.read_bytes()
    file.write_bytes(data[: len(data) // 2] if damage == "cut" else b"not tensors at all")
    with pytest.raises(ModelError, match=r"cannot load the weights|its header lists tensors up to byte"):
        TransformerBackbone(find_model(str(folder)), layers=("0",), device=CPU)


def test_pickled_weights_that_run_code_are_rejected(tmp_path):
    import pickle

    folder = save_tiny(tmp_path / "model", "hubert-group")
    (folder / "model.safetensors").unlink()
    flag = tmp_path / "ran"

    class Payload:
        def __reduce__(self):
            return Path.touch, (flag,)

    (folder / "pytorch_model.bin").write_bytes(pickle.dumps({"x": Payload()}))
    with pytest.raises(ModelError, match="cannot load the weights"):
        TransformerBackbone(find_model(str(folder)), layers=("0",), device=CPU)
    assert not flag.exists()
