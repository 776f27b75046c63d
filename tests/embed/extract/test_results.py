"""States on their way to the host: the type they are stored in, and what is too large or not finite."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from layerprobe.embed.extract import results
from layerprobe.embed.extract.pooling import pool
from layerprobe.embed.extract.results import FrameStates, PooledStates, States

STATS = ("mean", "std")
WIDTHS = (6, 4, 4)  # `cnn` has a width of its own
LAYERS = ("cnn", "0", "1")
FRAMES = torch.tensor([5, 9, 7])


@pytest.fixture
def layers() -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    states = {
        layer: torch.randn(3, 11, width, generator=generator)
        for layer, width in zip(LAYERS, WIDTHS, strict=True)
    }
    for of_layer in states.values():
        for row, count in enumerate(FRAMES.tolist()):
            of_layer[row, count:] = torch.inf  # beyond a clip's own frames
    return states


def received(states: States, layers: dict[str, torch.Tensor]) -> States:
    for layer, of_layer in layers.items():
        states.visit(layer, of_layer, FRAMES)
    return states


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32])
def test_statistics_are_pooled_then_rounded(layers, dtype):
    tensors, peaks = received(PooledStates(STATS, WIDTHS, dtype=dtype), layers).to_host()
    assert tuple(tensors) == LAYERS
    for number, (layer, states) in enumerate(layers.items()):
        expected = pool(states, FRAMES, STATS)
        assert torch.equal(tensors[layer], expected.to(dtype))
        assert torch.equal(peaks[number], expected.abs().amax((1, 2)))


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32])
def test_every_frame_is_rounded_and_only_a_clips_own_count(layers, dtype):
    tensors, peaks = received(FrameStates(dtype), layers).to_host()
    for number, (layer, states) in enumerate(layers.items()):
        for row, count in enumerate(FRAMES.tolist()):
            own = states[row, :count]
            assert torch.equal(tensors[layer][row, :count], own.to(dtype))
            assert peaks[number, row] == own.abs().max()


@pytest.mark.parametrize("value", [torch.nan, torch.inf, -torch.inf, -7e4])
@pytest.mark.parametrize("kind", ["pooled", "frames"])
def test_a_state_that_cannot_be_stored_shows_in_the_peak_of_its_clip_and_layer(layers, kind, value):
    layers["0"][1, 3, 2] = value
    states: States = FrameStates(torch.float16)
    if kind == "pooled":
        states = PooledStates(("max", "min"), WIDTHS, dtype=torch.float16)
    _, peaks = received(states, layers).to_host()
    storable = (peaks.numpy() <= np.finfo(np.float16).max).tolist()
    assert storable == [[True] * 3, [True, False, True], [True] * 3]


def test_one_copy_for_a_batch_from_a_gpu(layers, monkeypatch):
    """The bytes of all layers and peaks travel together; what a GPU would send is put together here."""
    copies: list[torch.Tensor] = []

    def spy(values: torch.Tensor) -> torch.Tensor:
        copies.append(values)
        return values.as_subclass(torch.Tensor)

    class OnGpu(torch.Tensor):
        device = torch.device("cuda")

    monkeypatch.setattr(results, "to_host", spy)
    tensors = [torch.randn(3, 2), torch.randn(4, 3).half(), torch.randn(2, 2, 2).half()]
    on_host = results._copy_together([tensor.as_subclass(OnGpu) for tensor in tensors])
    assert len(copies) == 1
    for found, sent in zip(on_host, tensors, strict=True):
        assert torch.equal(found.as_subclass(torch.Tensor), sent)
