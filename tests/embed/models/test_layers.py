"""Names, widths and frame counts of layers, from a configuration alone."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from layerprobe.cache.common.errors import InputError
from layerprobe.embed.models.layers import (
    frame_count,
    hop,
    layer_names,
    layer_width,
    parse_layers,
    receptive_field,
)
from tests.tiny import tiny_config

POST, PRE = tiny_config("hubert-group"), tiny_config("hubert-layer")


def test_final_is_a_layer_only_where_a_norm_follows_the_last_block():
    assert layer_names(POST) == ("0", "1", "2", "3")
    assert layer_names(PRE) == ("0", "1", "2", "3", "final")


def test_widths():
    config = {**POST, "conv_dim": [16] * 7}
    assert (layer_width(config, "cnn"), layer_width(config, "2")) == (16, 32)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("all", ("0", "1", "2", "3", "final")),
        ("0-2", ("0", "1", "2")),
        ("3,1", ("1", "3")),
        ("1-2,2-3,final", ("1", "2", "3", "final")),
        ("final, cnn", ("cnn", "final")),
        ("all,cnn", ("cnn", "0", "1", "2", "3", "final")),
        ("2-final", ("2", "3", "final")),
    ],
)
def test_layers_are_selected_by_name_and_range(text, expected):
    assert parse_layers(text, layer_names(PRE), also=("cnn",)) == expected


@pytest.mark.parametrize("text", ["4", "0-9", "", "1,,2", "last", "-1", "1-"])
def test_a_missing_layer_is_named(text):
    with pytest.raises(InputError, match="there are 0, 1, 2, 3") as error:
        parse_layers(text, layer_names(POST))
    assert text in str(error.value)


def test_a_backward_range_is_rejected_with_the_forward_one():
    with pytest.raises(InputError, match=r"layers 2-1 run backwards; write 1-2"):
        parse_layers("0,2-1", layer_names(POST))


@given(st.integers(400, 40_000))
def test_frame_counts_are_those_of_the_convolutions(samples):
    wave = torch.zeros(1, 1, samples)
    for kernel, stride in zip(POST["conv_kernel"], POST["conv_stride"], strict=True):
        wave = torch.nn.functional.conv1d(wave, torch.zeros(1, 1, kernel), stride=stride)
    assert frame_count(POST, samples) == wave.shape[-1] >= 1


def test_frame_rate_and_receptive_field():
    """25 ms windows every 20 ms, as in the wav2vec 2.0 paper (Baevski et al. 2020, section 4.2)."""
    assert hop(POST) == 320
    assert receptive_field(POST) == 400
    assert frame_count(POST, 399) == 0
