"""Files of a run folder that were edited or damaged, and disks that are full: one line each."""

from __future__ import annotations

import json
import resource
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from layerprobe.cache.common.errors import InputError
from layerprobe.classify.runs.run_folder import read_json, write_json
from tests.run import CLI, ENVIRONMENT, cli, refused, write_corpus

pytestmark = pytest.mark.slow

SOURCE = ("clips.csv", "--model", "mfcc")
SMALL = ("--split", "random", "--folds", "2", "--inner-folds", "2", "--trials", "1", "--jobs", "1")
STUDY = ("classify", *SOURCE, *SMALL, "--heads", "logreg", "--controls", "none", "--no-audit")
Edit = Callable[[dict[str, Any]], object]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A table, its states, and a finished run in `run`."""
    folder = tmp_path_factory.mktemp("edited")
    write_corpus(folder, clips=16, speakers=8, shortest=0.1)
    assert cli("embed", *SOURCE, cwd=folder).returncode == 0
    done = cli(*STUDY, "--out", "run", cwd=folder)
    assert done.returncode == 0, done.stderr
    return folder


def nested(depth: int) -> str:
    return f'{{"a": {"[" * depth}{"]" * depth}}}'


def test_deep_nesting_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "run.json"
    for depth in (600, 100_000):
        file.write_text(nested(depth))
        with pytest.raises(InputError, match=r"run\.json: is (not JSON|damaged)"):
            write_json(file, read_json(file))


RUN_EDITS: dict[str, Edit] = {
    "config is a list": lambda run: run.update(config=[]),
    "command is a number": lambda run: run.update(command=3),
    "fingerprint is a list": lambda run: run.update(fingerprint=["a"]),
    "another fingerprint, config is text": lambda run: run.update(fingerprint="b", config="c"),
}
SUMMARY_EDITS: dict[str, Edit] = {
    "no layers": lambda summary: summary.pop("layers"),
    "layers are numbers": lambda summary: summary.update(layers=[1, 2]),
    "selected is a list": lambda summary: summary.update(selected=[]),
    "folds are null": lambda summary: summary["selected"].update(folds=None),
    "scores are text": lambda summary: summary["selected"].update(uar="high"),
    "audit is text": lambda summary: summary.update(audit="fine"),
    "controls are a list": lambda summary: summary.update(controls=[]),
}
EDITS = [("run.json", name, edit) for name, edit in RUN_EDITS.items()]
EDITS += [("summary.json", name, edit) for name, edit in SUMMARY_EDITS.items()]


@pytest.mark.parametrize(
    ("file", "edit"), [(file, edit) for file, _, edit in EDITS], ids=[e[1] for e in EDITS]
)
def test_an_edited_record_is_named(place: Path, tmp_path: Path, file: str, edit: Edit) -> None:
    out = tmp_path / "run"
    shutil.copytree(place / "run", out)
    content = json.loads((out / file).read_text())
    edit(content)
    (out / file).write_text(json.dumps(content))
    message = refused(cli(*STUDY, "--out", out, cwd=place))
    assert f"{out / file}: is damaged" in message
    assert "restore an intact copy" in message


@pytest.mark.parametrize("file", ["run.json", "summary.json"])
def test_a_deeply_nested_record_is_named(place: Path, tmp_path: Path, file: str) -> None:
    out = tmp_path / "run"
    shutil.copytree(place / "run", out)
    (out / file).write_text(nested(100_000))
    assert f"{out / file}: is not JSON" in refused(cli(*STUDY, "--out", out, cwd=place))
    if file == "run.json":
        assert f"{out / file}: is not JSON" in refused(cli("compare", place / "run", out))


@pytest.mark.parametrize(
    "cost", [[1], "much", {"wall_s": "long", "extraction": {"wall_s": 1}}, {"extraction": 3}]
)
def test_compare_names_a_record_with_an_edited_cost(place: Path, tmp_path: Path, cost: object) -> None:
    shutil.copytree(place / "run", tmp_path / "run")
    record = json.loads((tmp_path / "run" / "run.json").read_text())
    (tmp_path / "run" / "run.json").write_text(json.dumps({**record, "cost": cost}))
    message = refused(cli("compare", place / "run", tmp_path / "run"))
    assert f"{tmp_path / 'run' / 'run.json'}: is damaged" in message


@pytest.mark.parametrize("limit", [0, 100, 20_000])
def test_a_full_disk_ends_a_run_in_one_line(place: Path, tmp_path: Path, limit: int) -> None:
    """A limit on the size of files, which ends writing as a full disk does, here from the first write on."""

    def limited() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))

    done = subprocess.run(
        [*CLI, *STUDY, "--out", str(tmp_path / "run")],
        cwd=place,
        env=ENVIRONMENT,
        preexec_fn=limited,
        capture_output=True,
        text=True,
        check=False,
    )
    assert str(tmp_path / "run") in refused(done)


def test_too_little_address_space_is_one_line(place: Path) -> None:
    program = (
        f"import os, resource, sys; resource.setrlimit(resource.RLIMIT_AS, ({1 << 30},) * 2); "
        "os.execv(sys.executable, sys.argv[1:])"
    )
    command = [*CLI, "embed", "clips.csv", "--model", "random:hubert-tiny", "--cache", "new"]
    done = subprocess.run(
        [sys.executable, "-c", program, *command],
        cwd=place,
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert "the system grants too little memory" in refused(done)
