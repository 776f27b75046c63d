"""The comparison with peers at a small scale: what needs no environment of its own runs, and states agree."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from benchmarks.peers import run
from benchmarks.peers.metering import failed, measure
from benchmarks.peers.methods import Methods, Row
from benchmarks.peers.run import line
from layerprobe.embed.manifest.clips import read_manifest
from tests.run import write_corpus
from tests.tiny import save_tiny


@pytest.mark.slow
def test_each_method_prints_one_row_and_exact_states_have_no_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write_corpus(tmp_path, clips=24, speakers=6)
    save_tiny(tmp_path / "model", "hubert-group")
    options = ["--model", str(tmp_path / "model"), "--layer", "2", "--json"]
    options += ["--only", "embed,one_at_a_time,padded"]
    monkeypatch.setattr(sys, "argv", ["run.py", str(tmp_path / "clips.csv"), *options])
    run.main()
    ours, alone, padded = json.loads(capsys.readouterr().out)
    assert not ours["failure"] + alone["failure"] + padded["failure"]
    assert float(ours["error"]) < 1e-5
    assert float(alone["error"]) == 0
    assert float(padded["error"]) > 1e-3  # padding changes the states of this family
    assert all(row["CPU s"] > 0 and row["peak MB"] > 50 for row in (ours, alone, padded))


def test_errors_are_relative_to_each_layer() -> None:
    reference = np.stack([np.full((3, 4), 10.0), np.full((3, 4), 1.0)], axis=1)
    states = reference.copy()
    states[1, 1, 2] += 0.5
    row = Row(method="m", version="1", gives="x", measured=failed(""), states=states)
    assert float(line(row, reference)["error"]) == 0.5
    one = Row(method="m", version="1", gives="x", measured=failed(""), states=reference[:, 1:], layer=1)
    assert float(line(one, reference)["error"]) == 0


def test_a_peer_that_cannot_be_installed_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_network(peer: str, folder: Path) -> Path:
        raise subprocess.CalledProcessError(1, ["pip"])

    monkeypatch.setattr("benchmarks.peers.methods.python_of", no_network)
    write_corpus(tmp_path, clips=4, speakers=2)
    save_tiny(tmp_path / "model", "hubert-group")
    methods = Methods(
        read_manifest(tmp_path / "clips.csv"),
        tmp_path / "model",
        tmp_path,
        target="emotion",
        layer="1",
        environments=tmp_path / "environments",
    )
    assert "cannot be installed" in methods.s3prl().measured.failure
    assert "cannot be installed" in methods.nkululeko().measured.failure


def test_a_failure_is_reported_by_its_last_line(tmp_path: Path) -> None:
    measured = measure(
        [sys.executable, "-c", "print('a'); raise SystemExit('no room')"], log=tmp_path / "log"
    )
    assert measured.failure == "exit status 1: no room"
    assert measured.wall_s > 0
    assert measure([sys.executable, "-c", ""], log=tmp_path / "log").failure == ""
