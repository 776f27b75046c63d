"""Training on one corpus and testing on another: the sides, what is refused, the command."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from layerprobe.cache.common.errors import InputError
from layerprobe.classify.config import StudyConfig
from layerprobe.classify.data.cross_corpus import corpus_folds
from layerprobe.classify.search.study import run_study
from layerprobe.embed.manifest.clips import Clip
from tests.run import cli, refused, write_corpus
from tests.studies import made_clips, made_store

pytestmark = pytest.mark.slow

SMALL: dict[str, Any] = {"heads": ("logreg",), "inner_folds": 2, "trials": 2, "jobs": 1}
CROSS: dict[str, Any] = {"split": "corpus", "train_corpus": ("one",), "test_corpus": ("two",)}


def corpora(folder: Path, *names: str) -> list[Clip]:
    """Nine speakers with eight clips each; every third speaker is of the same corpus."""
    return [
        replace(clip, labels={**clip.labels, "corpus": names[int((clip.speaker or "s0")[1:]) % len(names)]})
        for clip in made_clips(folder)
    ]


def relabelled(clips: list[Clip], corpus: str, old: str, new: str) -> list[Clip]:
    return [
        replace(c, labels={**c.labels, "emotion": new})
        if (c.labels["corpus"], c.labels["emotion"]) == (corpus, old)
        else c
        for c in clips
    ]


def test_one_side_is_trained_on_and_the_other_tested(tmp_path):
    clips = corpora(tmp_path / "a", "one", "two", "three")
    store = made_store(tmp_path / "cache", clips, signal=3.0)
    out = run_study(clips, store, tmp_path / "run", StudyConfig(**SMALL, **CROSS))
    (fold,) = json.loads((out / "splits.json").read_text())["folds"]
    of = {clip.id: clip for clip in clips}
    assert {of[id].labels["corpus"] for id in fold["train"]} == {"one"}
    assert {of[id].labels["corpus"] for id in fold["test"]} == {"two"}
    assert (len(fold["train"]), len(fold["test"])) == (24, 24)
    for inner in fold["inner"]:
        voices = {of[id].speaker for id in inner["test"]}
        assert not voices & {of[id].speaker for id in set(fold["train"]) - set(inner["test"])}
    summary = json.loads((out / "summary.json").read_text())
    assert summary["selected"]["split"] == "corpus"
    assert summary["selected"]["uar"]["value"] > 0.6
    assert "trained on one (24 clips), tested on two (24 clips)" in summary["notes"]


def test_a_class_that_is_never_tested_is_told(tmp_path):
    clips = relabelled(corpora(tmp_path / "a", "one", "two"), "two", "c", "a")
    store = made_store(tmp_path / "cache", clips)
    out = run_study(clips, store, tmp_path / "run", StudyConfig(**SMALL, **CROSS))
    summary = json.loads((out / "summary.json").read_text())
    assert "in no test partition, so the UAR is over the other classes: c" in summary["notes"]
    assert summary["chance"] == 0.5  # the score of constant predictions


def test_a_class_that_is_never_trained_on_is_refused_with_the_map_to_give(tmp_path):
    clips = relabelled(corpora(tmp_path, "one", "two"), "two", "c", "hap")
    with pytest.raises(
        InputError, match=r"emotion hap of two is not among.* \(a, b, c\).*--map two/emotion:hap"
    ):
        corpus_folds(clips, train=["one"], test=["two"], target="emotion")


def test_sides_that_cannot_be(tmp_path):
    clips = corpora(tmp_path, "one", "two")
    with pytest.raises(
        InputError, match="--test-corpus tow, but the table has no such corpus; choose from one, two"
    ):
        corpus_folds(clips, train=["one"], test=["tow"], target="emotion")
    with pytest.raises(InputError, match="corpus one is to be trained on and tested"):
        corpus_folds(clips, train=["one"], test=["two", "one"], target="emotion")
    with pytest.raises(InputError, match=r"no column 'corpus'.*manifest join"):
        corpus_folds(made_clips(tmp_path), train=["one"], test=["two"], target="emotion")
    wrongs: list[dict[str, Any]] = [
        {"train_corpus": ("one",)},
        {"split": "corpus"},
        {**CROSS, "split": "loso"},
    ]
    for wrong in wrongs:
        with pytest.raises(InputError, match="requires --train-corpus and --test-corpus"):
            StudyConfig(**wrong)


def test_the_command_and_its_repetition(tmp_path):
    table = write_corpus(tmp_path, clips=36, speakers=6)
    header, *rows = table.read_text().splitlines()
    rows = [f"{row},{'one' if row[-1] in '012' else 'two'}" for row in rows]
    table.write_text("\n".join([f"{header},corpus", *rows]) + "\n")
    features = ("--model", "mfcc", "--cache", tmp_path / "features")
    assert cli("embed", table, *features).returncode == 0
    options = (
        "classify",
        table,
        *features,
        "--heads",
        "logreg",
        "--trials",
        2,
        "--inner-folds",
        2,
        "--jobs",
        1,
    )
    message = refused(cli(*options, "--train-corpus", "one", "--out", tmp_path / "half"))
    assert "requires --train-corpus and --test-corpus" in message
    sides = ("--train-corpus", "one", "--test-corpus", "two")
    done = cli(*options, *sides, "--out", tmp_path / "run", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["selected"]["split"] == "corpus"
    again = cli("classify", "--from", tmp_path / "run", "--out", tmp_path / "again", "--jobs", 1)
    assert again.returncode == 0, again.stderr
    for name in ("results.csv", "predictions.csv", "splits.json"):
        assert (tmp_path / "run" / name).read_bytes() == (tmp_path / "again" / name).read_bytes()
