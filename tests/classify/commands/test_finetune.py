"""`finetune` as a person runs it: killed, stopped, refused, compared."""

from __future__ import annotations

import csv
import json
import signal
import time
from pathlib import Path

import pytest

from layerprobe.classify.runs.run_folder import read_json
from tests.run import Command, cli, refused, start_cli
from tests.voices import make_voices

pytestmark = pytest.mark.slow

FILES = ("results.csv", "predictions.csv", "summary.json", "splits.json")
QUICK = ("--epochs", "3", "--learning-rate", "1e-3")


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    folder = make_voices(tmp_path_factory.mktemp("voices")).parent
    assert cli("embed", "clips.csv", "--model", "mfcc", cwd=folder).returncode == 0
    small = ["--heads", "logreg", "--trials", "2", "--folds", "2", "--inner-folds", "2", "--jobs", "1"]
    small += ["--no-audit", "--controls", "none"]  # what stands beside a score is not looked at here
    done = cli("classify", "clips.csv", "--model", "mfcc", "--out", "heads", *small, cwd=folder)
    assert done.returncode == 0, done.stderr
    done = cli(*words("heads/splits.json", "whole"), cwd=folder)
    assert done.returncode == 0, done.stderr
    return folder, done


def words(splits: str, out: str, *more: str, quick: tuple[str, ...] = QUICK) -> list[str]:
    return ["finetune", "clips.csv", "--model", "tiny", "--splits", splits, "--out", out, *quick, *more]


def wait_for_checkpoint(out: Path, process: Command) -> None:
    deadline = time.monotonic() + 120
    while not list(out.glob("work/fold-*/trial-*/checkpoint-*/whole.json")):
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.01)


def interrupted(place: Path, out: str, number: signal.Signals) -> tuple[int, str]:
    process = start_cli(*words("heads/splits.json", out), cwd=place)
    wait_for_checkpoint(place / out, process)
    process.send_signal(number)
    _, told = process.communicate(timeout=120)
    return process.wait(), told


def test_it_prints_each_fold_and_the_score_with_its_interval(place):
    _, done = place
    lines = done.stdout.splitlines()
    assert lines[0].split()[:2] == ["fold", "head"]
    assert [line.split()[0] for line in lines[2:4]] == ["0", "1"]
    assert "UAR 0." in done.stdout
    assert "macro F1" in done.stdout
    assert "recall  precision" in done.stdout
    assert "[0." in done.stdout
    assert "parameters trained in" in done.stdout
    assert "set aside to pick the epoch" in done.stderr


def test_compare_sets_heads_and_fine_tuning_side_by_side(place):
    folder, _ = place
    done = cli("compare", "heads", "whole", "--json", cwd=folder)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert [entry["model"] for entry in told["entries"]] == ["mfcc", "tiny"]
    assert len(told["pairs"]) == 1
    with (folder / "whole" / "predictions.csv").open() as file:
        assert {row["fold"] for row in csv.DictReader(file)} == {"0", "1"}


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM], ids=lambda number: number.name)
def test_a_run_that_is_killed_or_stopped_goes_on_and_ends_the_same(place, number):
    folder, _ = place
    out = f"cut-{number.name}"
    status, told = interrupted(folder, out, number)
    if number == signal.SIGKILL:
        assert status == -signal.SIGKILL
    else:
        assert status == 130, told
        assert "the same command resumes" in told
        assert "Traceback" not in told
    kept = list((folder / out).glob("work/fold-*/trial-*/checkpoint-*/whole.json"))
    assert kept
    done = cli(*words("heads/splits.json", out, "--json"), cwd=folder)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["selected"] == read_json(folder / "whole" / "summary.json")["selected"]
    for name in FILES:
        assert (folder / out / name).read_bytes() == (folder / "whole" / name).read_bytes(), name
    assert not (folder / out / "work").exists()


def test_splits_of_another_table_are_refused(place, tmp_path):
    folder, _ = place
    (tmp_path / "splits.json").write_text(json.dumps({"folds": [{"train": ["x.wav"], "test": ["y.wav"]}]}))
    told = refused(cli(*words(str(tmp_path / "splits.json"), "no"), cwd=folder))
    assert "2 of its clips are not in the table" in told
    told = refused(cli(*words("whole/summary.json", "no"), cwd=folder))
    assert "is not a splits.json" in told
    (tmp_path / "splits.json").write_text(json.dumps({"folds": []}))
    assert "holds no fold" in refused(cli(*words(str(tmp_path / "splits.json"), "no"), cwd=folder))
    assert not (folder / "no").exists()


def test_a_class_that_is_absent_from_a_training_part_is_named(place):
    folder, _ = place
    splits = read_json(folder / "heads" / "splits.json")
    train = splits["folds"][0]["train"]
    splits["folds"][0]["train"] = [id for id in train if id.split("-")[-2] != "1"]
    (folder / "cut.json").write_text(json.dumps(splits))
    told = refused(cli(*words("cut.json", "no"), cwd=folder))
    assert "fold 0 has no training clip of '1'" in told


def test_a_run_of_other_settings_in_the_folder_is_refused(place):
    folder, _ = place
    told = refused(cli(*words("heads/splits.json", "whole", quick=("--epochs", "5")), cwd=folder))
    assert "holds another run" in told
    assert "epochs 3 → 5" in told


def test_a_report_that_cannot_be_made_is_refused(place):
    folder, _ = place
    told = refused(cli(*words("heads/splits.json", "no", "--report-to", "wandb"), cwd=folder))
    assert "wandb is not installed" in told


@pytest.mark.parametrize(
    ("more", "told"),
    [
        (("--head", "attention"), 'Choose from: "linear", "mlp"'),
        (("--window", "0.1"), "--window"),
        (("--device", "cuda:1"), "--device cuda:1"),
        (("--trials", "3", "--validation", "none"), "--validation none"),
    ],
    ids=str,
)
def test_what_cannot_be_is_refused(place, more, told):
    folder, _ = place
    assert told in refused(cli(*words("heads/splits.json", "no", *more), cwd=folder))
