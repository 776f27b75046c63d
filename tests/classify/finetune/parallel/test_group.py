"""Two real processes under torchrun train as one process with twice the batch."""

from __future__ import annotations

import csv
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from layerprobe.cache.common.errors import InputError
from layerprobe.classify.finetune.data import LengthGroupedSampler
from layerprobe.classify.finetune.parallel.group import Group, find_group
from layerprobe.classify.finetune.parallel.shares import FilledSampler
from layerprobe.classify.finetune.run import finetune
from layerprobe.classify.runs.run_folder import read_json
from layerprobe.classify.runs.splits_file import read_assignment
from layerprobe.embed.manifest.clips import read_manifest
from tests.run import CLI_FILE, ENVIRONMENT, cli, refused
from tests.voices import make_voices, quick

pytestmark = pytest.mark.slow

# Without dropout and masks, which are drawn in each process.
SETTINGS = {"dropout": 0.0, "spec_augment": False, "epochs": 2}
WORDS = [
    *("finetune", "clips.csv", "--model", "tiny", "--splits", "splits.json", "--cache", "features"),
    *("--epochs", "2", "--learning-rate", "1e-3", "--dropout", "0", "--no-spec-augment", "--device", "cpu"),
]


@pytest.fixture(scope="module")
def voices(tmp_path_factory):
    return make_voices(tmp_path_factory.mktemp("voices")).parent


def together(voices, out, *more: str) -> subprocess.Popen[str]:
    """Two processes with four clips of a batch each."""
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    words = [*WORDS, "--batch-size", "4", "--out", str(out), *more]
    return subprocess.Popen(
        [*launch, str(CLI_FILE), *words],
        cwd=voices,
        env=ENVIRONMENT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def alone(voices, out, **changes):
    clips = read_manifest(voices / "clips.csv", must_exist=False)
    config = quick(**SETTINGS, batch_size=8, device="cpu", **changes)
    splits = read_assignment(voices / "splits.json", clips)
    model, cache = str(voices / "tiny"), voices / "features"
    return finetune(clips, splits, model=model, out=out, config=config, cache=cache)


def curves(out: Path) -> np.ndarray:
    with (out / "curves.csv").open() as file:
        return np.array([[float(cell) for cell in row.values()] for row in csv.DictReader(file)])


def workers(parent: int) -> list[int]:
    """The processes that torchrun has started."""
    children = Path(f"/proc/{parent}/task/{parent}/children").read_text().split()
    return [int(child) for child in children if b"cli.py" in Path(f"/proc/{child}/cmdline").read_bytes()]


def test_two_processes_have_the_curve_of_one_with_twice_the_batch_also_after_one_was_killed(voices, tmp_path):
    expected = alone(voices, tmp_path / "alone")
    out = tmp_path / "together"
    with together(voices, out) as killed:
        until = time.monotonic() + 300
        while not list(out.glob("work/fold-*/trial-0/checkpoint-*/whole.json")):
            assert killed.poll() is None
            assert time.monotonic() < until
            time.sleep(0.02)
        os.kill(workers(killed.pid)[-1], signal.SIGKILL)
        _, errors = killed.communicate(timeout=120)
    assert killed.returncode != 0
    assert "finished folds and the last checkpoint are kept" in errors
    assert errors.count("the same command resumes") == 1
    assert "cross_validation.py" not in errors  # no traceback of ours
    with together(voices, out) as run:
        printed, errors = run.communicate(timeout=300)
    assert run.returncode == 0, errors
    assert printed.count("fine-tuned tiny") == 1
    np.testing.assert_allclose(curves(out), curves(tmp_path / "alone"), rtol=1e-3, atol=1e-5)
    summary = read_json(out / "summary.json")
    assert summary["selected"]["uar"]["value"] == pytest.approx(expected["selected"]["uar"]["value"])
    assert summary["data"] == expected["data"]
    record = read_json(out / "run.json")
    assert record["config"]["processes"] == 2
    line = refused(cli(*WORDS, "--batch-size", "4", "--out", out, cwd=voices))
    assert "holds another run (processes 2 → None)" in line


def test_an_error_of_the_input_is_one_line(voices, tmp_path):
    (tmp_path / "file").touch()
    with together(voices, tmp_path / "out", "--splits", str(tmp_path / "missing.json")) as run:
        _, errors = run.communicate(timeout=120)
    lines = [line for line in errors.splitlines() if line.startswith("error: ")]
    assert len(lines) == 1
    assert "missing.json" in lines[0]


@pytest.mark.parametrize("windows", [16, 17, 19, 24])
def test_the_shares_are_a_partition_of_the_order_of_one_process(windows):
    lengths = [1000 - 7 * number for number in range(windows)]
    for epoch in (0, 3):
        order = LengthGroupedSampler(lengths, batch_size=8, seed=5)
        filled = FilledSampler(LengthGroupedSampler(lengths, batch_size=8, seed=5), multiple=8)
        order.set_epoch(epoch)
        filled.set_epoch(epoch)
        indices = list(filled)
        assert len(indices) == len(filled) == -(-windows // 8) * 8
        batches = [indices[begin : begin + 4] for begin in range(0, len(indices), 4)]
        shares = [batches[process::2] for process in (0, 1)]  # as accelerate shares them
        assert len(shares[0]) == len(shares[1])
        whole = [list(order)[begin : begin + 8] for begin in range(0, windows, 8)]
        for step, batch in enumerate(whole):
            own = [index for share in shares for index in share[step] if index < windows]
            assert own == batch


def test_the_launcher_says_who_trains_together():
    assert find_group({}) == Group()
    assert find_group({"RANK": "1", "WORLD_SIZE": "4"}) == Group(rank=1, size=4)
    assert not Group(rank=1, size=4).is_first
    assert Group().from_first(lambda: 3) == 3
    assert Group().any(True)


def test_a_search_is_refused(voices, tmp_path, monkeypatch):
    monkeypatch.setenv("RANK", "0")
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(InputError, match="--trials is a search by one process, and these are 2 that train"):
        alone(voices, tmp_path / "out", trials=2)
