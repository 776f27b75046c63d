"""`predict` and `bundle` as a user types them."""

from __future__ import annotations

import csv
import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
import soundfile

from tests.bundles import make_run
from tests.run import cli, refused, start_cli, tone

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with clips.csv, features and run/, which has a bundle."""
    folder = tmp_path_factory.mktemp("predict")
    make_run(folder, heads=("logreg",))
    return folder


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_files_folders_and_tables(place: Path, tmp_path: Path) -> None:
    (tmp_path / "more").mkdir()
    soundfile.write(tmp_path / "more" / "x.flac", tone(1.0, seed=1), 16_000)
    out = tmp_path / "p.csv"
    done = cli(
        "predict", "run/bundle", "clip000.wav", tmp_path / "more", "clips.csv", "--out", out, cwd=place
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"38 predictions in {out}\n"
    rows = rows_of(out)
    assert list(rows[0]) == ["file", "label", "confidence", "p_a", "p_b", "p_c"]
    assert rows[0]["file"] == "clip000.wav"
    assert rows[1]["file"].endswith("x.flac")
    for row in rows:
        probabilities = {label: float(row[f"p_{label}"]) for label in "abc"}
        assert sum(probabilities.values()) == pytest.approx(1, abs=1e-5)
        assert row["label"] == max(probabilities, key=probabilities.__getitem__)
        assert float(row["confidence"]) == pytest.approx(max(probabilities.values()), abs=1e-5)


def test_bad_files_are_listed_and_the_others_predicted(place: Path, tmp_path: Path) -> None:
    bad = tmp_path / "bad\x1b[31m.wav"
    bad.write_text("no sound")
    done = cli("predict", "run/bundle", "clip000.wav", bad, "nosuch.wav", "--json", cwd=place)
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    assert [row["file"] for row in document["predictions"]] == ["clip000.wav"]
    assert set(document["failed"]) == {str(bad), "nosuch.wav"}
    assert "2 of 3 recordings could not be used" in done.stderr
    assert "\x1b" not in done.stderr + done.stdout
    assert "nosuch.wav" in refused(cli("predict", "run/bundle", "nosuch.wav", cwd=place))


def test_below_the_confidence_there_is_no_label(place: Path, tmp_path: Path) -> None:
    out = tmp_path / "p.json"
    done = cli("predict", "run/bundle", "clips.csv", "--min-confidence", "0.99", "--out", out, cwd=place)
    assert done.returncode == 0, done.stderr
    rows = json.loads(out.read_text())["predictions"]
    unsure = [row for row in rows if row["label"] is None]
    assert unsure
    assert all(row["confidence"] < 0.99 for row in unsure)
    assert f"{len(unsure)} of 36 predictions are below 0.99 and have no label" in done.stderr
    shown = cli("predict", "run/bundle", "clips.csv", "--min-confidence", "0.99", cwd=place).stdout
    assert shown.count("(unsure)") == len(unsure)


def test_sets_of_labels(place: Path, tmp_path: Path) -> None:
    out = tmp_path / "p.csv"
    done = cli("predict", "run/bundle", "clips.csv", "--coverage", "0.8", "--out", out, cwd=place)
    assert done.returncode == 0, done.stderr
    assert "of 80% of the clips of new speakers" in done.stderr
    assert "like the 6 speakers" in done.stderr
    sets = [row["label_set"].split("|") for row in rows_of(out)]
    assert all(row["label"] in labels for row, labels in zip(rows_of(out), sets, strict=True))
    assert {label for labels in sets for label in labels} <= set("abc")
    done = cli("predict", "run/bundle", "clip000.wav", "--coverage", "0.9", cwd=place)
    assert "a|b|c" in done.stdout
    assert "every set holds all labels" in done.stderr
    assert "needs 9 or more" in done.stderr


def test_windows_of_a_long_recording_and_the_same_from_a_pipe(place: Path, tmp_path: Path) -> None:
    wave = (np.concatenate([tone(2.0, seed=s, rate=22_050) for s in range(4)]) * 32767).astype("<i2")[:-5000]
    soundfile.write(tmp_path / "long.wav", wave, 22_050, subtype="PCM_16")
    options = ("--window", "2", "--hop", "1.5")
    done = cli("predict", "run/bundle", tmp_path / "long.wav", *options, "--json", cwd=place)
    assert done.returncode == 0, done.stderr
    rows = json.loads(done.stdout)["predictions"]
    seconds = len(wave) / 22_050
    assert [row["start"] for row in rows] == pytest.approx([0, 1.5, 3, 4.5, seconds - 2], abs=1e-5)
    (tmp_path / "raw").write_bytes(wave.tobytes())
    with (tmp_path / "raw").open("rb") as raw:
        words = ("predict", "run/bundle", "--stdin", "--rate", "22050", *options, "--json")
        piped = cli(*words, cwd=place, given={0: raw.fileno()})
    assert piped.returncode == 0, piped.stderr
    lines = [json.loads(line) for line in piped.stdout.splitlines()]
    assert len(lines) == len(rows)
    for line, row in zip(lines, rows, strict=True):
        assert (line["label"], line["start"]) == (row["label"], pytest.approx(row["start"], abs=1e-4))
        assert list(line["probabilities"].values()) == pytest.approx(
            list(row["probabilities"].values()), abs=2e-3
        )


def test_a_pipe_is_answered_while_it_is_open(place: Path) -> None:
    theirs_in, ours_in = os.pipe()
    ours_out, theirs_out = os.pipe()
    words = ("predict", "run/bundle", "--stdin", "--window", "1", "--hop", "0.5")
    process = start_cli(*words, cwd=place, given={0: theirs_in, 1: theirs_out})
    os.close(theirs_in)
    os.close(theirs_out)
    sound = (tone(2.0, seed=1) * 32767).astype("<i2").tobytes()
    with open(ours_in, "wb") as pipe, open(ours_out, "rb") as answers:  # noqa: PTH123 (descriptors)
        pipe.write(sound[: 2 * 16_000])
        pipe.flush()
        first = answers.readline().split()  # while the pipe is open
        pipe.write(bytes(2 * 16_000))  # silence cannot be predicted
        pipe.close()
        rest = answers.read().decode()
    assert first[:2] == [b"0.00", b"1.00"]
    assert "silent" in rest
    _, errors = process.communicate()
    assert process.returncode == 0, errors


def test_options_that_cannot_be_used(place: Path, tmp_path: Path) -> None:
    for words, what in (
        ((), "nothing to predict"),
        (("clip000.wav", "--stdin"), "--stdin"),
        (("clip000.wav", "--out", "p.xls"), "--out p.xls"),
        (("clip000.wav", "--out", "nosuch/p.csv"), "no such folder"),
        (("clips.csv", "--force", "--out", "clips.csv"), "clips.csv: is read by this command"),
        (("clip000.wav", "--out", "clips.csv"), "clips.csv: exists already"),
        (("clip000.wav", "--min-confidence", "2"), "--min-confidence"),
        (("clip000.wav", "--coverage", "90"), "--coverage"),
        (("clip000.wav", "--window", "-3"), "--window"),
        (("clip000.wav", "--hop", "1"), "--hop"),
        (("--stdin", "--rate", "0"), "--rate"),
        ((tmp_path,), "found nothing"),
    ):
        assert what in refused(cli("predict", "run/bundle", *words, cwd=place))
    assert "no bundle" in refused(cli("predict", "run", "clip000.wav", cwd=place))


def test_a_bundle_is_made_again_and_elsewhere(place: Path, tmp_path: Path) -> None:
    made = cli("bundle", "make", "run", "--out", tmp_path / "copy", cwd=place)
    assert made.returncode == 0, made.stderr
    own = place / "run" / "bundle"
    for path in own.iterdir():
        assert (tmp_path / "copy" / path.name).read_bytes() == path.read_bytes(), path.name
    assert "name a run folder" in refused(cli("bundle", "make", tmp_path / "copy", cwd=place))


def test_a_bundle_for_transformers(place: Path, tmp_path: Path) -> None:
    done = cli("bundle", "make", "run", "--exportable", "--out", tmp_path / "b", cwd=place)
    assert done.returncode == 0, done.stderr
    done = cli("bundle", "export", tmp_path / "b", tmp_path / "t", cwd=place)
    assert done.returncode == 0, done.stderr
    assert {"config.json", "model.safetensors", "preprocessor_config.json"} <= {
        path.name for path in (tmp_path / "t").iterdir()
    }
    assert "not empty" in refused(cli("bundle", "export", tmp_path / "b", tmp_path / "t", cwd=place))


def test_classify_ends_with_a_bundle_unless_told_otherwise(place: Path, tmp_path: Path) -> None:
    options = (
        "--model", "random:hubert-tiny", "--layers", "2", "--heads", "logreg", "--folds", "2",
        "--inner-folds", "2", "--trials", "2", "--no-audit", "--controls", "none", "--jobs", "1",
    )  # fmt: skip
    done = cli("classify", "clips.csv", *options, "--out", tmp_path / "r", "--no-bundle", cwd=place)
    assert done.returncode == 0, done.stderr
    assert not (tmp_path / "r" / "bundle").exists()
    done = cli("classify", "clips.csv", *options, "--out", tmp_path / "r", cwd=place)
    assert done.returncode == 0, done.stderr
    assert f"bundle      {tmp_path / 'r' / 'bundle'}" in done.stdout
    card = (tmp_path / "r" / "bundle" / "README.md").read_text()
    for path in (place / "run" / "bundle").iterdir():  # the same study gives the same bundle
        assert (tmp_path / "r" / "bundle" / path.name).read_bytes() == path.read_bytes(), path.name
    assert "library_name: layerprobe" in card
    shutil.rmtree(tmp_path / "r" / "bundle")
    again = cli("classify", "--from", tmp_path / "r", "--out", tmp_path / "r")
    assert again.returncode == 0, again.stderr
    assert (tmp_path / "r" / "bundle" / "README.md").read_text() == card
