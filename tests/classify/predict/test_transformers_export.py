"""transformers' own pipeline gives the exported model's labels and probabilities."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from scipy.special import softmax

from layerprobe.cache.common.errors import ClipError, InputError
from layerprobe.classify.predict.bundle import load_bundle
from layerprobe.classify.predict.make import make_bundle_of
from layerprobe.classify.predict.transformers_export import alternative, export_transformers
from tests.bundles import make_run
from tests.run import tone
from tests.tiny import FAMILIES, save_tiny


def exported(folder: Path, *, layer: str, family: str) -> tuple[Path, Path]:
    """A bundle on a tiny model of a family, and what was exported of it."""
    model = save_tiny(folder / "tiny", family)
    run = make_run(folder, model=str(model), layers=(layer,), heads=("logreg",), bundle=False)
    bundle = make_bundle_of(run, out=folder / "bundle", exportable=True)
    return bundle, export_transformers(load_bundle(bundle), folder / "exported")


@pytest.mark.slow
@pytest.mark.parametrize("layer", ["0", "1", "last", "final"])
@pytest.mark.parametrize("family", FAMILIES)
def test_logits_equal_ours(family: str, layer: str, tmp_path: Path) -> None:
    from transformers import AutoFeatureExtractor, AutoModelForAudioClassification

    from layerprobe.embed.models.layers import layer_names
    from tests.tiny import tiny_config

    names = layer_names(tiny_config(family))
    if layer == "final" and "final" not in names:
        pytest.skip("has no final norm")
    layer = [name for name in names if name != "final"][-1] if layer == "last" else layer
    folder, out = exported(tmp_path, layer=layer, family=family)
    bundle = load_bundle(folder)
    model = AutoModelForAudioClassification.from_pretrained(out).eval()
    processor = AutoFeatureExtractor.from_pretrained(out)
    assert model.config.id2label == dict(enumerate(bundle.labels))
    extractor = bundle.load_backbone(exact=True)
    for seed in range(4):
        wave = tone(0.5 + seed, seed=seed)
        logits = (
            model(**processor(wave, sampling_rate=16_000, return_tensors="pt")).logits[0].detach().numpy()
        )
        (states,) = extractor.arrays([wave], rates=[16_000])
        assert not isinstance(states, ClipError)
        inputs = bundle.system.inputs.apply({name: state[None] for name, state in states.items()})
        expected = bundle.system.head.scores(inputs)[0] / bundle.system.temperature
        np.testing.assert_allclose(logits, expected, atol=1e-4 * max(1, np.abs(expected).max()))
        ours = bundle.predict_proba(wave, sampling_rate=16_000)
        np.testing.assert_allclose(softmax(logits), ours, atol=5e-3)


@pytest.mark.slow
def test_the_pipeline_runs_it(tmp_path: Path) -> None:
    from transformers import pipeline

    folder, out = exported(tmp_path, layer="2", family="hubert-group")
    bundle = load_bundle(folder)
    wave = tone(1.3, seed=7)
    run = pipeline("audio-classification", model=str(out))
    answers = run({"raw": wave, "sampling_rate": 16_000})
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
