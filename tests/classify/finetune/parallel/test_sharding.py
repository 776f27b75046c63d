"""Two real processes divide a model (FSDP), with the results of one process with twice the batch."""

from __future__ import annotations

import csv
import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from layerprobe.cache.common.errors import InputError
from layerprobe.classify.finetune.parallel.group import Group, find_group
from layerprobe.classify.finetune.training import check_options
from layerprobe.classify.runs.run_folder import read_json
from tests.classify.finetune.parallel.sharded_steps import CASES, RANDOM
from tests.classify.finetune.parallel.test_group import alone, curves, together, voices
from tests.run import ENVIRONMENT, ROOT, cli, refused
from tests.tiny import save_tiny
from tests.voices import NO_DROPOUT, quick
from tests.whispers import save_whisper

__all__ = ["voices"]  # a fixture

pytestmark = pytest.mark.slow


def probabilities(out: Path) -> np.ndarray:
    with (out / "predictions.csv").open() as file:
        rows = sorted(csv.DictReader(file), key=lambda row: row["clip"])
    return np.array([[float(row[name]) for name in ("p_0", "p_1", "p_2")] for row in rows])


def test_a_divided_model_trains_as_one_process_also_after_ctrl_c(voices, tmp_path):
    expected = alone(voices, tmp_path / "alone", keep_models=True)
    out, words = tmp_path / "divided", ["--fsdp", "--keep-models"]
    with together(voices, out, *words) as stopped:
        until = time.monotonic() + 300
        while not list(out.glob("work/fold-*/trial-0/checkpoint-*/whole.json")):
            assert stopped.poll() is None
            assert time.monotonic() < until
            time.sleep(0.02)
        stopped.send_signal(signal.SIGINT)  # torchrun passes it on, and ends with a traceback of its own
        _, errors = stopped.communicate(timeout=120)
    assert stopped.returncode != 0
    assert errors.count("stopped: finished folds and the last checkpoint are kept") == 1
    assert "group.py" not in errors
    with together(voices, out, *words) as run:
        _, errors = run.communicate(timeout=300)
    assert run.returncode == 0, errors
    ours, theirs = curves(out), curves(tmp_path / "alone")
    theirs[1, 2] = ours[1, 2]  # the mean loss of the interrupted epoch is that of its steps since
    np.testing.assert_allclose(ours, theirs, rtol=1e-3, atol=1e-5)
    np.testing.assert_allclose(probabilities(out), probabilities(tmp_path / "alone"), atol=1e-3)
    summary, record = read_json(out / "summary.json"), read_json(out / "run.json")
    assert summary["selected"]["folds"][0]["params"] == expected["selected"]["folds"][0]["params"]
    assert (record["config"]["fsdp"], record["config"]["processes"]) == (True, 2)
    assert "fsdp" not in read_json(tmp_path / "alone" / "run.json")["config"]
    for fold in ("fold-0", "fold-1"):
        (own,), (other,) = (list(o.glob(f"models/{fold}/*.safetensors")) for o in (out, tmp_path / "alone"))
        trained = load_file(own)
        for name, value in load_file(other).items():
            np.testing.assert_allclose(trained[name], value, atol=2e-4)
    sound = next(voices.glob("corpus/*/*.wav"))
    done = cli("predict", out / "models" / "fold-0", sound, "--json")
    assert done.returncode == 0, done.stderr


def test_a_step_of_every_kind_of_model(tmp_path):
    save_tiny(tmp_path / "group", "wav2vec2-group", **NO_DROPOUT)
    save_tiny(tmp_path / "wavlm", "wavlm-layer", **NO_DROPOUT)
    save_tiny(tmp_path / "data2vec", "data2vec", **NO_DROPOUT)
    save_tiny(tmp_path / "masks", "hubert-group", **{**NO_DROPOUT, "mask_time_prob": 0.5})
    save_tiny(tmp_path / "dropped", "hubert-layer", **{**NO_DROPOUT, "layerdrop": 0.6})
    save_whisper(tmp_path / "whisper")
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    script = Path(__file__).with_name("sharded_steps.py")
    environment = {**ENVIRONMENT, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [*launch, str(script), str(tmp_path)], env=environment, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    differences = json.loads(done.stdout.splitlines()[-1])
    assert list(differences) == [*CASES, *RANDOM]
    assert all(differences[case] < 1e-5 for case in CASES), differences
    assert all(differences[case] > 0 for case in RANDOM), differences


def test_what_does_not_divide_a_model_is_refused(voices, tmp_path):
    words = ("finetune", "clips.csv", "--model", "tiny", "--splits", "splits.json", "--out", tmp_path / "out")
    line = refused(cli(*words, "--fsdp", "--device", "cpu", cwd=voices))
    assert line == (
        "error: --fsdp divides a model among the processes that train it together, and this is one; start "
        "several with torchrun, or omit it"
    )
    for name, kind in (("ACCELERATE_USE_FSDP", "FSDP"), ("ACCELERATE_USE_DEEPSPEED", "DeepSpeed")):
        with pytest.raises(InputError, match=rf"^the launcher's {kind} is not supported; .* give --fsdp$"):
            find_group({"RANK": "0", "WORLD_SIZE": "2", name: "true"})


def test_half_precision_that_would_have_to_be_scaled_is_refused(monkeypatch):
    monkeypatch.setattr("layerprobe.classify.finetune.training.find_device", lambda _: FakeCuda())
    monkeypatch.setattr("layerprobe.classify.finetune.training.find_training_precision", lambda *_: "fp16")
    with pytest.raises(InputError, match=r"^--precision fp16 does not support --fsdp; give bf16 or fp32$"):
        check_options("tiny", quick(fsdp=True, precision="fp16"), Group(rank=0, size=2))


class FakeCuda:
    type, index = "cuda", None
