"""`classify` as a person uses it: what it says while it works, and the options that decide how it works."""

from __future__ import annotations

import csv
import fcntl
import json
import os
import pty
import re
import struct
import subprocess
import termios
from pathlib import Path

import pytest

from layerprobe.cache.common.errors import InputError
from layerprobe.classify.commands.classify import ClassifyOptions, run_study_of
from layerprobe.classify.config import StudyConfig
from tests.run import cli, refused, start_cli, write_corpus

pytestmark = pytest.mark.slow

QUICK = ("--folds", "2", "--inner-folds", "2", "--no-audit", "--controls", "none")


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with clips.csv of six speakers and the states of `mfcc`."""
    folder = tmp_path_factory.mktemp("place")
    write_corpus(folder, clips=36, speakers=6)
    assert cli("embed", "clips.csv", "--model", "mfcc", cwd=folder).returncode == 0
    return folder


@pytest.fixture(scope="module")
def whole(place: Path) -> tuple[subprocess.CompletedProcess[str], Path]:
    """A study of one head, its storage elsewhere, and its run folder."""
    out = place / "whole"
    done = cli(
        "classify", "clips.csv", "--model", "mfcc", "--out", out, "--heads", "svm", "--trials", "2",
        "--memory", "200MB", "--jobs", "2", "--storage", f"sqlite:///{place / 'elsewhere.db'}", *QUICK,
        cwd=place,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done, out


def test_what_is_searched_and_its_memory_are_told_before_and_after(whole) -> None:
    done, _ = whole
    assert done.stderr.splitlines()[0] == (
        "classify mfcc: 2 outer folds × 1 layer × 1 head, 2 trials each, 2 processes, "
        "at most 200 MB for shared arrays"
    )
    told = next(line for line in done.stdout.splitlines() if line.startswith("memory"))
    assert re.search(
        r"\d [MG]B in the main process and [\d.]+ [MG]B at most in each of 2 workers; .*within 200 MB", told
    )


def test_the_storage_may_be_a_file_elsewhere(whole, place: Path) -> None:
    _, out = whole
    assert (place / "elsewhere.db").stat().st_size > 0
    assert not (out / "search.db").exists()


def test_a_finished_run_is_told_again_without_a_search(whole, place: Path) -> None:
    done, out = whole
    again = cli("classify", "--from", out, "--out", out, "--jobs", "1")
    assert again.returncode == 0, again.stderr
    assert again.stdout == done.stdout
    assert "outer folds ×" not in again.stderr


def test_how_is_searched_follows_the_options(place: Path, tmp_path: Path) -> None:
    done = cli(
        "classify", "clips.csv", "--model", "mfcc", "--out", tmp_path / "r", "--heads", "svm,logreg",
        "--sampler", "gp", "--trials", "12", "--pruner", "none", "--metric", "macro_f1",
        "--scalings", "speaker,none", "--stats", "mean", *QUICK, cwd=place,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "warn" not in done.stderr.lower()
    assert "inner macro F1" in done.stdout
    with (tmp_path / "r" / "results.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 2 * 2
    for row in rows:
        trials = {"svm": "12", "logreg": "8"}[row["head"]]  # logreg has no more than 8 points here
        assert (row["trials"], row["pruned"]) == (trials, "0")
        params = json.loads(row["params"])
        assert params["stats"] == "mean"
        assert params["scaling"] in ("speaker", "none")


def test_a_quick_look_prints_the_curve_without_audit_and_controls(place: Path, tmp_path: Path) -> None:
    out = tmp_path / "r"
    done = cli("classify", "clips.csv", "--model", "mfcc", "--quick", "--folds", "2", "--out", out, cwd=place)
    assert done.returncode == 0, done.stderr
    assert done.stderr.splitlines()[0] == "classify mfcc: 2 outer folds × 1 layer, a fixed linear probe each"
    assert "nothing was tuned: ridge with alpha 10" in done.stderr
    assert not {path.name for path in out.iterdir()} & {"audit.json", "controls", "bundle", "search.db"}
    again = [*QUICK[:2], "--controls", "cheap", "--out", out]
    done = cli("classify", "clips.csv", "--model", "mfcc", "--quick", *again, cwd=place)
    assert done.returncode == 0, done.stderr
    assert "shuffled labels" in done.stdout


@pytest.mark.parametrize("option", ["--heads", "--trials", "--pruner", "--storage", "--bundle"])
def test_a_quick_look_takes_no_options_of_a_search(option: str, tmp_path: Path) -> None:
    options = ClassifyOptions(Path("no.csv"), model=("mfcc",), out=tmp_path, study=StudyConfig(quick=True))
    with pytest.raises(InputError, match=f"--quick tunes nothing, and {option} is given; omit {option}"):
        run_study_of(options, given={option: "3"})  # even where it names the default


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--memory", "nan"], "--memory nan; write it as 8GB"),
        (["--memory", "-5"], "--memory -5; write it as 8GB"),
        (
            ["--split", "foo", "--folds", "3"],
            "--split foo; choose from speaker, random, column, loso",
        ),
        (["--split", "loso", "--folds", "3"], "--split loso has its own folds; omit --folds"),
        (["--storage", "plain.db"], "plain.db: cannot open the Optuna storage (Could not parse"),
    ],
)
def test_refuses_in_one_line(place: Path, tmp_path: Path, arguments: list[str], told: str) -> None:
    done = cli("classify", "clips.csv", "--model", "mfcc", *arguments, "--out", tmp_path / "r", cwd=place)
    assert told in refused(done)


@pytest.mark.parametrize(
    "url",
    ["postgresql://me:hush@localhost:1/trials", "postgresql://localhost:1/t?user=me&password=hush"],
)
def test_a_password_in_a_url_is_refused_and_not_shown(place: Path, tmp_path: Path, url: str) -> None:
    out = tmp_path / "run"
    done = cli("classify", "clips.csv", "--model", "mfcc", "--storage", url, "--out", out, *QUICK, cwd=place)
    assert "password" in refused(done)
    assert "PGPASSWORD" in done.stderr
    assert "hush" not in done.stderr
    assert not [path for path in out.rglob("*") if path.is_file() and b"hush" in path.read_bytes()]


def test_a_run_made_again_takes_no_other_settings(whole, tmp_path: Path) -> None:
    _, out = whole  # even where it names the default
    line = refused(cli("classify", "--from", out, "--out", tmp_path / "r", "--metric", "uar"))
    assert "--from has its own settings, and --metric is given too" in line


def test_classes_and_speakers_that_are_too_few_are_named(place: Path, tmp_path: Path) -> None:
    with (place / "clips.csv").open() as file:
        rows = list(csv.DictReader(file))
    for row in rows:
        if row["speaker"] in ("s0", "s1"):
            row["emotion"] = {"s0": "odd", "s1": "rare"}[row["speaker"]]
    table = place / "rare.csv"
    with table.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    line = refused(cli("classify", table, "--model", "mfcc", "--out", tmp_path, *QUICK, cwd=place))
    assert "class 'odd' has too few speakers (6 clips of 1 speaker: s0) for 2 folds" in line
    assert "and so has 'rare'" in line
    assert "try --split random" in line


def test_a_terminal_shows_a_live_table_with_the_time_left(place: Path, tmp_path: Path) -> None:
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 12, 100, 0, 0))
    process = start_cli(
        "classify", "clips.csv", "--model", "mfcc", "--out", str(tmp_path / "r"), "--jobs", "1",
        "--heads", "logreg,svm", "--trials", "12", "--no-bundle", *QUICK, cwd=place, given={2: theirs},
        environment={"TERM": "xterm", "COLUMNS": "100"},
        settings={"layerprobe.classify.search.progress.REFRESH_RATE": 20},
    )  # fmt: skip
    os.close(theirs)
    seen = bytearray()
    while True:
        try:
            seen += os.read(ours, 1 << 16)
        except OSError:  # Linux says so when the other end is closed
            break
    os.close(ours)
    result, _ = process.communicate()
    drawn = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", seen.decode())
    assert re.search(r"\d+/48 trials, [\d.]+ trials/s, \d:\d\d:\d\d left, best so far \w+ on layer", drawn)
    assert re.search(r"layer +┃ +logreg +┃ +svm", drawn)
    assert "UAR" in result
    assert "\x1b" not in result


def test_a_column_of_numbers_is_asked_about_and_then_predicted(place: Path) -> None:
    """And what is no column of numbers is refused by name."""
    lines = (place / "clips.csv").read_text().splitlines()
    cells = [f"{line},{0.3 + 0.17 * (row % 9):.2f}" for row, line in enumerate(lines[1:])]
    table = place / "numbers.csv"
    table.write_text("\n".join([f"{lines[0]},length", *cells]) + "\n")
    words = ("classify", table, "--model", "mfcc", "--target", "length", "--out", place / "lengths")
    asked = refused(cli(*words, *QUICK, cwd=place))
    assert "column 'length' holds 9 different numbers: are they measured, or classes?" in asked
    done = cli(
        *words, "--task", "regression", "--heads", "ridge", "--trials", "2", "--jobs", "1", "--no-bundle",
        *QUICK, cwd=place,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert re.search(r"CCC +\d?-?\d\.\d{3} \[", done.stdout)
    assert "UAR" not in done.stdout
    table.write_text(table.read_text().replace(",0.30\n", ",short\n"))
    text = refused(cli(*words, "--task", "regression", *QUICK, cwd=place))
    assert "column 'length' holds 4 cells that are no numbers (clip000.wav: 'short'" in text
    splits = place / "lengths" / "splits.json"
    done = cli(
        "finetune", place / "clips.csv", "--model", "random:hubert-tiny", "--splits", splits, "--out",
        place / "tuned", cwd=place,
    )  # fmt: skip
    assert "belongs to a regression, and finetune trains on classes" in refused(done)
