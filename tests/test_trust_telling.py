"""What a person is told beside a score, through the real command line."""

from __future__ import annotations

import json

import pytest

from tests.run import cli, refused, write_corpus

QUICK = ("--model", "mfcc", "--heads", "logreg", "--trials", "1", "--inner-folds", "2", "--jobs", "1")


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with a corpus of six speakers, its table, and its states of mfcc."""
    folder = tmp_path_factory.mktemp("trust")
    write_corpus(folder, clips=36, speakers=6)
    done = cli("embed", "clips.csv", "--model", "mfcc", cwd=folder)
    assert done.returncode == 0, done.stderr
    return folder


class TestProtocol:
    def test_its_leaks_are_told_beside_the_score_and_from_repeats_it(self, place):
        done = cli(
            "classify", "clips.csv", *QUICK, "--protocol", "baved-random-2021", "--out", "p", cwd=place
        )
        assert done.returncode == 0, done.stderr
        assert "split: baved-random-2021" in done.stdout
        assert (
            "note: protocol baved-random-2021 leaks: every test clip's speaker is in training" in done.stderr
        )
        assert "not baved-random-2021 as published" in done.stderr
        assert "36 clips in the table, 1,935 in BAVED as published" in done.stderr
        run = json.loads((place / "p" / "run.json").read_text())
        assert run["config"]["protocol"] == "baved-random-2021"
        again = cli("classify", "--from", "p/run.json", "--out", "again", "--jobs", "1", cwd=place)
        assert again.returncode == 0, again.stderr
        assert (place / "again" / "splits.json").read_bytes() == (place / "p" / "splits.json").read_bytes()

    @pytest.mark.parametrize(
        ("options", "told"),
        [
            (
                ("--protocol", "baved-speaker-5", "--split", "random"),
                "brings its own folds; leave --split out",
            ),
            (("--protocol", "baved-speaker-5", "--folds", "3"), "brings its own folds; leave --folds out"),
            (("--protocol", "baved"), "protocol 'baved' is not known; choose from baved-speaker-5"),
        ],
    )
    def test_refuses_in_one_line(self, place, tmp_path, options, told):
        assert told in refused(
            cli("classify", "clips.csv", *QUICK, *options, "--out", tmp_path / "r", cwd=place)
        )
