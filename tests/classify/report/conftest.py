"""Two finished runs, one of them with hostile names in its table, and their reports.

Of the session: tests of other packages run between those of this one.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from layerprobe.classify.config import EvaluationConfig, StudyConfig
from layerprobe.classify.controls.evaluation import run_and_evaluate
from layerprobe.classify.report.write import write_report
from layerprobe.embed.manifest.clips import Clip, read_manifest, write_manifest
from tests.figures import few_of_reports
from tests.studies import made_store

LABELS = ("<b>angry</b>", '=calm & "cool"', "$x_1$ 100%")
SPEAKERS = ["=<img src=x onerror=alert(1)>", "</script><script>alert(2)</script>", "%{y}", *"defgh"]
STUDY = StudyConfig(heads=("logreg", "svm"), folds=2, inner_folds=2, trials=6, jobs=1)


@pytest.fixture(scope="session")
def runs(tmp_path_factory) -> tuple[Path, Path]:
    """A run of 96 clips whose names are markup, with controls; and one on the same clips without any."""
    folder = tmp_path_factory.mktemp("report") / "a <i>folder"
    folder.mkdir()
    clips = []
    for number in range(96):
        speaker = SPEAKERS[number % 8]
        name = f"clip <u>{number} 'ü' &amp;.wav"
        (folder / name).write_bytes(f"{number}".encode())
        labels = {"emotion": LABELS[number // 8 % 3], "text": f"t{number % 4}"}
        clips.append(Clip(id=name, file=str(folder / name), labels=labels, speaker=speaker))
    table = folder / "clips.csv"
    write_manifest(clips, table)
    clips = read_manifest(table)
    store = made_store(folder / "features", clips, layers=("0", "1", "2"), signal=0.7)
    command = {"table": str(table), "path_column": None, "speaker_column": None}
    first, second = folder / "runs" / "first & best", folder / "runs" / "second"
    full = EvaluationConfig(audit=True, controls="cheap")
    run_and_evaluate(clips, store, first, STUDY, command=command, evaluation=full)
    run_and_evaluate(clips, store, second, STUDY, command=command, evaluation=None)
    return first, second


@pytest.fixture(scope="session")
def large_page(tmp_path_factory) -> Path:
    """The report of 10,000 clips of 300 speakers, which are segments of ten files."""
    folder = tmp_path_factory.mktemp("large")
    clips = []
    for number in range(10_000):
        path = folder / f"talk {number % 10}.wav"
        if number < 10:
            path.write_bytes(f"{number}".encode())
        start = float(number // 10)
        id = f"{path.name}#{start:g}-{start + 1:g}"
        label, speaker = "abcd"[number // 7 % 4], f"s{number % 300:03}"
        clips.append(
            Clip(
                id=id, file=str(path), start=start, end=start + 1, labels={"emotion": label}, speaker=speaker
            )
        )
    table = folder / "clips.csv"
    write_manifest(clips, table)
    clips = read_manifest(table)
    store = made_store(folder / "features", clips, layers=("0", "1", "2"), width=4, signal=0.3)
    command = {"table": str(table), "path_column": None, "speaker_column": None}
    study = StudyConfig(heads=("ridge",), folds=2, inner_folds=2, trials=1, jobs=1)
    run_and_evaluate(clips, store, folder / "run", study, command=command, evaluation=None)
    with few_of_reports():
        return write_report([folder / "run"], folder / "run" / "report")


@pytest.fixture(scope="session")
def page(runs) -> Path:
    return write_report([runs[0]], runs[0] / "report")


@pytest.fixture(scope="session")
def summary(runs) -> dict:
    return json.loads((runs[0] / "summary.json").read_text())


@pytest.fixture
def few_figures() -> Iterator[None]:
    """For tests of the page's text."""
    with few_of_reports():
        yield
