from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest

from layerprobe.classify.similarity.cka import linear_cka
from tests.run import cli, refused, write_corpus

MODEL, TWIN = "random:hubert-tiny", "mfcc"


@pytest.fixture(scope="module")
def corpus(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("similarity")
    write_corpus(folder, clips=16, speakers=4)
    for model in (MODEL, TWIN):
        done = cli("embed", "clips.csv", "--model", model, cwd=folder)
        assert done.returncode == 0, done.stderr
    return folder


def states(folder: Path, model: str) -> dict[str, np.ndarray]:
    """layer → (N, D) of the mean over frames, in the order of the table."""
    from layerprobe.cache.store.keys import clip_keys
    from layerprobe.embed.manifest.clips import read_manifest
    from layerprobe.embed.models.lookup import find_model_store

    clips = read_manifest(folder / "clips.csv")
    store = find_model_store(folder / "features", model)
    keys = [str(key) for key in clip_keys(clips, folder / "features")]
    return {name: store.layer(name, keys, stats=["mean"]) for name in store.extraction.layers}


def test_the_table_has_every_pair_of_layers_with_its_interval(corpus):
    words = ("similarity", "clips.csv", "--model", f"{MODEL},{TWIN}")
    done = cli(*words, "--out", "pairs.csv", "--figure", "pairs.svg", cwd=corpus)
    assert done.returncode == 0, done.stderr
    assert "cka on 16 clips of 4 speakers" in done.stdout
    rows = list(csv.DictReader((corpus / "pairs.csv").read_text().splitlines()))
    first, second = states(corpus, MODEL), states(corpus, TWIN)
    assert [(row["layer"], row["other_layer"]) for row in rows] == [(a, b) for a in first for b in second]
    for row in rows:
        X, Y = first[row["layer"]], second[row["other_layer"]]
        expected = linear_cka([X, Y], np.arange(16) % 4)[0][0, 1]
        assert float(row["value"]) == pytest.approx(expected, abs=1e-5)
        assert float(row["low"]) <= float(row["value"]) <= float(row["high"])
    assert "layers of random:hubert-tiny" in (corpus / "pairs.svg").read_text()
    assert "--force" in refused(cli(*words, "--out", "pairs.csv", cwd=corpus))


@pytest.mark.parametrize("measure", ["cka", "svcca"])
def test_one_model_is_compared_with_itself(corpus, measure):
    words = ("similarity", "clips.csv", "--model", MODEL, "--measure", measure, "--json")
    done = cli(*words, "--figure", "one.png", cwd=corpus)
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    values = {(pair["layer"], pair["other_layer"]): pair["value"] for pair in document["pairs"]}
    for (first, second), value in values.items():
        assert value == values[second, first]
        if first == second:
            assert value == pytest.approx(1)
    assert (document["clips"], document["speakers"]) == (16, 4)


def test_two_models_may_be_two_options(corpus):
    together = cli("similarity", "clips.csv", "--model", f"{TWIN},{MODEL}", cwd=corpus)
    apart = cli("similarity", "clips.csv", "--model", TWIN, "--model", MODEL, cwd=corpus)
    assert together.stdout == apart.stdout


def test_without_speakers_clips_are_resampled(corpus):
    rows = list(csv.DictReader((corpus / "clips.csv").read_text().splitlines()))
    with (corpus / "alone.csv").open("w") as file:
        writer = csv.writer(file)
        writer.writerow(["path", "emotion"])
        writer.writerows([row["path"], row["emotion"]] for row in rows)
    done = cli("similarity", "alone.csv", "--model", TWIN, "--model", MODEL, "--clips", "12", cwd=corpus)
    assert "cka on 12 clips without speakers" in done.stdout, done.stderr


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--model", "a,b,c"], "--model names 3 models; name one, or two to compare"),
        (["--model", MODEL, "--measure", "cca"], "--measure cca; choose from cka, svcca"),
        (["--model", MODEL, "--clips", "3"], "--clips 3; give 4 or more"),
        (["--model", MODEL, "--stats", "median"], "median"),
        (["--model", f"{MODEL},{TWIN}", "--revision", "main"], "choose states by --fingerprint A,B"),
        (["--model", f"{MODEL},{TWIN}", "--fingerprint", "a,b,c"], "give one for each model"),
        (["--model", TWIN], "mfcc has one layer, mfcc, and nothing to compare it with; name a second model"),
        (["--model", "wavlm-base"], "holds no states of wavlm-base"),
        (["--model", MODEL, "--figure", "x.bmp"], "end the name in"),
        (["--model", MODEL, "--title", "A"], "--title is that of a figure"),
    ],
)
def test_bad_input_is_one_line(corpus, words, message):
    assert message in refused(cli("similarity", "clips.csv", *words, cwd=corpus))


def test_clips_without_states_are_named(corpus):
    write_corpus(corpus / "more", clips=9, speakers=3, seed=4)
    line = refused(cli("similarity", "more/clips.csv", "--model", MODEL, cwd=corpus))
    assert "9 of 9 clips have no states" in line
    assert "python cli.py embed" in line
