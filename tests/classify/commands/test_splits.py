"""`--splits`: a study on the folds of another run or of EmoBox, and what is said of them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from layerprobe.embed.config import EmbedConfig
from layerprobe.embed.extract.run import embed
from layerprobe.embed.manifest.clips import Clip, write_manifest
from tests.classify.data.test_emobox import checkout
from tests.run import cli, refused
from tests.sounds import noise, sound_file

pytestmark = pytest.mark.slow
QUICK = ("--heads", "ridge", "--trials", "1", "--inner-folds", "2", "--jobs", "1", "--controls", "none")
CODES = {"W": "anger", "N": "neutral"}


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """EMO-DB's names with noise of two levels, and a checkout with one random fold and speaker folds."""
    folder = tmp_path_factory.mktemp("study")
    clips = []
    for number, (speaker, text, code) in enumerate(
        (speaker, text, code)
        for speaker in ("03", "08", "09", "10")
        for text in ("a01", "a02", "a04")
        for code in CODES
    ):
        path = folder / "wav" / f"{speaker}{text}{code}a.wav"
        path.parent.mkdir(exist_ok=True)
        sound_file(path, noise(8_000, seed=number, level=0.3 if code == "W" else 0.02))
        clips.append(Clip(id=path.name, file=str(path), labels={"emotion": CODES[code]}, speaker=speaker))
    write_manifest(clips, folder / "clips.csv")
    embed(clips, EmbedConfig(model="mfcc", cache=folder / "features"))
    entries = [(f"wav/{clip.path.name}", clip.labels["emotion"]) for clip in clips]
    others = {speaker: [e for e in entries if e[0][4:6] != speaker] for speaker in ("03", "08")}
    own = {speaker: [e for e in entries if e[0][4:6] == speaker] for speaker in others}
    checkout(folder / "speakers", emodb=[{"train": others[s], "test": own[s]} for s in others])
    missing = ("wav/16b10Wb.wav", "anger")
    split = {
        "train": [e for e in entries if "a04" not in e[0]],
        "test": [e for e in entries if "a04" in e[0]],
    }
    checkout(folder / "random", emodb=[{**split, "test": [*split["test"], missing]}])
    return folder


def run(study: Path, splits: str, out: str) -> tuple[dict, str]:
    done = cli(
        "classify", "clips.csv", "--model", "mfcc", "--splits", splits, *QUICK, "--out", out, cwd=study
    )
    assert done.returncode == 0, done.stderr
    return json.loads((study / out / "summary.json").read_text()), done.stderr


def test_speaker_disjoint_folds_of_a_benchmark(study):
    summary, text = run(study, "emobox:speakers", "by-speaker")
    assert summary["selected"]["split"] == "emobox:emodb"
    assert summary["protocol"]["leaks"] == "no speaker"
    assert summary["protocol"]["speaker_disjoint"]
    assert summary["protocol"]["deviations"] == []
    folds = json.loads((study / "by-speaker" / "splits.json").read_text())["folds"]
    assert [{id[:2] for id in fold["test"]} for fold in folds] == [{"03"}, {"08"}]
    assert "protocol emobox:emodb leaks: no speaker" in text
    assert json.loads((study / "by-speaker" / "run.json").read_text())["config"]["splits"] == (
        f"emobox:{study}/speakers/data/emodb"
    )
    again = cli("classify", "--from", "by-speaker/run.json", "--out", "again", cwd=study)
    assert again.returncode == 0, again.stderr
    assert (study / "again" / "predictions.csv").read_text() == (
        study / "by-speaker" / "predictions.csv"
    ).read_text()


def test_missing_recordings_and_leaks_are_said(study):
    summary, text = run(study, "emobox:random/data/emodb", "random-fold")
    assert summary["protocol"]["deviations"] == ["1 of its 25 recordings are not in the table (16b10Wb.wav)"]
    assert "1 of its 25 recordings are not in the table (16b10Wb.wav)" in text
    audited = cli("audit", "clips.csv", "--splits", "emobox:random", cwd=study)
    assert audited.returncode == 0, audited.stderr
    assert "1 of its 25 recordings are not in the table" in audited.stderr
    assert "test speakers in training" in audited.stdout


def test_the_folds_of_another_run(study):
    first, _ = run(study, "emobox:speakers", "by-speaker")
    summary, _ = run(study, "by-speaker/splits.json", "same-folds")
    assert summary["selected"]["uar"] == first["selected"]["uar"]
    assert summary["selected"]["split"] == "splits of by-speaker"
    assert summary["protocol"] is None
    compared = cli("compare", "by-speaker", "same-folds", cwd=study)
    assert compared.returncode == 0, compared.stderr


@pytest.mark.parametrize(
    ("more", "what"),
    [
        (["--split", "loso"], "--splits emobox:speakers has its own folds; omit --split"),
        (["--folds", "3"], "omit --folds"),
        (["--protocol", "emodb-loso"], "--protocol emodb-loso has its own folds; omit --splits"),
    ],
)
def test_two_kinds_of_folds_are_refused(study, more, what):
    command = ["classify", "clips.csv", "--model", "mfcc", "--splits", "emobox:speakers", "--out", "x"]
    assert what in refused(cli(*command, *more, cwd=study))


def test_a_folder_that_is_no_checkout_is_refused(study):
    for command in (["classify", "clips.csv", "--model", "mfcc", "--out", "x"], ["audit", "clips.csv"]):
        line = refused(cli(*command, "--splits", "emobox:wav", cwd=study))
        assert "looked for data/NAME/fold_1/NAME_test_fold_1.jsonl, found 03a01Na.wav" in line
