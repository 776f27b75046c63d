"""The command `probe` on the sound and on frames, and what it refuses; see also controls/test_console."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest

from layerprobe.embed.manifest.synthetic import make_corpus
from tests.embed.manifest.annotations.test_segments import textgrid
from tests.run import cli, refused

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Voices of six speakers with a TextGrid beside each but one; means and frames of their fbank."""
    folder = tmp_path_factory.mktemp("probe")
    make_corpus(folder / "BAVED", speakers=6, words=2)
    for number, path in enumerate(sorted((folder / "BAVED").glob("*/*.wav"))):
        if number:
            grid = textgrid({"phones": [(0.0, 0.25, "a"), (0.25, 0.6, "b"), (0.6, 0.7, "")]}, end=0.7)
            path.with_suffix(".TextGrid").write_text(grid)
    for words in (
        ("manifest", "baved", "BAVED", "--out", "clips.csv"),
        ("embed", "clips.csv", "--model", "fbank"),
        ("embed", "clips.csv", "--model", "mfcc", "--frames"),
    ):
        done = cli(*words, cwd=folder)
        assert done.returncode == 0, done.stderr
    (folder / "unlabelled.csv").write_text("path\n" + "\n".join(
        str(path.relative_to(folder)) for path in sorted((folder / "BAVED").glob("*/*.wav"))
    ))  # fmt: skip
    return folder


def test_the_sound_is_probed_beside_columns(place: Path) -> None:
    words = ("--targets", "gender,acoustic", "--out", "sound.csv", "--figure", "sound.svg", "--jobs", "1")
    done = cli("probe", "clips.csv", "--model", "fbank", *words, cwd=place)
    assert done.returncode == 0, done.stderr
    for text in ("linear probe for", "selectivity for", "compression of", "R² for", "spectral_tilt"):
        assert text in done.stdout
    assert "the sound was measured by " in done.stderr
    with (place / "sound.csv").open() as file:
        rows = {row["target"]: row for row in csv.DictReader(file)}
    assert list(rows) == ["gender", "f0_mean", "f0_range", "sound_level", "speech_rate", "spectral_tilt"]
    assert float(rows["f0_mean"]["r2_low"]) < float(rows["f0_mean"]["r2"]) < float(rows["f0_mean"]["r2_high"])
    assert rows["f0_mean"]["uar"] == rows["gender"]["r2"] == ""
    assert float(rows["gender"]["compression"]) > 0
    figure = (place / "sound.svg").read_text()
    for text in ("compression of the labels", "R² of a linear probe", "score of a linear probe"):
        assert text in figure


def test_a_table_without_labels_suffices_for_the_sound(place: Path) -> None:
    words = ("--targets", "f0_mean", "--json", "--jobs", "1")
    done = cli("probe", "unlabelled.csv", "--model", "fbank", *words, cwd=place)
    assert done.returncode == 0, done.stderr
    (target,) = json.loads(done.stdout)["targets"]
    assert (target["target"], target["clips"]) == ("f0_mean", 36)


def test_a_tier_is_probed_frame_by_frame(place: Path) -> None:
    words = ("--frames", "--tier", "phones", "--targets", "voiced", "--max-frames", "1500", "--jobs", "1")
    done = cli("probe", "clips.csv", "--model", "mfcc", *words, "--out", "frames.csv", cwd=place)
    assert done.returncode == 0, done.stderr
    assert "1,500 of " in done.stderr
    assert "note: 1 of 36 recordings has no annotation: " in done.stderr
    with (place / "frames.csv").open() as file:
        rows = {row["target"]: row for row in csv.DictReader(file)}
    assert list(rows) == ["phones", "voiced"]
    assert (rows["phones"]["classes"], rows["phones"]["clips"]) == ("2", "")
    assert int(rows["phones"]["frames"]) < int(rows["voiced"]["frames"]) == 1500
    assert float(rows["voiced"]["uar"]) > 0.7


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--tier", "phones"), "--tier is for probes of single frames; add --frames, or omit it"),
        (("--max-frames", "5"), "--max-frames is for probes of single frames; add --frames, or omit it"),
        (("--frames", "--target", "emotion"), "--target balances the folds of clips, not of frames"),
        (("--frames", "--targets", "emotion"), "--targets emotion; choose from f0, voiced"),
        (("--frames", "--annotations", "BAVED"), "--annotations has labels, and none are asked for"),
        (("--frames", "--tier", "phones", "--annotations", "gone"), "gone: has no annotation files"),
        (("--frames", "--tier", "words"), "no recording has a tier 'words'; there are phones"),
        (("--frames", "--max-frames", "0"), "--max-frames 0; give 1 or more"),
    ],
)
def test_refuses_in_one_line(place: Path, words: tuple[str, ...], message: str) -> None:
    assert message in refused(cli("probe", "clips.csv", "--model", "mfcc", *words, cwd=place))


def test_frames_need_states_of_frames(place: Path) -> None:
    line = refused(cli("probe", "clips.csv", "--model", "fbank", "--frames", cwd=place))
    assert "--frames" in line


def test_an_unknown_target_lists_what_there_is(place: Path) -> None:
    line = refused(cli("probe", "clips.csv", "--model", "fbank", "--targets", "f0", cwd=place))
    assert "no column 'f0' in the table; choose --targets from age" in line
    assert "spectral_tilt, acoustic" in line
