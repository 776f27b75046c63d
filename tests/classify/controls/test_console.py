"""The evaluation that is printed with a score, through the real command line."""

from __future__ import annotations

import csv
import json

import pytest

from tests.run import cli, refused, write_corpus

pytestmark = pytest.mark.slow

QUICK = ("--model", "mfcc", "--heads", "logreg", "--trials", "1", "--inner-folds", "2", "--jobs", "1")


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with a corpus of six speakers, its table, and its mfcc states."""
    folder = tmp_path_factory.mktemp("evaluation")
    write_corpus(folder, clips=36, speakers=6)
    done = cli("embed", "clips.csv", "--model", "mfcc", cwd=folder)
    assert done.returncode == 0, done.stderr
    return folder


class TestProtocol:
    def test_its_leaks_are_reported_with_the_score_and_from_repeats_it(self, place):
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
        ("options", "message"),
        [
            (
                ("--protocol", "baved-speaker-5", "--split", "random"),
                "has its own folds; omit --split",
            ),
            (("--protocol", "baved-speaker-5", "--folds", "3"), "has its own folds; omit --folds"),
            (("--protocol", "baved"), "--protocol baved; choose from baved-speaker-5"),
        ],
    )
    def test_refuses_in_one_line(self, place, tmp_path, options, message):
        assert message in refused(
            cli("classify", "clips.csv", *QUICK, *options, "--out", tmp_path / "r", cwd=place)
        )

    def test_another_target_deviates_from_the_protocol(self, place):
        with (place / "words.csv").open("w") as file:
            for number, line in enumerate((place / "clips.csv").read_text().splitlines()):
                file.write(f"{line},{'word' if number == 0 else 'xy'[number % 2]}\n")
        options = ("--protocol", "baved-random-2021", "--target", "word", "--no-audit", "--controls", "none")
        done = cli("classify", "words.csv", *QUICK, *options, "--out", "w", cwd=place)
        assert done.returncode == 0, done.stderr
        assert "compare: the target is 'word', that of the protocol is 'emotion'; 36 clips" in done.stderr
        deviations = json.loads((place / "w" / "summary.json").read_text())["protocol"]["deviations"]
        assert deviations[0] == "the target is 'word', that of the protocol is 'emotion'"

    def test_all_are_listed_with_their_rules_and_leaks(self):
        done = cli("protocols")
        for name in ("baved-speaker-5", "baved-random-2021", "eyase-loso", "ksu-speaker-5", "anad-video"):
            assert f"\n{name}: " in f"\n{done.stdout}"
        title, *lines = done.stdout.split("baved-random-2021: ")[1].splitlines()[:3]
        assert title == "BAVED, 1,935 clips, 60 speakers"
        entries = dict(line.split(maxsplit=1) for line in lines)
        assert entries["rule"].startswith("scikit-learn's train_test_split(test_size=0.2, random_state=101")
        assert entries["leaks"].startswith("every test clip's speaker is in training")
        protocols = {row["name"]: row for row in json.loads(cli("protocols", "--json").stdout)}
        assert protocols["eyase-loso"]["rule"] == "a fold for each speaker, in the order of their names"
        assert (protocols["anad-video"]["speaker_disjoint"], protocols["ksu-speaker-5"]["clips"]) == (
            True,
            None,
        )


class TestAudit:
    def test_the_command_reports_speakers_of_each_class_and_each_fold(self, place):
        options = ("--split", "random", "--folds", "2", "--no-audit", "--controls", "none", "--out", "s")
        assert cli("classify", "clips.csv", *QUICK, *options, cwd=place).returncode == 0
        done = cli("audit", "clips.csv", "--splits", "s/splits.json", cwd=place)
        assert done.returncode == 0, done.stderr
        lines = [line.split() for line in done.stdout.splitlines()]
        assert lines[2][:3] == ["a", "12", "6"]
        columns = "fold, train clips, train speakers, test clips, test speakers, shared speakers"
        header = f"{columns}, test a, test b, test c".replace(", ", "  ")
        begin = done.stdout.splitlines().index(header)
        assert lines[begin + 2] == ["0", "18", "6", "18", "6", "6", "6", "6", "6"]
        assert done.stdout.endswith("verdict: leak\n")

    def test_a_leak_is_reported_by_classify(self, place):
        done = cli(
            "classify", "clips.csv", *QUICK, "--split", "random", "--folds", "2", "--out", "r", cwd=place
        )
        assert done.returncode == 0, done.stderr
        (line,) = [line for line in done.stderr.splitlines() if line.startswith("audit: ")]
        assert line.startswith("audit: leak: test speakers in training")
        assert line.endswith("see r/audit.json")
        audit = json.loads((place / "r" / "summary.json").read_text())["audit"]
        assert audit["verdict"] == "leak"
        assert audit["test_clips_of_training_speakers"] == 1.0
        findings = {finding["item"]: finding for finding in audit["findings"]}
        assert findings["test speakers in training"]["message"].startswith("36 of 36 test clips")
        full = json.loads((place / "r" / "audit.json").read_text())
        assert {finding["item"] for finding in full["findings"]} == {*findings, *audit["fine"]}
        assert [fold["shared_speakers"] for fold in full["folds"]] == [6, 6]

    def test_it_can_be_omitted_and_added_later_and_from_repeats_it(self, place):
        command = ("classify", "clips.csv", *QUICK, "--folds", "2", "--out", "later")
        assert cli(*command, "--no-audit", cwd=place).returncode == 0
        without = json.loads((place / "later" / "summary.json").read_text())
        assert not (place / "later" / "audit.json").exists()
        trials = (place / "later" / "search.db").read_bytes()
        assert cli(*command, cwd=place).returncode == 0
        summary = json.loads((place / "later" / "summary.json").read_text())
        assert "test speakers in training" in summary["audit"]["fine"]
        assert {**summary, "audit": without["audit"]} == without
        assert (place / "later" / "search.db").read_bytes() == trials
        assert cli("classify", "--from", "later", "--out", "twin", "--jobs", "1", cwd=place).returncode == 0
        assert (place / "twin" / "audit.json").read_bytes() == (place / "later" / "audit.json").read_bytes()


class TestControls:
    def test_probe_reports_each_target(self, place):
        options = ["--model", "mfcc", "--targets", "emotion,speaker,duration"]
        options += ["--figure", "probe.svg", "--title", "none", "--out", "probes.csv"]
        done = cli("probe", "clips.csv", *options, cwd=place)
        assert done.returncode == 0, done.stderr
        scores, selectivity, lengths = done.stdout.split("\n\n")
        rows = {line.split()[0]: line.split() for line in scores.splitlines()[2:]}
        assert {name: row[1:3] for name, row in rows.items()} == {
            "emotion": ["3", "0.333"],
            "speaker": ["6", "0.167"],
            "duration": ["3", "0.333"],
        }
        for text, column in ((selectivity, "shuffled labels"), (lengths, "bits per label")):
            assert column in text
            assert [line.split()[0] for line in text.splitlines()[2:]] == list(rows)
        figure = (place / "probe.svg").read_text()
        assert figure.count("<svg") == 1
        assert "linear probe" not in figure  # its title
        with (place / "probes.csv").open() as file:
            table = list(csv.DictReader(file))
        assert [(row["target"], row["layer"], row["classes"]) for row in table] == [
            ("emotion", "mfcc", "3"),
            ("speaker", "mfcc", "6"),
            ("duration", "mfcc", "3"),
        ]
        for row in table:
            assert rows[row["target"]][3] == f"{float(row['uar']):.3f}"
            assert float(row["low"]) <= float(row["uar"]) <= float(row["high"])
            gain = float(row["uar"]) - float(row["control"])
            assert float(row["selectivity"]) == pytest.approx(gain)
            assert float(row["bits"]) / 36 == pytest.approx(float(row["bits_per_label"]))
        again = refused(cli("probe", "clips.csv", *options, cwd=place))
        assert again.startswith("error: probes.csv: exists already; choose another --out")

    def test_they_are_reported_with_the_score_and_from_repeats_them(self, place):
        command = ("classify", "clips.csv", *QUICK, "--folds", "2", "--no-audit", "--out", "c")
        done = cli(*command, "--controls", "full", cwd=place)
        assert done.returncode == 0, done.stderr
        assert "mfcc is not a network, so there are no mfcc and random-weights baselines" in done.stderr
        for text in (
            "selected minus control",
            "shuffled labels",
            "majority class",
            "linear probe for",
            "with 75%",  # two of three speakers, as 50% would be
        ):
            assert text in done.stdout
        controls = json.loads((place / "c" / "summary.json").read_text())["controls"]
        assert {"majority", "shuffled", "probes", "acoustics", "learning_curve", "runs"} <= set(controls)
        assert len(controls["acoustics"]["targets"]) + len(controls["acoustics"]["left_out"]) == 5
        assert "R² of a linear probe" in (place / "c" / "figures" / "probes.svg").read_text()
        again = cli("classify", "--from", "c", "--out", "c2", "--jobs", "1", "--json", cwd=place)
        assert json.loads(again.stdout)["controls"] == controls

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            (
                ("classify", "clips.csv", *QUICK, "--controls", "some", "--out", "x"),
                'invalid value "some" for --controls. Choose from: "none", "cheap", "full"',
            ),
            (("probe", "clips.csv", "--model", "mfcc", "--targets", "nose"), "no column 'nose' in the table"),
            (
                ("probe", "clips.csv", "--model", "mfcc", "--figure", "a.txt"),
                "end the name in .svg, .pdf, .png",
            ),
            (
                ("probe", "clips.csv", "--model", "mfcc", "--figure", "gone/a.svg"),
                "--figure gone/a.svg; folder gone does not exist",
            ),
            (
                ("probe", "clips.csv", "--model", "mfcc", "--out", "gone/a.csv"),
                "--out gone/a.csv; folder gone",
            ),
            (("probe", "clips.csv", "--model", "mfcc", "--title", "A"), "give --figure, or omit --title"),
            (
                ("probe", "clips.csv", "--model", "mfcc", "--out", "clips.csv", "--force"),
                "is read by this command and would be overwritten",
            ),
        ],
    )
    def test_refuses_in_one_line(self, place, arguments, message):
        assert message in refused(cli(*arguments, cwd=place))
