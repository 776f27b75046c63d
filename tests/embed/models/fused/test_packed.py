"""Packed linear layers compute what torch's own do, where the processor gains by them and where not."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from layerprobe.embed.doctor.model import layer_states
from layerprobe.embed.models import wav2vec2
from layerprobe.embed.models.fused import packed
from layerprobe.embed.models.wav2vec2 import TransformerBackbone
from tests.embed.models.test_backbones import CPU, random_source, waves_of

needs_operators = pytest.mark.skipif(not packed._has_operators(), reason="this torch has no such operators")


@needs_operators
@pytest.mark.parametrize("shape", [(7, 48), (3, 5, 48), (1, 1, 48)], ids=str)
@pytest.mark.parametrize("gelu", [False, True])
@torch.no_grad()
def test_a_packed_layer_is_the_layer(gelu, shape):
    linear = nn.Linear(48, 20)
    generator = torch.Generator().manual_seed(0)
    x = 3 * torch.randn(shape, generator=generator)
    expected = linear(x)
    expected = nn.functional.gelu(expected) if gelu else expected
    found = packed.PackedLinear(linear, gelu=gelu)(x)
    torch.testing.assert_close(found, expected, rtol=0, atol=2e-6 * float(expected.abs().max()))


@needs_operators
@pytest.mark.parametrize("family", ["hubert-layer", "wavlm-group"])
def test_states_are_the_same_with_and_without_packing(family, monkeypatch):
    source = random_source(family)
    waves, lengths = waves_of([9_000, 16_000], seed=0), torch.tensor([9_000, 16_000])
    states = []
    for helps in (True, False):
        monkeypatch.setattr(wav2vec2, "packing_helps", lambda helps=helps: helps)
        backbone = TransformerBackbone(source, layers=("0", "3"), device=CPU)
        kinds = {type(module) for module in backbone.blocks.modules()}
        assert (packed.PackedLinear in kinds) == helps
        assert (nn.Linear in kinds) != helps
        states.append(layer_states(backbone, waves, lengths))
    for layer, of_layer in states[1].items():
        own = of_layer[1]
        torch.testing.assert_close(states[0][layer][1], own, rtol=0, atol=1e-5 * float(own.abs().max()))
