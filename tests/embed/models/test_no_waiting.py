"""No batch makes the host wait for a GPU, read off the operations of batches on fake GPU tensors."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import pytest
import torch

from benchmarks.fake_gpu import GPU, Operations, count_batch, fake_gpu
from layerprobe.embed.config import EmbedConfig
from layerprobe.embed.models.whisper.backbone import WhisperBackbone
from tests.tiny import save_tiny

MODELS = (
    *("wav2vec2-group", "wav2vec2-layer", "hubert-group", "hubert-layer", "wavlm-group", "wavlm-layer"),
    *("data2vec", "unispeech-sat-layer", "random:whisper-tiny.en"),
)
UNEVEN, EVEN = (16_000, 12_345, 9_000), (16_000, 16_000)


@pytest.mark.parametrize(
    ("precision", "lengths"), [("fp32", UNEVEN), ("fp16", EVEN)], ids=["fp32-uneven", "fp16-even"]
)
@pytest.mark.parametrize("name", MODELS)
def test_a_batch_is_launched_without_waiting(tmp_path, name, precision, lengths):
    model = name if name.startswith("random:") else str(save_tiny(tmp_path, name))
    config = EmbedConfig(model=model, precision=precision, stats=("mean", "std", "max"))
    operations, (backbone, _) = count_batch(config, lengths)
    assert not operations.waiting
    opened: Any = backbone
    blocks = len(opened.encoder.layers if isinstance(backbone, WhisperBackbone) else opened.blocks)
    assert operations.launched["aten.scaled_dot_product_attention.default"] == blocks
    assert backbone.device == GPU


def test_half_precision_weights_are_not_cast_again(tmp_path):
    """No more casts than layers, inputs and statistics need; under autocast, each weight had its own."""
    config = EmbedConfig(model=str(save_tiny(tmp_path, "hubert-layer")), precision="fp16")
    operations, (backbone, _) = count_batch(config, UNEVEN)
    opened: Any = backbone
    parameters = len(list(opened.model.parameters()))
    casts = operations.launched["aten._to_copy.default"]
    assert casts <= 15 < parameters


@pytest.mark.parametrize(
    "wait",
    [
        lambda tensor: bool(tensor.any()),
        lambda tensor: tensor.nonzero(),
        lambda tensor: tensor[tensor > 0],
        lambda tensor: tensor.cpu(),
        lambda tensor: torch.ones(3).to(tensor.device),
        lambda tensor: torch.ones(3).to(tensor.device, non_blocking=True),  # from memory that is not pinned
        lambda tensor: tensor.sum().item(),
    ],
    ids=["bool", "nonzero", "index", "to the host", "to the device", "unpinned", "item"],
)
def test_what_waits_is_recognised(wait):
    with fake_gpu():
        tensor = torch.zeros(4, device=GPU)
        operations = Operations()
        with operations, suppress(RuntimeError):  # a fake has no content to answer with
            wait(tensor)
    assert operations.waiting


def test_copies_from_and_to_pinned_memory_do_not_wait():
    with fake_gpu():
        operations = Operations()
        with operations:
            there = torch.ones(3).pin_memory().to(GPU, non_blocking=True)
            back = torch.empty(3, pin_memory=True)
            back.copy_(there, non_blocking=True)
    assert not operations.waiting
    assert operations.launched.total() == 2
