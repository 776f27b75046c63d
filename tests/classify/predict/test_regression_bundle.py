"""Bundles that predict numbers: made, loaded, used, and what they refuse."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest

from layerprobe.cache.common.errors import InputError
from layerprobe.classify.predict.bundle import load_bundle
from layerprobe.classify.predict.make import make_bundle, selected_system
from layerprobe.classify.predict.study import Study
from layerprobe.classify.predict.transformers_export import export_transformers
from layerprobe.classify.runs.run_folder import read_json
from layerprobe.classify.search.study import run_study
from layerprobe.embed.config import EmbedConfig
from layerprobe.embed.extract.run import embed
from layerprobe.embed.manifest.clips import read_manifest
from layerprobe.embed.models.lookup import find_model_store
from tests.regressions import number_study
from tests.run import cli, refused, tone, write_corpus

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run on tones of which the number is their length, with its bundle."""
    folder = tmp_path_factory.mktemp("numbers")
    table = write_corpus(folder, clips=36, speakers=6)
    lines = table.read_text().splitlines()
    cells = [f"{line},{0.3 + 0.17 * (row % 9):.2f}" for row, line in enumerate(lines[1:])]
    table.write_text("\n".join([f"{lines[0]},length", *cells]) + "\n")
    clips, cache = read_manifest(table), folder / "features"
    embed(clips, EmbedConfig(model="mfcc", cache=cache))
    store = find_model_store(cache, "mfcc")
    config = number_study(target="length", heads=("svm",), folds=2)
    out = run_study(clips, store, folder / "run", config, command={"table": str(table)})
    make_bundle(out, clips, store, config)
    return out


def test_a_bundle_predicts_numbers(run: Path) -> None:
    bundle = load_bundle(run / "bundle")
    assert (bundle.task, bundle.labels) == ("regression", ())
    waves = [tone(seconds, seed=3) for seconds in (0.4, 1.4)]
    predicted = bundle.predict(waves, sampling_rate=16_000)
    assert predicted.shape == (2,)
    alone = bundle.predict(waves[1], sampling_rate=16_000)
    assert isinstance(alone, float)
    assert alone == pytest.approx(predicted[1], abs=1e-4)
    clips = read_manifest(run.parent / "clips.csv")
    made = bundle.predict_clips(clips, cache=run.parent / "features")
    truth = np.array([float(clip.labels["length"]) for clip in clips])
    numbers = np.array([one.number for one in made], np.float64)
    assert np.corrcoef(truth, numbers)[0, 1] > 0.5  # it was fitted to these clips
    assert not (run / "bundle" / "held_out.safetensors").exists()


def test_what_has_no_meaning_for_numbers_is_refused(run: Path, tmp_path: Path) -> None:
    bundle = load_bundle(run / "bundle")
    with pytest.raises(InputError, match="predicts a number, which has no probabilities"):
        bundle.predict_proba(tone(1.0, seed=0), sampling_rate=16_000)
    with pytest.raises(InputError, match="which has no sets of labels"):
        bundle.set_threshold(0.9)
    with pytest.raises(InputError, match="is of a regression, and transformers gives each"):
        export_transformers(bundle, tmp_path / "export")
    with pytest.raises(
        InputError, match="the run is a regression, and transformers can run a classification"
    ):
        selected_system(read_json(run / "summary.json"), exportable=True)


def test_the_card_says_what_is_predicted(run: Path) -> None:
    card = (run / "bundle" / "README.md").read_text()
    assert "A regression of `length`" in card
    assert "| CCC |" in card
    assert "| least | largest | mean | s.d. |" in card


def test_a_study_in_python_shows_its_scores(run: Path) -> None:
    study = Study(run)
    assert "CCC" in repr(study)
    assert "<th>CCC</th>" in study._repr_html_()
    assert "ccc" in next(iter(study.layers.to_dict("records")))


def test_the_command_predicts_numbers_and_refuses_what_labels_have(run: Path, tmp_path: Path) -> None:
    where = run.parent
    done = cli("predict", run / "bundle", where / "clips.csv", "--out", tmp_path / "out.csv", cwd=where)
    assert done.returncode == 0, done.stderr
    with (tmp_path / "out.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 36
    assert set(rows[0]) == {"file", "number"}
    figure = tmp_path / "time.svg"
    done = cli(
        "predict", run / "bundle", where / "clip008.wav", "--window", "0.5", "--figure", figure, cwd=where
    )
    assert done.returncode == 0, done.stderr
    assert "length" in figure.read_text()
    done = cli("predict", run / "bundle", where / "clip008.wav", "--json", cwd=where)
    assert isinstance(json.loads(done.stdout)["predictions"][0]["number"], float)
    for options, message in (
        (("--min-confidence", "0.5"), "which has no confidence; omit --min-confidence"),
        (("--coverage", "0.5"), "which has no sets of labels; omit --coverage"),
    ):
        done = cli("predict", run / "bundle", where / "clip008.wav", *options, cwd=where)
        assert message in refused(done)
    assert "is of a regression, and the page shows" in refused(cli("serve", run / "bundle", cwd=where))
