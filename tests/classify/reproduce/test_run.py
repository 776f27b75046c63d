"""The command `reproduce`: all eight rows on stand-ins, missing inputs, resuming, failures."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from layerprobe.classify.reproduce.published import PUBLISHED
from layerprobe.classify.reproduce.stand_ins import make_corpora
from layerprobe.classify.reproduce.table import RUNS, report_row, table_row
from layerprobe.classify.runs.run_folder import write_json
from tests.run import cli, refused

pytestmark = pytest.mark.slow

SYSTEM = PUBLISHED["eyase-hubert-base"]
INTERVAL = {"value": 0.5, "low": 0.4, "high": 0.6}


def write_finished_run(run: Path, *, value: float = 0.5) -> None:
    run.mkdir(parents=True)
    write_json(run / "run.json", {"finished": True})
    score = {**INTERVAL, "value": value}
    classes = [{"class": "a", "clips": 3}, {"class": "b", "clips": 4}]
    write_json(run / "summary.json", {"selected": {"accuracy": score, "uar": score, "classes": classes}})


def test_the_printed_row_of_finished_runs(tmp_path):
    for number, name in enumerate(RUNS):
        write_finished_run(tmp_path / name, value=0.5 + number / 100)
    report = report_row(SYSTEM, tmp_path, stand_in=False)
    assert report.state == "done"
    assert report.stand_in is None
    assert report.reproduced is not None
    assert (report.reproduced.accuracy.value, report.reproduced.clips) == (0.5, 7)
    assert table_row(report, stand_in=False) == {
        "row": "eyase-hubert-base",
        "published": "70",
        "reproduced": "50 [40, 60]",
        "heads, same split": "51 [40, 60]",
        "speaker-independent: fine-tuned": "52 [40, 60]",
        "speaker-independent: heads": "53 [40, 60]",
        "state": "done",
    }


def test_scores_of_stand_ins_have_columns_of_their_own(tmp_path):
    for name in RUNS:
        write_finished_run(tmp_path / name)
    report = report_row(SYSTEM, tmp_path, stand_in=True)
    assert (report.reproduced, report.heads, report.speaker_independent) == (None, None, None)
    row = table_row(report, stand_in=True)
    assert (row["published"], row["reproduced"]) == ("70", "")
    assert [name for name, cell in row.items() if cell == "50 [40, 60]"] == [
        "stand-in: fine-tuned",
        "stand-in: heads",
        "stand-in, speaker-independent: fine-tuned",
        "stand-in, speaker-independent: heads",
    ]


def test_the_report_of_a_partly_finished_row(tmp_path):
    write_finished_run(tmp_path / RUNS[1])
    (tmp_path / RUNS[0]).mkdir()
    write_json(tmp_path / RUNS[0] / "run.json", {"finished": False})
    report = report_row(SYSTEM, tmp_path, stand_in=False)
    assert (report.state, list(report.runs)) == ("ready", [RUNS[1]])
    assert report.reproduced is None
    assert report.heads is not None
    failed = report_row(SYSTEM, tmp_path, stand_in=False, failures=["fine-tuned: no"])
    assert failed.state == "failed"


def test_missing_corpora_and_weights_are_reported_with_their_source(tmp_path):
    done = cli("reproduce", "--dry-run", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("missing") == 8
    for words in (
        "corpus baved: Basic Arabic Vocal Emotions Dataset, 1,935 clips",
        "fm01_hap (3).wav",
        "speaker-gender-age-word-level-record",
        "ask them",
        "hf download facebook/hubert-large-ll60k",
        "licence",
    ):
        assert words in done.stderr, words
    assert done.stderr.count("weights elgeish") == 1
    rows = json.loads(cli("reproduce", "--dry-run", "--json", cwd=tmp_path).stdout)
    assert [row["row"] for row in rows] == list(PUBLISHED)
    assert {row["state"] for row in rows} == {"missing"}
    assert [len(row["missing"]) for row in rows] == [2, 2, 2, 2, 2, 2, 2, 3]
    assert "no row could run" in refused(cli("reproduce", "eyase-zaid", cwd=tmp_path))
    assert "no row 'zaid'" in refused(cli("reproduce", "zaid", cwd=tmp_path))


def test_a_copy_with_another_number_of_clips_is_noted(tmp_path):
    make_corpora(tmp_path)
    done = cli("reproduce", "--dry-run", "--corpora", tmp_path, "eyase-zaid", "baved-elgeish", cwd=tmp_path)
    assert (
        "published on 499 clips, but this copy has 24; which clips of EYASE were used is unknown"
        in done.stderr
    )
    assert "published on 1,935 clips, but this copy has 15" in done.stderr


def test_real_runs_are_refused_in_the_folder_of_stand_ins(tmp_path):
    done = cli("reproduce", "--stand-in", "--dry-run", "eyase-zaid", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    message = refused(cli("reproduce", "--out", "runs/published/stand-in", "eyase-zaid", cwd=tmp_path))
    assert message == "error: runs/published/stand-in: holds scores of stand-ins; choose another --out"


def test_an_output_folder_that_cannot_be_written_is_refused(tmp_path):
    (tmp_path / "file").touch()
    message = refused(cli("reproduce", "--stand-in", "eyase-zaid", "--out", "file", cwd=tmp_path))
    assert message == "error: file/stand-in: cannot be created (Not a directory); choose another --out"


@pytest.fixture(scope="module")
def stand_ins(tmp_path_factory):
    """All eight rows, end to end."""
    folder = tmp_path_factory.mktemp("stand-in")
    done = cli("reproduce", "--stand-in", "--json", cwd=folder)
    assert done.returncode == 0, done.stderr
    return folder, json.loads(done.stdout)


def test_all_eight_rows_run_on_stand_ins(stand_ins):
    _, rows = stand_ins
    assert [row["row"] for row in rows] == list(PUBLISHED)
    for row in rows:
        assert row["state"] == "done", row
        assert (row["reproduced"], row["heads"], row["speaker_independent"]) == (None, None, None)
        assert row["published"] == PUBLISHED[row["row"]].accuracy
        tested = {name: score["clips"] for name, score in row["stand_in"].items()}
        clips = {"eyase": 24, "baved": 15, "baved + eyase": 39}[row["corpus"]]
        assert tested == {
            "fine_tuned": -(-clips // 5),
            "heads": -(-clips // 5),
            "unseen_fine_tuned": clips,
            "unseen_heads": clips,
        }
        assert set(row["runs"]) == set(RUNS)


def test_the_four_runs_of_a_row_share_their_clips_classes_and_splits(stand_ins):
    folder, rows = stand_ins
    runs = {name: folder / run for name, run in rows[-1]["runs"].items()}
    classes = json.loads((runs["heads"] / "summary.json").read_text())["data"]["classes"]
    assert sorted(classes) == ["0", "1", "2", "ang", "hap", "neu", "sad"]
    for tuned, heads in (("fine-tuned", "heads"), ("unseen-fine-tuned", "unseen-heads")):
        done = cli("compare", runs[tuned], runs[heads])
        assert done.returncode == 0, done.stderr
        assert "trials of the heads" in done.stdout


def test_finished_rows_are_not_repeated_and_a_failing_row_does_not_stop_the_others(stand_ins):
    folder, _ = stand_ins
    base = folder / "runs" / "published" / "stand-in"
    modified = {path: path.stat().st_mtime_ns for path in base.glob("*/*/predictions.csv")}
    assert len(modified) == 32
    broken = base / "eyase-zaid" / "heads" / "run.json"
    broken.write_text(json.dumps({**json.loads(broken.read_text()), "fingerprint": "another"}))
    done = cli("reproduce", "--stand-in", "eyase-zaid", "eyase-othrif", "--json", cwd=folder)
    assert done.returncode == 1
    assert "eyase-zaid, heads" in done.stderr
    assert "holds another run" in done.stderr
    assert [row["state"] for row in json.loads(done.stdout)] == ["done", "failed"]
    assert {path: path.stat().st_mtime_ns for path in base.glob("*/*/predictions.csv")} == modified
