"""Packed linear layers compute what torch's own do, where the processor gains by them and where not."""

from __future__ import annotations

from typing import Any

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
@pytest.mark.parametrize(("dtype", "error"), [(torch.float32, 2e-6), (torch.bfloat16, 4e-3)], ids=str)
@torch.no_grad()
def test_a_packed_layer_is_the_layer(gelu, shape, dtype, error):
    """In bf16, of the rounded numbers: only the result is rounded once more."""
    linear = nn.Linear(48, 20).to(dtype)
    generator = torch.Generator().manual_seed(0)
    x = 3 * torch.randn(shape, generator=generator).to(dtype)
    expected = nn.functional.linear(x.double(), linear.weight.double(), linear.bias.double())
    expected = nn.functional.gelu(expected) if gelu else expected
    found = packed.PackedLinear(linear, gelu=gelu)(x)
    assert found.dtype == dtype
    torch.testing.assert_close(found.double(), expected, rtol=0, atol=error * float(expected.abs().max()))


@needs_operators
@pytest.mark.parametrize(("precision", "error"), [("fp32", 1e-5), ("bf16", 5e-2)])
@pytest.mark.parametrize("family", ["hubert-layer", "wavlm-group"])
def test_states_are_the_same_with_and_without_packing(family, precision, error, monkeypatch):
    source = random_source(family)
    waves, lengths = waves_of([9_000, 16_000], seed=0), torch.tensor([9_000, 16_000])
    states = []
    for helps in (True, False):
        monkeypatch.setattr(wav2vec2, "packing_helps", lambda _dtype, helps=helps: helps)
        backbone = TransformerBackbone(source, layers=("0", "3"), device=CPU, precision=precision)
        model: Any = backbone._models[precision]
        kinds = {type(module) for module in model.blocks.modules()}
        assert (packed.PackedLinear in kinds) == helps
        assert (nn.Linear in kinds) != helps
        states.append(layer_states(backbone, waves, lengths))
    for layer, of_layer in states[1].items():
        own = of_layer[1]
        torch.testing.assert_close(states[0][layer][1], own, rtol=0, atol=error * float(own.abs().max()))


def test_bf16_is_packed_where_the_processor_multiplies_it(monkeypatch):
    monkeypatch.setattr(packed.platform, "machine", lambda: "x86_64")
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: "AVX512")
    monkeypatch.setattr(packed, "_has_operators", lambda: True)
    for avx, amx in ((True, False), (False, True), (False, False)):
        monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda avx=avx: avx)
        monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda amx=amx: amx)
        assert packed.packing_helps.__wrapped__(torch.bfloat16) == (avx or amx)
        assert not packed.packing_helps.__wrapped__(torch.float16)
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: "AVX2")
    assert not packed.packing_helps.__wrapped__(torch.float32)
