"""The classifier: padding changes no logit or gradient, and frozen parameters stay."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from layerprobe.classify.finetune.config import FinetuneConfig
from layerprobe.classify.finetune.data import LabelledWindow, collate
from layerprobe.classify.finetune.model import SpeechClassifier
from layerprobe.classify.finetune.networks import Wav2Vec2Network, masked_mean
from layerprobe.embed.config import EmbedConfig
from layerprobe.embed.models.backbones import open_backbone
from layerprobe.embed.models.sources import find_model
from tests.run import tone
from tests.tiny import TRAINABLE, save_batch_normed, save_tiny
from tests.voices import NO_DROPOUT
from tests.whispers import save_whisper

SECONDS = (1.3, 0.4, 0.9)


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    saved: dict[str, Any] = {}

    def folder(family: str, **changes: Any):
        name = f"{family}-{sorted(changes.items())}"
        if name not in saved:
            path = tmp_path_factory.mktemp("model") / "m"
            if family == "whisper":
                saved[name] = save_whisper(path, kind="WhisperModel", **changes)
            else:
                saved[name] = save_tiny(path, family, **{**NO_DROPOUT, **changes})
        return saved[name]

    return folder


def classifier(folder: Any, **changes: Any) -> SpeechClassifier:
    config = FinetuneConfig(**{"dropout": 0.0, **changes})
    return SpeechClassifier(find_model(str(folder)), config, classes=3)


def batch(*seconds: float) -> dict[str, torch.Tensor]:
    waves = [torch.from_numpy(tone(length, seed=number)) for number, length in enumerate(seconds)]
    return collate([LabelledWindow(wave=w, label=i % 3, weight=1.0, clip=i) for i, w in enumerate(waves)])


def single(batch: dict[str, torch.Tensor], row: int) -> tuple[torch.Tensor, torch.Tensor]:
    length = batch["lengths"][row : row + 1]
    return batch["waves"][row : row + 1, : int(length)], length


def gradients(model: SpeechClassifier) -> dict[str, torch.Tensor]:
    return {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}


def max_difference(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> float:
    assert one.keys() == other.keys()
    largest = max(float(g.abs().max()) for g in one.values())
    return max(float((one[name] - other[name]).abs().max()) for name in one) / largest


@pytest.mark.parametrize("weighted", [False, True], ids=["last", "weighted"])
@pytest.mark.parametrize("family", [*TRAINABLE, "whisper"])
def test_a_padded_batch_gives_each_clip_the_logits_and_gradients_it_has_alone(folders, family, weighted):
    model = classifier(folders(family), freeze="none", weighted_layers=weighted).train()
    inputs = batch(*SECONDS)
    together = model(inputs["waves"], inputs["lengths"])["logits"]
    each = torch.cat([model(*single(inputs, row))["logits"] for row in range(len(SECONDS))])
    torch.testing.assert_close(together, each, rtol=1e-4, atol=1e-5)

    torch.nn.functional.cross_entropy(together, inputs["labels"], reduction="sum").backward()
    batch_gradients = gradients(model)
    model.zero_grad()
    torch.nn.functional.cross_entropy(each, inputs["labels"], reduction="sum").backward()
    assert max_difference(gradients(model), batch_gradients) < 1e-4
    front_end = "backbone.conv1" if family == "whisper" else "backbone.feature_extractor"
    assert any(name.startswith(front_end) for name in batch_gradients)


def test_a_batch_norm_before_the_blocks_ignores_padding(tmp_path):
    model = classifier(save_batch_normed(tmp_path / "m", **NO_DROPOUT), freeze="none").train()
    inputs = batch(*SECONDS)
    together = model(inputs["waves"], inputs["lengths"])["logits"]
    each = torch.cat([model(*single(inputs, row))["logits"] for row in range(len(SECONDS))])
    torch.testing.assert_close(together, each, rtol=1e-4, atol=1e-5)


def test_without_exact_batching_padding_changes_the_logits(folders, monkeypatch):
    """The test above can fail: the unmodified model does not have the property it checks."""
    model = classifier(folders("hubert-group")).eval()
    inputs = batch(*SECONDS)
    assert isinstance(model.network, Wav2Vec2Network)
    with torch.no_grad():
        right = model(inputs["waves"], inputs["lengths"])["logits"]
        model.network.exact.set(None)
        monkeypatch.setattr(model.network.exact, "set", lambda lengths: None)
        wrong = model(inputs["waves"], inputs["lengths"])["logits"]
    assert float((right - wrong).abs().max()) > 1e-3


@pytest.mark.parametrize("family", ["hubert-group", "wavlm-layer", "data2vec", "whisper"])
def test_gradient_checkpointing_changes_no_gradient(folders, family):
    inputs = batch(*SECONDS)
    results = []
    for checkpointing in (False, True):
        model = classifier(
            folders(family), freeze="none", weighted_layers=True, gradient_checkpointing=checkpointing
        ).train()
        logits = model(inputs["waves"], inputs["lengths"])["logits"]
        torch.nn.functional.cross_entropy(logits, inputs["labels"]).backward()
        results.append(gradients(model))
    assert max_difference(*results) < 1e-5


def test_the_convolutional_front_end_is_frozen_by_default(folders):
    model = classifier(folders("hubert-group")).train()
    inputs = batch(*SECONDS)
    model(inputs["waves"], inputs["lengths"])["logits"].sum().backward()
    trained = gradients(model)
    assert not any(name.startswith("backbone.feature_extractor") for name in trained)
    assert any(name.startswith("backbone.feature_projection") for name in trained)
    assert any(name.startswith("backbone.encoder.layers.0") for name in trained)
    assert (
        classifier(folders("hubert-group"), freeze="none").trained_parameters() > model.trained_parameters()
    )


@pytest.mark.parametrize("family", [*TRAINABLE, "whisper"])
def test_lora_trains_every_adapter_and_nothing_else_of_the_backbone(folders, family):
    model = classifier(folders(family), lora=2).train()
    inputs = batch(*SECONDS)
    model(inputs["waves"], inputs["lengths"])["logits"].square().sum().backward()
    trained = gradients(model)
    adapters = {name for name in trained if name.startswith("backbone.")}
    assert adapters
    assert all("lora_" in name for name in adapters)
    # The second matrix starts at zero, so the first has no gradient yet; the second must have one.
    assert all(float(trained[name].abs().max()) > 0 for name in adapters if "lora_B" in name)
    assert {name for name in trained if not name.startswith("backbone.")} == {"head.1.weight", "head.1.bias"}
    assert model.trained_parameters() == sum(g.numel() for g in trained.values())


def test_a_whisper_classifier_pools_the_states_that_embed_computes(folders):
    folder = folders("whisper")
    backbone, _ = open_backbone(EmbedConfig(model=str(folder), layers="all", device="cpu"))
    inputs = batch(*SECONDS)
    states: dict[str, torch.Tensor] = {}
    backbone.run(
        inputs["waves"],
        inputs["lengths"],
        lambda layer, s, frames: states.update({layer: masked_mean(s, frames)}),
    )
    model = classifier(folder, weighted_layers=True).eval()
    assert model.names == tuple(states) == ("0", "1", "2", "3", "final")
    pooled = model.network.pooled(inputs["waves"], inputs["lengths"])
    for layer in states:
        torch.testing.assert_close(pooled[layer], states[layer], rtol=1e-4, atol=1e-5)


def test_a_whisper_encoder_keeps_its_positions_and_by_default_its_convolutions(folders):
    trained = {name for name, p in classifier(folders("whisper")).named_parameters() if p.requires_grad}
    frozen = {name for name, p in classifier(folders("whisper")).named_parameters() if not p.requires_grad}
    assert frozen == {
        "backbone.embed_positions.weight",
        *(f"backbone.conv{number}.{kind}" for number in (1, 2) for kind in ("weight", "bias")),
    }
    assert any(name.startswith("backbone.layers.2") for name in trained)
    all_but_positions = classifier(folders("whisper"), freeze="none")
    assert not all_but_positions.backbone.embed_positions.weight.requires_grad
    assert all_but_positions.backbone.conv1.weight.requires_grad


@pytest.mark.parametrize("family", ["wav2vec2-group", "wav2vec2-layer"])
def test_weighted_layers_are_the_softmax_weighted_sum_of_all_layers(folders, family):
    model = classifier(folders(family), weighted_layers=True).eval()
    assert model.names == ("0", "1", "2", "3", "final")[: 5 if family.endswith("layer") else 4]
    assert model.weights is not None
    with torch.no_grad():
        model.weights.copy_(torch.arange(len(model.names)).float())
        wave, length = single(batch(1.0), 0)
        outputs = model.backbone(wave, output_hidden_states=True)
        layers = list(outputs.hidden_states[: 3 + 1])
        if "final" in model.names:
            layers.append(outputs.last_hidden_state)
        share = torch.arange(len(layers)).float().softmax(0)
        pooled = sum(s * layer.mean(1) for s, layer in zip(share, layers, strict=True))
        torch.testing.assert_close(model(wave, length)["logits"], model.head(pooled), rtol=1e-4, atol=1e-5)


def test_a_layer_that_layerdrop_skips_outputs_its_input(folders):
    model = classifier(folders("hubert-group", layerdrop=1.0), weighted_layers=True).train()
    model.backbone.config.layerdrop = 1.0
    wave, length = single(batch(1.0), 0)
    seen: list[torch.Tensor] = []
    model.backbone.encoder.dropout.register_forward_hook(lambda _m, _i, output: seen.append(output))
    logits = model(wave, length)["logits"]
    torch.testing.assert_close(logits, model.head(seen[0].mean(1)))


def test_masked_mean_never_reads_padding():
    states = torch.randn(2, 5, 3)
    states[1, 2:] = float("nan")
    pooled = masked_mean(states, torch.tensor([5, 2]))
    torch.testing.assert_close(pooled, torch.stack([states[0].mean(0), states[1, :2].mean(0)]))


@pytest.mark.parametrize(("head", "size"), [("linear", 2), ("mlp", 5)])
def test_heads(folders, head, size):
    model = classifier(folders("hubert-group"), head=head, dropout=0.25)
    layers = list(model.head)
    assert len(layers) == size
    assert {layer.p for layer in layers if isinstance(layer, torch.nn.Dropout)} == {0.25}
    assert layers[-1].out_features == 3
    assert any(isinstance(layer, torch.nn.Tanh) for layer in layers) == (head == "mlp")


def test_spec_augment_follows_the_configuration_and_can_be_disabled(folders):
    folder = folders("hubert-group", mask_time_prob=0.3, mask_time_length=5)
    inputs = batch(1.0, 1.0)

    def differs(**changes: Any) -> bool:
        model = classifier(folder, **changes).train()
        one, other = (model(inputs["waves"], inputs["lengths"])["logits"] for _ in range(2))
        return not torch.equal(one, other)

    assert differs()
    assert not differs(spec_augment=False)


def test_clips_shorter_than_a_masked_span_are_not_masked(folders):
    model = classifier(folders("hubert-group", mask_time_prob=0.3, mask_time_length=10)).train()
    short = batch(0.1, 0.08)
    assert torch.isfinite(model(short["waves"], short["lengths"])["logits"]).all()
    assert model.backbone.config.apply_spec_augment


def test_the_seed_determines_the_initial_head():
    source = find_model("random:hubert-tiny")
    heads = [
        SpeechClassifier(source, FinetuneConfig(seed=seed), classes=3).head.state_dict()["1.weight"]
        for seed in (0, 0, 1)
    ]
    assert torch.equal(heads[0], heads[1])
    assert not torch.equal(heads[0], heads[2])
