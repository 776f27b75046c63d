"""Stores and run folders of version 0.1.0 open, and its interrupted runs continue.

The files were made by that version, as `tests/last_version/make.py` says.
"""

from __future__ import annotations

import csv
import json
import shutil
import sqlite3
from pathlib import Path

import numpy as np
import pytest

from layerprobe.cache import FeatureStore
from tests.run import ROOT, cli

pytestmark = pytest.mark.slow

FILES = ROOT / "tests" / "last_version" / "files"
MADE = json.loads((FILES / "made.json").read_text())


@pytest.fixture
def copy(tmp_path) -> Path:
    """A copy of the last version's files: commands write to them."""
    return shutil.copytree(FILES, tmp_path / "copy")


def predictions(run: Path) -> list[tuple[str, ...]]:
    with (run / "predictions.csv").open() as file:
        return sorted(
            (r["system"], r["fold"], r["clip"], r["label"], r["predicted"]) for r in csv.DictReader(file)
        )


def finished_trials(database: Path) -> dict[tuple[str, int], str]:
    """(study, number) -> when the trial ended."""
    with sqlite3.connect(database) as connection:
        rows = connection.execute(
            "SELECT study_name, number, datetime_complete FROM trials JOIN studies USING (study_id)"
        )
        return {(name.partition("/")[2], number): ended for name, number, ended in rows}


@pytest.mark.parametrize("model", ["mfcc", "random-hubert-tiny"])
def test_a_store_opens_and_verifies(copy, model):
    store = FeatureStore(next((copy / "features" / model).iterdir()))
    keys = store.keys()
    assert len(keys) == 24
    layer = store.extraction.layers[0]
    states = store.layer(layer, keys)
    assert states.shape == (24, store.extraction.width(layer) * len(store.extraction.stats))
    assert np.isfinite(states).all()
    done = cli("cache", "verify", "--json", cwd=copy)
    assert done.returncode == 0, done.stderr
    assert [entry["damaged"] for entry in json.loads(done.stdout)] == [[], []]


@pytest.mark.parametrize("name", ["embed mfcc", "embed hubert-tiny"])
def test_nothing_is_embedded_again(copy, name):
    done = cli(*MADE["commands"][name].split(), "--json", cwd=copy)
    summary = json.loads(done.stdout)
    assert (summary["embedded"], summary["cached"]) == (0, 24)
    assert len(summary["failures"]) == 1


def test_an_interrupted_run_continues_to_the_same_predictions(copy):
    run, complete = copy / "runs" / "interrupted", copy / "runs" / "uninterrupted"
    before = finished_trials(run / "search.db")
    assert len(before) == sum(MADE["interrupted"]["trials"].values())
    done = cli(*MADE["commands"]["interrupted"].split(), "--no-bundle", cwd=copy)
    assert done.returncode == 0, done.stderr
    after = finished_trials(run / "search.db")
    assert {trial: after[trial] for trial in before} == before
    assert len(after) == 4 * 12
    assert (run / "splits.json").read_bytes() == (complete / "splits.json").read_bytes()
    assert predictions(run) == predictions(complete)
    summaries = [json.loads((folder / "summary.json").read_text())["selected"] for folder in (run, complete)]
    assert summaries[0]["uar"] == pytest.approx(summaries[1]["uar"], abs=1e-9)


def test_finished_runs_are_compared_and_not_made_again(copy):
    before = (copy / "runs" / "finished" / "summary.json").read_bytes()
    done = cli(*MADE["commands"]["finished"].split(), cwd=copy)
    assert done.returncode == 0, done.stderr
    assert (copy / "runs" / "finished" / "results.csv").read_bytes() == (
        FILES / "runs" / "finished" / "results.csv"
    ).read_bytes()
    assert (
        json.loads(before)["selected"]
        == json.loads((copy / "runs" / "finished" / "summary.json").read_text())["selected"]
    )
    done = cli("compare", "runs/finished", "runs/finetuned", "--json", cwd=copy)
    assert done.returncode == 0, done.stderr
    comparison = json.loads(done.stdout)
    assert [Path(entry["run"]).name for entry in comparison["entries"]] == ["finished", "finetuned"]


def test_a_run_is_repeated_from_its_record(copy):
    record = copy / "runs" / "finished" / "run.json"
    run = json.loads(record.read_text())
    run["store"] = str(next((copy / "features" / "mfcc").iterdir()))
    run["command"]["table"] = str(copy / "clips.csv")
    record.write_text(json.dumps(run))
    done = cli(
        "classify", "--from", record, "--out", "runs/again", "--controls", "none", "--jobs", "1", cwd=copy
    )
    assert done.returncode == 0, done.stderr
    assert predictions(copy / "runs" / "again") == predictions(copy / "runs" / "finished")
