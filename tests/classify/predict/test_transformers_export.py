"""transformers' own pipeline gives the exported model's labels and probabilities."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from scipy.special import softmax

from layerprobe.cache.common.errors import ClipError, InputError
from layerprobe.classify.predict.bundle import load_bundle
from layerprobe.classify.predict.frozen import FrozenBundle
from layerprobe.classify.predict.make import make_bundle_of
from layerprobe.classify.predict.system import System
from layerprobe.classify.predict.transformers_export import alternative, export_transformers
from layerprobe.embed.models.layers import layer_names
from tests.bundles import make_run
from tests.run import tone
from tests.tiny import TRAINABLE, save_tiny, tiny_config


def exported(run: Path, layer: str) -> tuple[FrozenBundle, Path]:
    """The bundle of a run's logistic regression on a layer, and what was exported of it."""
    summary = json.loads((run / "summary.json").read_text())
    for entry in summary["layers"]:
        entry["uar"]["value"] = float(entry["layer"] == layer)
    (run / "summary.json").write_text(json.dumps(summary))
    bundle = load_bundle(make_bundle_of(run, out=run.parent / f"bundle-{layer}", exportable=True))
    assert isinstance(bundle, FrozenBundle)
    assert bundle.content["layer"] == layer
    return bundle, export_transformers(bundle, run.parent / f"exported-{layer}")


@pytest.mark.slow
@pytest.mark.parametrize("family", [*TRAINABLE, "conformer-relative", "conformer-rotary"])
def test_logits_equal_ours(family: str, tmp_path: Path) -> None:
    from transformers import AutoFeatureExtractor, AutoModelForAudioClassification

    model_folder = save_tiny(tmp_path / "tiny", family)
    names = layer_names(tiny_config(family))
    layers = tuple(dict.fromkeys(("0", "1", [name for name in names if name != "final"][-1], names[-1])))
    run = make_run(
        tmp_path, model=str(model_folder), layers=layers, heads=("logreg",), trials=1, bundle=False
    )
    for layer in layers:
        bundle, out = exported(run, layer)
        model = AutoModelForAudioClassification.from_pretrained(out).eval()
        processor = AutoFeatureExtractor.from_pretrained(out)
        assert model.config.id2label == dict(enumerate(bundle.labels))
        extractor, system = bundle.load_backbone(exact=True), bundle.system
        for seed in range(3):
            wave = tone(0.5 + seed, seed=seed)
            inputs = processor(wave, sampling_rate=16_000, return_tensors="pt")
            logits = model(**inputs).logits[0].detach().numpy()
            (states,) = extractor.arrays([wave], rates=[16_000])
            assert not isinstance(states, ClipError)
            assert isinstance(system, System)
            Z = system.inputs.apply({name: state[None] for name, state in states.items()})
            expected = system.head.scores(Z)[0] / system.temperature
            np.testing.assert_allclose(logits, expected, atol=1e-4 * max(1, np.abs(expected).max()))
            ours = bundle.predict_proba(wave, sampling_rate=16_000)
            np.testing.assert_allclose(softmax(logits), ours, atol=5e-3)


@pytest.mark.slow
def test_the_pipeline_runs_it(tmp_path: Path) -> None:
    from transformers import pipeline

    run = make_run(tmp_path, heads=("logreg",), bundle=False)
    bundle, out = exported(run, "2")
    wave = tone(1.3, seed=7)
    classifier = pipeline("audio-classification", model=str(out))
    answers = classifier({"raw": wave, "sampling_rate": 16_000})
    probability = dict(zip(bundle.labels, bundle.predict_proba(wave, sampling_rate=16_000), strict=True))
    assert {answer["label"] for answer in answers} == set(bundle.labels)
    for answer in answers:
        assert answer["score"] == pytest.approx(probability[answer["label"]], abs=5e-3)
    with pytest.raises(InputError, match="not empty"):
        export_transformers(bundle, out)


def test_what_it_cannot_run_is_refused_with_the_best_that_it_can(tmp_path: Path) -> None:
    run = make_run(tmp_path, heads=("svm", "logreg"), trials=1)
    summary = json.loads((run / "summary.json").read_text())
    summary["selected"]["head"] = "svm"
    (run / "summary.json").write_text(json.dumps(summary))
    bundle = load_bundle(make_bundle_of(run))
    assert bundle.content["head"] == "svm"
    with pytest.raises(InputError) as error:
        export_transformers(bundle, tmp_path / "out")
    line = str(error.value)
    best = next(row for row in summary["layers"] if row["head"] == "logreg")
    assert len(line.splitlines()) == 1
    assert f"logreg on layer 2 (UAR {best['uar']['value']:.3f}" in line
    assert f"bundle make {run} --exportable" in line
    assert not (tmp_path / "out").exists()
    elsewhere = alternative(tmp_path / "elsewhere" / "bundle")
    assert "bundle make RUN --exportable" in elsewhere
