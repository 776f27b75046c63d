"""A batch equals its clips, and a clip alone equals transformers' own encoder, in every layer."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from layerprobe.cache.common.errors import InputError
from layerprobe.embed.config import RATE, EmbedConfig
from layerprobe.embed.doctor.model import layer_states
from layerprobe.embed.extract.batching import padded_length
from layerprobe.embed.models.backbones import open_backbone
from layerprobe.embed.models.interface import Backbone
from layerprobe.embed.models.sources import find_model
from layerprobe.embed.models.whisper.backbone import WhisperBackbone
from layerprobe.embed.models.whisper.context import Context
from layerprobe.embed.models.whisper.reference import WhisperReference
from tests.whispers import save_whisper

TOLERANCE = 1e-5  # of a layer's largest value
CPU = torch.device("cpu")
LAYERS = ("cnn", "0", "1", "2", "3", "final")
LIMIT = 30 * RATE
# Clips for which nothing, little and all of the silence fits into 30 seconds.
LONG = [LIMIT, LIMIT - 1, LIMIT - 150, LIMIT - 4_000, 16_000, 400]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_whisper(tmp_path_factory.mktemp("whisper"))


def open_whisper(folder: Path, *, seconds: float | None = None) -> WhisperBackbone:
    context = Context(seconds=seconds, limit=LIMIT)
    return WhisperBackbone(find_model(str(folder)), layers=LAYERS, context=context, device=CPU)


@pytest.fixture(scope="module")
def backbone(folder: Path) -> WhisperBackbone:
    return open_whisper(folder)


@pytest.fixture(scope="module")
def reference(folder: Path) -> WhisperReference:
    context = Context(seconds=None, limit=LIMIT)
    return WhisperReference(find_model(str(folder)), context=context, device=CPU, seed=0)


def waves_of(lengths: list[int], *, seed: int) -> torch.Tensor:
    """Noise whose level falls and rises and differs between clips, so that each has a range of its own."""
    generator = torch.Generator().manual_seed(seed)
    waves = torch.zeros(len(lengths), padded_length(max(lengths)))
    for i, (row, length) in enumerate(zip(waves, lengths, strict=True)):
        level = 0.5 * 10.0 ** -(i % 3) * torch.cos(torch.linspace(0, 9, length)).abs()
        row[:length] = level * torch.randn(length, generator=generator)
    return waves


def largest_difference(backbone: Backbone, lengths: list[int], *, seed: int = 0) -> float:
    """Between batch and alone, over all layers and clips, as a share of the layer's largest value."""
    waves = waves_of(lengths, seed=seed)
    batch = layer_states(backbone, waves, torch.tensor(lengths))
    assert tuple(batch) == backbone.layers
    worst = 0.0
    for i, length in enumerate(lengths):
        alone = layer_states(backbone, waves[i : i + 1, :length], torch.tensor([length]))
        for layer, states in alone.items():
            own = backbone.frames(length)
            assert states.shape[1] == own
            difference = (batch[layer][i, :own] - states[0]).abs().max() / states.abs().max()
            worst = max(worst, float(difference))
    return worst


@pytest.mark.parametrize("lengths", [[400, 5_000, 12_345, 16_000, 12 * RATE], LONG], ids=["clips", "long"])
def test_batch_equals_each_clip_alone(backbone, lengths):
    assert largest_difference(backbone, lengths) <= TOLERANCE


def test_batch_equals_each_clip_alone_in_a_context_of_30_seconds(folder):
    assert largest_difference(open_whisper(folder, seconds=30), [400, 16_000, LIMIT]) <= TOLERANCE


@settings(max_examples=15)
@given(
    lengths=st.lists(st.integers(400, 12 * RATE), min_size=2, max_size=4),
    seed=st.integers(0, 2**16),
)
def test_batch_equals_alone_for_any_mix_of_lengths(backbone, lengths, seed):
    assert largest_difference(backbone, lengths, seed=seed) <= TOLERANCE


def check_against(expected: dict[str, torch.Tensor], ours: dict[str, torch.Tensor], *, own: int) -> None:
    for layer, states in expected.items():
        scale = float(states.abs().max())
        torch.testing.assert_close(ours[layer][:, :own], states[:, :own], rtol=0, atol=TOLERANCE * scale)


@settings(max_examples=15)
@given(length=st.one_of(st.integers(400, 12 * RATE), st.integers(29 * RATE, LIMIT)), seed=st.integers(0, 99))
def test_alone_equals_transformers_with_the_same_silence(backbone, reference, length, seed):
    wave = waves_of([length], seed=seed)[:, :length]
    ours = layer_states(backbone, wave, torch.tensor([length]))
    check_against(reference.states(wave), ours, own=backbone.frames(length))


@pytest.mark.parametrize("length", [400, 16_000, LIMIT - 100, LIMIT])
def test_a_context_of_30_seconds_is_the_unmodified_model(folder, length):
    """The feature extractor and the model as they are used for transcription."""
    from transformers import WhisperFeatureExtractor, WhisperModel

    wave = waves_of([length], seed=1)[:, :length]
    model = WhisperModel.from_pretrained(folder).eval()
    extractor = WhisperFeatureExtractor.from_pretrained(folder)
    features = extractor(wave[0].numpy(), sampling_rate=RATE, return_tensors="pt").input_features
    blocks: list[torch.Tensor] = []
    model.encoder.layers[-1].register_forward_hook(lambda _m, _i, out: blocks.append(out))
    with torch.inference_mode():
        out = model.encoder(features, output_hidden_states=True)
        conv = torch.nn.functional.gelu(model.encoder.conv1(features))
        conv = torch.nn.functional.gelu(model.encoder.conv2(conv)).transpose(1, 2)
    expected = {str(k): states for k, states in enumerate(out.hidden_states[:-1])}
    expected |= {"3": blocks[0], "final": out.last_hidden_state, "cnn": conv}
    ours = layer_states(open_whisper(folder, seconds=30), wave, torch.tensor([length]))
    assert set(expected) == set(ours)
    check_against(expected, ours, own=-(-length // 320))


def test_the_comparisons_can_fail(folder, monkeypatch):
    """Without the zeros before the second convolution, padding reaches the last frames of the context."""
    from layerprobe.embed.models.whisper import encoder as module

    monkeypatch.setattr(
        module, "_beyond", lambda length, counts, _device: torch.zeros(len(counts), length, dtype=torch.bool)
    )
    assert largest_difference(open_whisper(folder), [5_000, 16_000]) > 100 * TOLERANCE


def test_the_silence_after_a_clip_matters_and_its_frames_are_not_passed_on(folder, backbone):
    """Only the clip's own frames count: one every 20 ms that begins within it."""
    length = 16_001
    wave = waves_of([length], seed=0)[:, :length]
    counts: list[list[int]] = []
    backbone.run(wave, torch.tensor([length]), lambda _layer, _states, frames: counts.append(frames.tolist()))
    assert counts == [[51]] * len(LAYERS)
    other = layer_states(open_whisper(folder, seconds=30), wave, torch.tensor([length]))
    here = layer_states(backbone, wave, torch.tensor([length]))
    assert float((other["final"] - here["final"]).abs().max()) > 1e-3


def test_no_block_above_the_last_selected_layer(folder, backbone):
    context = Context(seconds=None, limit=LIMIT)
    some = WhisperBackbone(find_model(str(folder)), layers=("0", "2"), context=context, device=CPU)
    assert len(some.encoder.layers) == 2
    wave, lengths = waves_of([6_000], seed=3), torch.tensor([6_000])
    states = layer_states(some, wave, lengths)
    assert list(states) == ["0", "2"]
    torch.testing.assert_close(states["2"], layer_states(backbone, wave, lengths)["2"], rtol=0, atol=0)


def test_random_weights_depend_on_the_seed_only():
    source = find_model("random:whisper-tiny.en")
    context = Context(seconds=None, limit=LIMIT)

    def weights(seed: int) -> str | None:
        torch.manual_seed(seed + 123)
        return WhisperBackbone(source, layers=("0",), context=context, device=CPU, seed=seed).weights

    assert weights(0) == weights(0) != weights(1)


@pytest.fixture
def config(folder: Path, tmp_path: Path) -> EmbedConfig:
    return EmbedConfig(model=str(folder), cache=tmp_path / "features", device="cpu")


def test_the_context_is_part_of_the_fingerprint(config):
    clip = open_backbone(config)[1]
    full = open_backbone(replace(config, whisper_context="30"))[1]
    same = open_backbone(replace(config, whisper_context="30.0"))[1]
    assert (clip.context, full.context) == ("clip+0.5", "30")
    assert clip.fingerprint() != full.fingerprint() == same.fingerprint()
    assert full.layers == LAYERS[1:]
    assert "--whisper-context 30" in full.embed_command(Path("features"))
    assert "--whisper-context" not in clip.embed_command(Path("features"))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"window": 40.0}, "--window 40 is longer than the 30 s"),
        ({"whisper_context": "40"}, "--whisper-context 40 is longer than the 30 s"),
        (
            {"whisper_context": "20"},
            "--whisper-context 20 is shorter than the 30 s of --window",
        ),
        (
            {"model": "mfcc", "whisper_context": "30"},
            "and mfcc is of another type",
        ),
        (
            {"model": "random:hubert-tiny", "whisper_context": "30"},
            "hubert-tiny is of another type",
        ),
    ],
    ids=str,
)
def test_a_context_that_does_not_fit_is_refused(config, changes, message):
    with pytest.raises(InputError, match=message):
        open_backbone(replace(config, **changes))


@pytest.mark.parametrize("context", ["", "CLIP", "0", "-3", "nan", "inf", "1e99"])
def test_a_context_that_is_no_length_is_refused(context):
    with pytest.raises(InputError, match=f"--whisper-context {context}; give clip or a number of seconds"):
        EmbedConfig(model="whisper-tiny.en", whisper_context=context)
