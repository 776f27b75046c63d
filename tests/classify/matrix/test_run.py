"""A matrix against single runs of `classify` on the same splits, resuming, and refusals."""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.metrics import recall_score

from layerprobe.cache.common.errors import InputError
from layerprobe.cache.store.feature_store import FeatureStore
from layerprobe.classify.config import StudyConfig
from layerprobe.classify.matrix import run as module
from layerprobe.classify.matrix.run import run_matrix
from layerprobe.classify.runs.read_predictions import read_system
from layerprobe.classify.search.study import run_study
from layerprobe.embed.manifest.clips import Clip
from tests.figures import run_kinds
from tests.run import cli, refused, write_corpus
from tests.studies import made_clips, made_store

pytestmark = pytest.mark.slow

CONFIG = StudyConfig(heads=("logreg",), layers=("0", "1"), folds=3, inner_folds=2, trials=1, jobs=1)
NAMES = ("a", "b", "c")
Matrix = tuple[list[Clip], FeatureStore, Path, dict[str, Any]]


def clips_of(folder: Path) -> list[Clip]:
    """Three corpora of four speakers, whose clips encode the label in the same way; one has a third label."""
    clips = []
    for name in NAMES:
        for clip in made_clips(folder / name, speakers=4, each=6, classes=3 if name == "b" else 2):
            labels = {**clip.labels, "corpus": name}
            clips.append(
                replace(clip, id=f"{name}:{clip.id}", speaker=f"{name}:{clip.speaker}", labels=labels)
            )
    return clips


@pytest.fixture(scope="module")
def matrix(tmp_path_factory: pytest.TempPathFactory) -> Matrix:
    folder = tmp_path_factory.mktemp("matrix")
    clips = clips_of(folder / "corpora")
    store = made_store(folder / "cache", clips, signal=1.0)
    with run_kinds():
        return clips, store, folder / "out", run_matrix(clips, store, folder / "out", CONFIG)


def cell(result: dict[str, Any], train: list[str], test: str) -> dict[str, Any]:
    (found,) = [one for one in result["cells"] if (one["train"], one["test"]) == (train, test)]
    return dict(found)


def recall_of(run: Path, test: str) -> float:
    """UAR of the selected system on the clips of one corpus, by scikit-learn."""
    predictions = read_system(run)
    rows = np.char.startswith(predictions.clips, f"{test}:")
    return float(recall_score(predictions.labels[rows], predictions.predicted[rows], average="macro"))


def common(clips: list[Clip], *names: str) -> list[Clip]:
    return [clip for clip in clips if clip.labels["emotion"] in "ab" and clip.labels["corpus"] in names]


def test_off_the_diagonal_it_is_a_study_from_one_corpus_to_another(matrix: Matrix, tmp_path: Path) -> None:
    """The third corpus changes nothing: layers and parameters are selected in the training corpus."""
    clips, store, out, result = matrix
    config = replace(CONFIG, train_corpus=("a",), test_corpus=("b",), split="corpus")
    run_study(common(clips, "a", "b"), store, tmp_path / "alone", config)
    assert recall_of(out / "from-a", "b") == pytest.approx(recall_of(tmp_path / "alone", "b"))
    assert cell(result, ["a"], "b")["uar"]["value"] == pytest.approx(recall_of(tmp_path / "alone", "b"))


def test_on_the_diagonal_it_is_a_speaker_disjoint_study_of_one_corpus(matrix: Matrix, tmp_path: Path) -> None:
    clips, store, out, result = matrix
    run_study(common(clips, "b"), store, tmp_path / "alone", CONFIG)
    own = cell(result, ["b"], "b")
    assert own["uar"]["value"] == pytest.approx(recall_of(tmp_path / "alone", "b"))
    assert (own["kind"], own["minus_within"], own["clips"], own["clusters"]) == ("within", None, 16, 4)
    assert own["uar"]["low"] <= own["uar"]["value"] <= own["uar"]["high"]
    for fold in json.loads((out / "within-b" / "splits.json").read_text())["folds"]:
        speakers = [{clip.split("s")[1][0] for clip in fold[part]} for part in ("train", "test")]
        assert not speakers[0] & speakers[1]


def test_leaving_one_corpus_out_trains_on_the_others(matrix: Matrix) -> None:
    _, _, out, result = matrix
    left_out = cell(result, ["a", "c"], "b")
    assert (left_out["kind"], left_out["run"]) == ("without", "without-b")
    (fold,) = json.loads((out / "without-b" / "splits.json").read_text())["folds"]
    assert {clip[0] for clip in fold["train"]} == {"a", "c"}
    assert {clip[0] for clip in fold["test"]} == {"b"}


def test_every_pair_has_a_cell_with_its_difference_from_within(matrix: Matrix) -> None:
    _, _, out, result = matrix
    assert [(one["train"], one["test"]) for one in result["cells"]] == [
        *(([train], test) for train in NAMES for test in NAMES),
        *((["b", "c"], "a"), (["a", "c"], "b"), (["a", "b"], "c")),
    ]
    for one in result["cells"]:
        if one["kind"] != "within":
            within = cell(result, [one["test"]], one["test"])["uar"]["value"]
            assert one["minus_within"]["value"] == pytest.approx(one["uar"]["value"] - within)
            assert one["minus_within"]["low"] <= one["minus_within"]["value"] <= one["minus_within"]["high"]
    with (out / "matrix.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [(row["train"], row["test"]) for row in rows][-1] == ("a+b", "c")
    assert float(rows[1]["uar"]) == pytest.approx(result["cells"][1]["uar"]["value"])
    assert rows[0]["minus_within"] == ""
    saved = json.loads((out / "matrix.json").read_text())
    assert [one["uar"]["value"] for one in saved["cells"]] == [one["uar"]["value"] for one in result["cells"]]


def test_the_heat_map_has_every_score(matrix: Matrix) -> None:
    _, _, out, result = matrix
    svg = (out / "figures" / "matrix.svg").read_text()
    for one in result["cells"]:
        assert f"{one['uar']['value']:.3f}" in svg
    for text in ("trained on", "tested on", "all others"):
        assert text in svg
    assert {path.suffix for path in (out / "figures").iterdir()} == {".svg", ".pdf", ".png"}


def test_a_finished_matrix_is_only_read(matrix: Matrix) -> None:
    clips, store, out, _ = matrix
    before = (out / "matrix.json").read_bytes()
    times = {path: path.stat().st_mtime_ns for path in out.glob("*/predictions.csv")}
    assert len(times) == 9
    assert run_matrix(clips, store, out, CONFIG)["labels"] == ["a", "b"]
    assert (out / "matrix.json").read_bytes() == before
    assert {path: path.stat().st_mtime_ns for path in times} == times


def test_a_corpus_that_cannot_be_split_is_named_before_anything_is_searched(
    matrix: Matrix, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clips, store, _, _ = matrix
    few = [clip for clip in clips if clip.labels["corpus"] != "c" or clip.speaker in ("c:s0", "c:s1")]
    monkeypatch.setattr(module, "run_study", None)
    with pytest.raises(InputError, match="within c: speaker-disjoint nested folds require 3 speakers"):
        run_matrix(few, store, tmp_path / "out", CONFIG)
    assert not (tmp_path / "out").exists()


def test_a_folder_with_a_run_of_its_own_is_refused(matrix: Matrix) -> None:
    clips, store, out, _ = matrix
    with pytest.raises(InputError, match="from-a: holds a run of its own; choose another folder for --out"):
        run_matrix(clips, store, out / "from-a", CONFIG)


@pytest.mark.slow
def test_the_command(tmp_path: Path) -> None:
    for seed, name in enumerate(("one", "two")):
        write_corpus(tmp_path / name, clips=24, speakers=4, seed=seed)
        (tmp_path / f"{name}.csv").write_text(
            (tmp_path / name / "clips.csv").read_text().replace("clip0", f"{name}/clip0")
        )
        assert cli("embed", f"{name}.csv", "--model", "mfcc", cwd=tmp_path).returncode == 0
    text = (tmp_path / "two.csv").read_text().replace(",a,", ",angry,")
    (tmp_path / "two.csv").write_text(text)
    words = (
        "matrix",
        "one.csv",
        "two.csv",
        "--model",
        "mfcc",
        "--heads",
        "logreg",
        "--trials",
        "1",
        "--jobs",
        "1",
    )
    folds = (
        "--heads",
        "logreg",
        "--trials",
        "1",
        "--folds",
        "2",
        "--inner-folds",
        "2",
        "--map",
        "two/emotion:angry=a",
    )
    done = cli(*words, *folds, "--out", "m", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "UAR for emotion, tested on the corpora of the columns" in done.stdout
    assert "matrix  m" in done.stdout
    assert cli("report", "m/from-one", "--out", "page", cwd=tmp_path).returncode == 0
    again = cli("classify", "--from", "m/from-one/run.json", "--out", "again", "--jobs", "1", cwd=tmp_path)
    assert again.returncode == 0, again.stderr
    same = [(tmp_path / run / "predictions.csv").read_bytes() for run in ("m/from-one", "again")]
    assert same[0] == same[1]
    for options, message in (
        (("--split", "random"), "unknown option: --split"),
        (("--train-corpus", "one"), "--train-corpus"),
        (("--map", "two/emotion:sad=b"), "no clip has what 'two/emotion:sad=b' renames"),
        (("--names", "one,one"), "two tables are called 'one'; give each a name of its own"),
    ):
        assert message in refused(cli(*words, *options, "--out", "x", cwd=tmp_path))
    alone = refused(cli("matrix", "one.csv", "--model", "mfcc", "--out", "x", cwd=tmp_path))
    assert "a matrix needs two tables or more; give one for each corpus" in alone
