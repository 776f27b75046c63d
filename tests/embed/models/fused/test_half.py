"""Half precision: weights rounded once give states as close to fp32 as autocast's, and a batch its clips."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from layerprobe.embed.checkpoints.loading import random_model
from layerprobe.embed.doctor.model import layer_states
from layerprobe.embed.extract.parallel import with_same_weights
from layerprobe.embed.models.layers import CNN, layer_names
from layerprobe.embed.models.wav2vec2 import TransformerBackbone
from tests.embed.models.test_backbones import CPU, random_source, transformers_states, waves_of

HALF = {"bf16": torch.bfloat16, "fp16": torch.float16}
FUSED = ("wav2vec2-group", "hubert-layer", "wavlm-group", "wavlm-layer", "data2vec", "unispeech-sat-layer")
LENGTH = 16_000


def open_half(family: str, precision: str, **changes: object) -> TransformerBackbone:
    source = random_source(family, **changes)
    layers = (CNN, *layer_names(source.config))
    return TransformerBackbone(source, layers=layers, device=CPU, precision=precision)


def error(states: dict[str, torch.Tensor], exact: dict[str, torch.Tensor]) -> float:
    """Root mean square over all layers, each as a share of its own."""
    shares = [
        (states[layer].float() - of).square().mean() / of.square().mean() for layer, of in exact.items()
    ]
    return float(torch.stack(shares).mean().sqrt())


@pytest.mark.parametrize("precision", HALF)
@pytest.mark.parametrize("family", FUSED)
def test_states_are_as_close_to_fp32_as_those_of_autocast(family, precision):
    backbone = open_half(family, precision)
    model = random_model(random_source(family), seed=0).eval()
    wave = waves_of([LENGTH], seed=1)[:, :LENGTH]
    exact = transformers_states(model, wave, backbone.layers)
    with torch.autocast("cpu", dtype=HALF[precision]):
        theirs = transformers_states(model, wave, backbone.layers)
    ours = layer_states(backbone, wave, torch.tensor([LENGTH]))
    assert 1e-5 < error(ours, exact) < 1.5 * error(theirs, exact)


@pytest.mark.parametrize("changes", [{}, {"adapter_attn_dim": 8}], ids=["plain", "adapter"])
def test_a_run_in_fp32_is_exact_after_one_in_half_precision(changes):
    half, fp32 = (open_half("wav2vec2-layer", precision, **changes) for precision in ("fp16", "fp32"))
    wave, lengths = waves_of([LENGTH], seed=2)[:, :LENGTH], torch.tensor([LENGTH])
    rounded = layer_states(half, wave, lengths)
    half.precision = "fp32"
    expected = layer_states(fp32, wave, lengths)
    for layer, states in layer_states(half, wave, lengths).items():
        assert torch.equal(states, expected[layer])
        assert not torch.equal(states, rounded[layer].float())


def test_weights_are_rounded_once_for_all_copies():
    backbone = open_half("hubert-group", "bf16")
    half: Any = backbone._models["bf16"]
    assert {p.dtype for p in half.front_end.conv_layers[1].parameters()} == {torch.bfloat16}
    assert half.blocks[0].inner.weight.dtype == torch.bfloat16
    assert half.norm.weight.dtype == half.blocks[0].second_norm.weight.dtype == torch.float32
    twin: Any = with_same_weights(backbone)
    theirs = dict(twin._models["bf16"].named_parameters())
    assert all(theirs[name] is parameter for name, parameter in half.named_parameters())


def test_the_modules_of_transformers_hold_no_second_copy_of_the_weights():
    """q, k and v are held once, joined."""
    backbone = open_half("wavlm-layer", "fp32")
    plain = random_model(random_source("wavlm-layer"), seed=0)
    count = sum(p.numel() for p in backbone.model.parameters())
    theirs = sum(p.numel() for p in plain.parameters())
    blocks: Any = backbone.blocks
    gates = sum(block.attention.heads * 2 * (32 + 1) for block in blocks)  # rows of zeros but for one head
    assert count <= theirs + gates
    assert len(blocks) == 3
