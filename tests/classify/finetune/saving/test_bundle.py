"""The folder of a kept model is one of transformers' own, which gives the logits of training."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy.special import softmax

from layerprobe.cache.common.errors import InputError
from layerprobe.classify.finetune.config import FinetuneConfig
from layerprobe.classify.finetune.model import SpeechClassifier
from layerprobe.classify.finetune.saving import bundle as saving
from layerprobe.classify.finetune.saving.bundle import save_model
from layerprobe.classify.predict.bundle import load_bundle
from layerprobe.classify.predict.finetuned import FinetunedBundle
from layerprobe.classify.predict.transformers_export import export_transformers
from layerprobe.classify.runs.bundle_files import write_bundle
from layerprobe.embed.config import EmbedConfig
from layerprobe.embed.extract.in_memory import StateExtractor
from layerprobe.embed.models.layers import layer_names
from layerprobe.embed.models.sources import find_model
from tests.run import tone
from tests.tiny import TRAINABLE, save_tiny, tiny_config
from tests.whispers import save_whisper

LABELS = ("calm", "<b>loud</b>", "sad")
FILES = {"bundle.json", "config.json", "model.safetensors", "preprocessor_config.json", "README.md"}
ABOUT = {
    "fold": 0,
    "target": "emotion",
    "base_model": "lab/base | <b>",
    "revision": "0123abc",
    "metric": "uar",
    "validation_score": 0.5,
}
WAVES = [tone(seconds, seed=number) for number, seconds in enumerate((0.5, 1.3, 2.4))]


def saved(folder: Path, model: Path, **settings: Any) -> tuple[Path, np.ndarray]:
    """The bundle of a model whose every part is random, and its logits of `WAVES`, each alone."""
    config = FinetuneConfig(freeze="none", **settings)
    source = find_model(str(model))
    trained = SpeechClassifier(source, config, classes=3)
    torch.manual_seed(1)
    for name, parameter in trained.named_parameters():
        if "lora_B" in name or name == "weights":  # zero before training
            torch.nn.init.normal_(parameter, std=0.5)
    trained.eval()
    logits = []
    for wave in WAVES:
        normal = (wave - wave.mean()) / wave.std() if source.normalise else wave
        with torch.inference_mode():
            given = torch.from_numpy(normal)[None], torch.tensor([len(wave)])
            logits.append(trained(*given)["logits"][0].numpy())
    weights = folder / "weights.safetensors"
    from safetensors.torch import save_file

    save_file(trained.state_dict(), weights)
    out = save_model(
        folder / "bundle", trained, source=source, config=config, labels=LABELS, precision="fp32",
        about=ABOUT,
    )  # fmt: skip
    return out, np.stack(logits)


def by_transformers(folder: Path) -> np.ndarray:
    from transformers import AutoFeatureExtractor, AutoModelForAudioClassification

    model = AutoModelForAudioClassification.from_pretrained(folder).eval()
    assert model.config.id2label == dict(enumerate(LABELS))
    processor = AutoFeatureExtractor.from_pretrained(folder)
    rows = []
    for wave in WAVES:
        with torch.inference_mode():
            rows.append(model(**processor(wave, sampling_rate=16_000, return_tensors="pt")).logits[0])
    return np.stack([row.numpy() for row in rows])


@pytest.mark.parametrize(
    ("family", "settings"),
    [
        *((family, {}) for family in TRAINABLE),
        *((family, {"weighted_layers": True}) for family in ("wav2vec2-group", "data2vec", "hubert-layer")),
        *((family, {"lora": 2}) for family in ("hubert-layer", "wavlm-group")),
    ],
)
def test_transformers_computes_the_logits_of_training(
    family: str, settings: dict[str, Any], tmp_path: Path
) -> None:
    model = save_tiny(tmp_path / "tiny", family, normalise="group" in family)
    folder, expected = saved(tmp_path, model, **settings)
    ours = load_bundle(folder).predict_proba(WAVES, sampling_rate=16_000)
    np.testing.assert_allclose(ours, softmax(expected, axis=1), atol=1e-5)
    if settings.get("weighted_layers") and "final" in layer_names(tiny_config(family)):
        assert {path.name for path in folder.iterdir()} == FILES
        with pytest.raises(InputError, match="a weighted sum with the final LayerNorm's output"):
            export_transformers(load_bundle(folder), tmp_path / "out")
        return
    np.testing.assert_allclose(by_transformers(folder), expected, atol=1e-4)
    out = export_transformers(load_bundle(folder), tmp_path / "out")
    assert not (out / "bundle.json").exists()
    np.testing.assert_allclose(by_transformers(out), expected, atol=1e-4)


def test_a_backbone_in_half_precision_becomes_a_model_in_single(tmp_path: Path) -> None:
    model = save_tiny(tmp_path / "tiny", "hubert-group", dtype="float16")
    folder, expected = saved(tmp_path, model)
    np.testing.assert_allclose(by_transformers(folder), expected, atol=1e-4)


def test_the_pipeline_runs_the_folder(tmp_path: Path) -> None:
    from transformers import pipeline

    folder, expected = saved(tmp_path, save_tiny(tmp_path / "tiny", "hubert-group"))
    card = (folder / "README.md").read_text()
    assert "library_name: transformers" in card
    assert "base_model: lab/base | <b>" in card
    assert "lab/base &#124; &lt;b&gt;, fine-tuned: emotion" in card
    assert "<b>" not in card.split("---", 2)[2]
    classifier = pipeline("audio-classification", model=str(folder))
    for wave, logits in zip(WAVES, expected, strict=True):
        found = {one["label"]: one["score"] for one in classifier(wave)}
        assert found == pytest.approx(dict(zip(LABELS, softmax(logits), strict=True)), abs=1e-5)


def test_a_bundle_of_an_earlier_version_is_exported(tmp_path: Path) -> None:
    """It has the tensors by our own names, and its adapters apart."""
    new, expected = saved(tmp_path, save_tiny(tmp_path / "tiny", "wav2vec2-group"), lora=2)
    content = json.loads((new / "bundle.json").read_text())

    def write(part: Path) -> dict[str, Any]:
        shutil.copyfile(tmp_path / "weights.safetensors", part / "model.safetensors")
        kept = {name: value for name, value in content.items() if name not in ("format", "files", "sha256")}
        return {**kept, "model": {**content["model"], "names": "own", "lora": 2}}

    folder = write_bundle(tmp_path / "earlier", write)
    ours = load_bundle(folder).predict_proba(WAVES, sampling_rate=16_000)
    np.testing.assert_allclose(ours, softmax(expected, axis=1), atol=1e-5)
    out = export_transformers(load_bundle(folder), tmp_path / "out")
    np.testing.assert_allclose(by_transformers(out), expected, atol=1e-4)


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"head": "mlp"}, "the head mlp: its own is linear"),
        ({}, "a Whisper encoder pooled over the clip alone: its own averages 30 s, silence included"),
    ],
    ids=["mlp", "whisper"],
)
def test_what_transformers_has_no_model_for_is_a_bundle_all_the_same(
    settings: dict[str, Any], reason: str, tmp_path: Path
) -> None:
    """Its folder is a model that `embed` reads, too: the states are those that the head read."""
    tiny = tmp_path / "tiny"
    model = save_tiny(tiny, "hubert-group") if settings else save_whisper(tiny)
    folder, expected = saved(tmp_path, model, **settings)
    assert {path.name for path in folder.iterdir()} == FILES
    bundle = load_bundle(folder)
    assert isinstance(bundle, FinetunedBundle)
    assert "library_name: layerprobe" in (folder / "README.md").read_text()
    ours = bundle.predict_proba(WAVES, sampling_rate=16_000)
    np.testing.assert_allclose(ours, softmax(expected, axis=1), atol=1e-5)
    _check_embedded(folder, bundle)
    with pytest.raises(InputError) as error:
        export_transformers(bundle, tmp_path / "out")
    line = f"{folder}: transformers has no model for {reason}; use it with `predict` or `serve`"
    assert str(error.value) == line
    assert not (tmp_path / "out").exists()


def _check_embedded(folder: Path, bundle: FinetunedBundle) -> None:
    """The last layer's mean over a clip's frames, as `embed` computes it, through the head: the logits."""
    extractor = StateExtractor(EmbedConfig(model=str(folder), stats=("mean",), device="cpu"))
    trained, _, _ = bundle.load_classifier()
    for wave, expected in zip(WAVES, bundle.predict_proba(WAVES, sampling_rate=16_000), strict=True):
        (states,) = extractor.arrays([wave], rates=[16_000])
        assert isinstance(states, dict)
        with torch.inference_mode():
            logits = trained.eval().head(torch.from_numpy(states[trained.names[-1]])[None])[0].numpy()
        np.testing.assert_allclose(softmax(logits), expected, atol=1e-4)


def test_adapters_are_part_of_the_weights_that_embed_reads(tmp_path: Path) -> None:
    folder, expected = saved(tmp_path, save_whisper(tmp_path / "tiny"), lora=2, weighted_layers=True)
    bundle = load_bundle(folder)
    assert isinstance(bundle, FinetunedBundle)
    assert bundle.settings["lora"] == 0
    ours = bundle.predict_proba(WAVES, sampling_rate=16_000)
    np.testing.assert_allclose(ours, softmax(expected, axis=1), atol=1e-5)


def test_a_version_of_transformers_that_computes_something_else_gets_no_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(saving, "difference", lambda *_: 0.5)
    folder, _ = saved(tmp_path, save_tiny(tmp_path / "tiny", "hubert-group"))
    assert {path.name for path in folder.iterdir()} == FILES
