"""Fine-tuning from the table of clips to the run folder, on a tiny model."""

from __future__ import annotations

import csv
import json
import math
import os
import shutil
import signal
import sys
from types import ModuleType

import numpy as np
import pytest
import torch

from layerprobe.cache.common.errors import InputError, WorkerKilledError
from layerprobe.classify.finetune import checkpoints
from layerprobe.classify.finetune import training as finetune_training
from layerprobe.classify.finetune.data import WindowDataset
from layerprobe.classify.finetune.model import SpeechClassifier
from layerprobe.classify.finetune.run import finetune
from layerprobe.classify.predict.bundle import load_bundle
from layerprobe.classify.predict.transformers_export import export_transformers
from layerprobe.classify.runs.compare import compare
from layerprobe.classify.runs.read_predictions import read_predictions
from layerprobe.classify.runs.run_folder import read_json
from layerprobe.classify.runs.splits_file import read_assignment
from layerprobe.embed.manifest.clips import read_manifest
from tests.figures import run_kinds
from tests.voices import by_speaker, make_voices, quick
from tests.whispers import save_whisper

pytestmark = pytest.mark.slow

FILES = ("results.csv", "predictions.csv", "summary.json", "splits.json")


@pytest.fixture(scope="module")
def voices(tmp_path_factory):
    return make_voices(tmp_path_factory.mktemp("voices")).parent


def run(voices, out, config=None, *, assignment=None, **options):
    clips = read_manifest(voices / "clips.csv", must_exist=False)
    return finetune(
        clips,
        assignment or read_assignment(voices / "splits.json", clips),
        out=out,
        config=config or quick(),
        cache=voices / "features",
        **{"model": str(voices / "tiny"), **options},
    )


@pytest.fixture(scope="module")
def finished(voices, tmp_path_factory):
    out = tmp_path_factory.mktemp("runs") / "ft"
    with run_kinds():
        return out, run(voices, out, command={"table": "t"})


def test_it_learns_unseen_speakers_well_above_chance(tmp_path):
    table = make_voices(tmp_path, speakers=8, words=4, folds=4)
    assignment = by_speaker(table, folds=4)[:1]
    config = quick(epochs=12, freeze="none", patience=0)
    summary = run(tmp_path, tmp_path / "run", config, assignment=assignment)
    assert summary["selected"]["uar"]["value"] > 0.5
    assert summary["chance"] == pytest.approx(1 / 3)


def test_the_chosen_channel_is_the_one_that_is_read(voices, finished, tmp_path):
    with pytest.raises(InputError, match="has no channel 7: it has 1, counted from 0"):
        run(voices, tmp_path / "run", quick(channels="7"))
    # Runs of earlier versions, which did not record it, are continued.
    assert not {"channels", "track"} & read_json(finished[0] / "run.json")["config"].keys()


def test_the_run_folder_has_the_files_that_classify_writes(voices, finished):
    out, summary = finished
    assert summary == read_json(out / "summary.json")
    selected = summary["selected"]
    assert {"uar", "accuracy", "macro_f1"} <= selected.keys()
    assert {"value", "low", "high"} <= selected["uar"].keys()
    assert (selected["layer"], selected["head"], selected["split"]) == ("all", "linear", "speaker")
    assert summary["data"]["clips"] == 36
    record = read_json(out / "run.json")
    assert record["kind"] == "finetune"
    assert record["finished"]
    assert record["command"] == {"table": "t"}
    cost = record["cost"]
    assert cost["wall_s"] > 0
    assert cost["peak_memory_bytes"] > 0
    assert cost["trained_parameters"] > 1000
    assert cost["device"] == "cpu"
    assert cost["device_s"] == cost["wall_s"]
    with (out / "results.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["fold"] for row in rows] == ["0", "1"]
    assert {"head", "learning_rate", "epochs", "dropout", "epoch"} == set(json.loads(rows[0]["params"]))
    assert sorted(path.name for path in out.iterdir()) == sorted(
        [*FILES, "run.json", "curves.csv", "figures", ".lock"]
    )
    assert {path.name for path in (out / "figures").iterdir()} == {"curves.svg", "curves.pdf", "curves.png"}


def test_every_test_clip_is_predicted_once_on_the_given_folds(voices, finished):
    out, _ = finished
    systems = read_predictions(out)
    assert set(systems) == {"selected", "all/linear"}
    tested = {
        id: fold for fold, (_, test) in enumerate(by_speaker(voices / "clips.csv", folds=2)) for id in test
    }
    predictions = systems["selected"]
    assert dict(zip(predictions.clips.tolist(), predictions.folds.tolist(), strict=True)) == tested


def test_the_curves_have_every_epoch_and_the_best_one_is_tested(finished):
    out, summary = finished
    with (out / "curves.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [(row["fold"], float(row["epoch"])) for row in rows] == [("0", 1), ("0", 2), ("1", 1), ("1", 2)]
    for fold in summary["selected"]["folds"]:
        scores = [float(row["validation_uar"]) for row in rows if row["fold"] == str(fold["fold"])]
        assert fold["inner_score"] == pytest.approx(max(scores))
        assert fold["params"]["epoch"] == 1 + scores.index(max(scores))


def test_the_same_seed_gives_the_same_run_and_a_finished_run_is_left_unchanged(voices, finished, tmp_path):
    out, summary = finished
    assert run(voices, tmp_path / "again") == summary
    for name in FILES:
        assert (tmp_path / "again" / name).read_bytes() == (out / name).read_bytes(), name
    before = (out / "run.json").stat().st_mtime_ns
    assert run(voices, out) == summary
    assert (out / "run.json").stat().st_mtime_ns == before


def test_compare_accepts_two_fine_tunings(voices, finished, tmp_path):
    out, _ = finished
    run(voices, tmp_path / "mlp", quick(head="mlp", validation="none", epochs=1))
    comparison = compare([out, tmp_path / "mlp"])
    assert comparison.clips == 36
    assert len(comparison.pairs) == 1
    summary = read_json(tmp_path / "mlp" / "summary.json")
    assert summary["selected"]["head"] == "mlp"
    assert summary["selected"]["folds"][0]["inner_score"] is None
    assert "last of all epochs is tested" in summary["notes"][0]


@pytest.mark.parametrize("seconds", [math.inf, 0.0], ids=["by epoch", "by step"])
def test_a_run_killed_at_any_step_resumes_to_the_same_result(voices, tmp_path, monkeypatch, seconds):
    monkeypatch.setattr(checkpoints, "CHECKPOINT_SECONDS", seconds)
    config = quick(epochs=3, patience=1)
    expected = run(voices, tmp_path / "whole", config)
    steps = 0

    def interrupt(_progress):
        nonlocal steps
        steps += 1
        if steps % 4 == 0:
            raise RuntimeError("killed")

    for _ in range(30):
        try:
            summary = run(voices, tmp_path / "cut", config, report=interrupt)
            break
        except RuntimeError:
            continue
    assert steps > 8
    assert summary == expected
    for name in FILES:
        assert (tmp_path / "cut" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes(), name


def in_a_worker(monkeypatch, action):
    """Do this for the first window that a process of its own decodes."""
    original = WindowDataset.__getitem__

    def decode(self, index):
        if torch.utils.data.get_worker_info() is not None:
            action()
        return original(self, index)

    monkeypatch.setattr(WindowDataset, "__getitem__", decode)


@pytest.mark.timeout(300)
def test_a_killed_decoding_process_is_one_line_and_the_run_resumes(voices, tmp_path, monkeypatch):
    config = quick(epochs=1, workers=1)
    with monkeypatch.context() as patch:
        in_a_worker(patch, lambda: os.kill(os.getpid(), signal.SIGKILL))
        with pytest.raises(WorkerKilledError, match=r"was killed .out of memory.*fewer --workers") as error:
            run(voices, tmp_path / "run", config)
        assert "\n" not in str(error.value)
    summary = run(voices, tmp_path / "run", config)
    assert summary["selected"]["uar"] == run(voices, tmp_path / "whole", config)["selected"]["uar"]


@pytest.mark.timeout(300)
def test_shared_memory_that_fills_up_is_one_line(voices, tmp_path, monkeypatch):
    """The kernel sends SIGBUS to a process that writes to a page for which there is no room."""
    in_a_worker(monkeypatch, lambda: os.kill(os.getpid(), signal.SIGBUS))
    with pytest.raises(
        InputError, match=r"/dev/shm is full; give the container more shared memory.*--workers 0"
    ):
        run(voices, tmp_path / "run", quick(epochs=1, workers=1))


@pytest.mark.timeout(300)
@pytest.mark.parametrize("workers", [0, 1])
def test_a_recording_that_is_damaged_meanwhile_is_one_line(voices, tmp_path, workers):
    copy = tmp_path / "voices"
    shutil.copytree(voices, copy)

    def damage(progress):
        if "epoch 1" in progress.status:
            for path in copy.rglob("*.wav"):
                path.write_bytes(path.read_bytes()[:-100])

    with pytest.raises(InputError, match=r"\.wav: truncated: \d+ samples can be read") as error:
        run(copy, tmp_path / "run", quick(epochs=3, workers=workers), report=damage)
    assert "\n" not in str(error.value)
    assert "Traceback" not in str(error.value)


def test_patience_ends_a_training_that_does_not_improve(voices, tmp_path):
    run(voices, tmp_path / "run", quick(epochs=30, learning_rate=1e-9, patience=2))
    epochs = [line.split(",")[:2] for line in (tmp_path / "run" / "curves.csv").read_text().splitlines()[1:]]
    assert max(float(epoch) for _, epoch in epochs) < 10


def test_a_search_uses_the_best_trial_and_resumes_where_it_was(voices, tmp_path):
    config = quick(trials=2)
    stopped = tmp_path / "stopped"

    def interrupt(progress):
        if "trial 2" in progress.status:
            raise RuntimeError("killed")

    with pytest.raises(RuntimeError):
        run(voices, stopped, config, report=interrupt)
    assert (stopped / "work" / "fold-0" / "trial-0" / "fitted.json").is_file()
    summary = run(voices, stopped, config)
    assert summary == run(voices, tmp_path / "whole", config)
    assert summary["selected"]["head"] == "searched"
    with (stopped / "results.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["trials"] for row in rows] == ["2", "2"]
    assert json.loads(rows[0]["params"])["head"] in ("linear", "mlp")


def test_kept_models_are_bundles_that_predict_the_test_part_again(voices, tmp_path):
    run(voices, tmp_path / "run", quick(epochs=1, keep_models=True, weighted_layers=True, window=2.0))
    clips = {clip.id: clip for clip in read_manifest(voices / "clips.csv")}
    with (tmp_path / "run" / "predictions.csv").open() as file:
        rows = [row for row in csv.DictReader(file) if row["system"] == "selected"]
    for fold in ("0", "1"):
        bundle = load_bundle(tmp_path / "run" / "models" / f"fold-{fold}")
        assert bundle.labels == ("0", "1", "2")
        tested = [row for row in rows if row["fold"] == fold]
        predictions = bundle.predict_clips([clips[row["clip"]] for row in tested])
        for row, prediction in zip(tested, predictions, strict=True):
            assert prediction.error is None
            expected = [float(row[f"p_{label}"]) for label in bundle.labels]
            np.testing.assert_allclose(prediction.probabilities, expected, atol=1e-4)
    wave = np.random.default_rng(0).normal(0, 0.1, 40_000)
    assert bundle.predict(wave, sampling_rate=16_000) in bundle.labels
    with pytest.raises(InputError, match="is a file"):
        export_transformers(bundle, tmp_path / "run" / "run.json")
    weights = tmp_path / "run" / "models" / "fold-1" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    with pytest.raises(InputError, match="was changed"):
        load_bundle(weights.parent)


@pytest.mark.parametrize(
    "changes",
    [
        {"lora": 2},
        {"accumulation": 3, "batch_size": 2},
        {"gradient_checkpointing": True, "freeze": "none"},
        {"precision": "bf16"},
        {"workers": 1},
        {"window": 2.0, "class_weight": "none", "spec_augment": False},
    ],
    ids=str,
)
def test_training_options(voices, tmp_path, changes):
    assignment = by_speaker(voices / "clips.csv", folds=2)[:1]
    summary = run(voices, tmp_path / "run", quick(epochs=1, **changes), assignment=assignment)
    assert 0 <= summary["selected"]["uar"]["value"] <= 1


def test_unusable_clips_are_listed_and_left_out(voices, tmp_path):
    shutil.copytree(voices, tmp_path / "v")
    first = sorted((tmp_path / "v" / "corpus").rglob("*.wav"))[0]
    first.write_bytes(b"not audio")
    summary = run(tmp_path / "v", tmp_path / "run", quick(epochs=1))
    excluded = summary["data"]["excluded"]
    assert excluded["count"] == 1
    (reason,) = excluded["clips"].values()
    assert reason.startswith("not usable: ")
    assert summary["data"]["clips"] == 35


def test_a_folder_with_another_run_is_refused(voices, finished):
    out, _ = finished
    with pytest.raises(InputError, match="epochs 2 → 5"):
        run(voices, out, quick(epochs=5))


def test_acoustic_features_are_refused(voices, tmp_path):
    with pytest.raises(InputError, match="no weights to fine-tune"):
        run(voices, tmp_path / "run", model="mfcc")


def test_a_family_that_cannot_be_trained_is_refused(voices, tmp_path):
    with pytest.raises(InputError, match=r"is of type sew, which cannot be fine-tuned here"):
        run(voices, tmp_path, model="random:sew-tiny")


def test_windows_beyond_the_positions_of_a_whisper_encoder_are_refused(voices, tmp_path):
    with pytest.raises(InputError, match=r"--window 40 is longer than the 30 s that random:whisper-tiny.en"):
        run(voices, tmp_path, quick(window=40.0), model="random:whisper-tiny.en")


def test_a_whisper_encoder_is_fine_tuned_and_its_bundle_predicts_the_same(voices, tmp_path):
    model = save_whisper(tmp_path / "whisper")
    config = quick(keep_models=True)
    run(voices, tmp_path / "ft", config, model=str(model))
    bundle = load_bundle(tmp_path / "ft" / "models" / "fold-0")
    clips = {clip.id: clip for clip in read_manifest(voices / "clips.csv", must_exist=False)}
    with (tmp_path / "ft" / "predictions.csv").open() as file:
        tested = [r for r in csv.DictReader(file) if r["system"] == "selected" and r["fold"] == "0"][:4]
    predictions = bundle.predict_clips([clips[row["clip"]] for row in tested])
    for row, prediction in zip(tested, predictions, strict=True):
        expected = [float(row[f"p_{label}"]) for label in bundle.labels]
        np.testing.assert_allclose(prediction.probabilities, expected, atol=1e-4)


def test_fp16_needs_a_gpu(voices, tmp_path):
    with pytest.raises(InputError, match="fp16"):
        run(voices, tmp_path / "run", quick(precision="fp16"))


def test_a_loss_that_is_not_finite_ends_the_run_and_keeps_the_last_good_checkpoint(
    voices, tmp_path, monkeypatch
):
    out = tmp_path / "run"
    original = finetune_training.WindowDataset.__getitem__

    def corrupted(self, index):
        item = original(self, index)
        if (out / "work" / "fold-0" / "trial-0").is_dir() and any(
            (out / "work" / "fold-0" / "trial-0").glob("checkpoint-*/whole.json")
        ):
            item.wave.fill_(float("nan"))
        return item

    monkeypatch.setattr(finetune_training.WindowDataset, "__getitem__", corrupted)
    with pytest.raises(InputError) as caught:
        run(voices, out)
    message = str(caught.value)
    assert "the loss is not finite at step" in message
    assert ".wav" in message
    assert "fold 1 of 2" in message
    (checkpoint,) = out.glob("work/fold-0/trial-0/checkpoint-*")
    assert (checkpoint / "whole.json").is_file()
    assert f"the last good checkpoint is {checkpoint}" in message
    assert not read_json(out / "run.json")["finished"]
    monkeypatch.undo()
    assert run(voices, out) == run(voices, tmp_path / "whole")


def test_a_loss_that_is_not_finite_from_the_start_is_reported_without_a_checkpoint(voices, tmp_path):
    with pytest.raises(InputError, match=r"loss is not finite at step 2 .*; no checkpoint was saved"):
        run(voices, tmp_path / "run", quick(learning_rate=1e30, warmup=0.0))


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize(
    "error", [torch.OutOfMemoryError("full"), RuntimeError("DefaultCPUAllocator: can't allocate memory")]
)
def test_full_memory_is_reported_with_options_that_need_less(voices, tmp_path, monkeypatch, training, error):
    original = SpeechClassifier.forward

    def full(self, *inputs):
        if self.training == training and (training or torch.is_inference_mode_enabled()):
            raise error
        return original(self, *inputs)

    monkeypatch.setattr(SpeechClassifier, "forward", full)
    with pytest.raises(InputError, match="memory is full at --batch-size 8; give a smaller one"):
        run(voices, tmp_path / "run", quick(epochs=1))


def test_checkpoints_of_another_run_are_refused(voices, tmp_path):
    def interrupt(progress):
        if "epoch 2" in progress.status:
            raise RuntimeError("killed")

    for name, config in (("one", quick()), ("other", quick(seed=1))):
        with pytest.raises(RuntimeError):
            run(voices, tmp_path / name, config, report=interrupt)
    shutil.rmtree(tmp_path / "one" / "work")
    shutil.copytree(tmp_path / "other" / "work", tmp_path / "one" / "work")
    with pytest.raises(InputError, match="checkpoint of another run"):
        run(voices, tmp_path / "one")


def test_a_damaged_checkpoint_is_ignored(voices, finished, tmp_path):
    def interrupt(progress):
        if "epoch 2" in progress.status:
            raise RuntimeError("killed")

    out = tmp_path / "run"
    with pytest.raises(RuntimeError):
        run(voices, out, report=interrupt)
    (weights,) = out.glob("work/*/*/checkpoint-*/model.safetensors")
    weights.write_bytes(weights.read_bytes()[:100])
    assert run(voices, out) == finished[1]


def test_curves_are_sent_to_tensorboard(voices, tmp_path, monkeypatch):
    """TensorBoard is not a dependency: a writer that records its calls replaces it."""
    scalars = []

    class Writer:
        def __init__(self, log_dir):
            self.log_dir = log_dir

        def add_scalar(self, name, value, step):
            scalars.append((self.log_dir, name))

        def __getattr__(self, name):
            return lambda *args, **options: None

    integrations = pytest.importorskip("transformers.integrations.integration_utils")
    monkeypatch.setattr(integrations, "is_tensorboard_available", lambda: True)
    monkeypatch.setitem(sys.modules, "tensorboard", ModuleType("tensorboard"))
    monkeypatch.setattr("layerprobe.classify.finetune.training.find_spec", lambda name: name)
    board = ModuleType("torch.utils.tensorboard")
    board.SummaryWriter = Writer  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", board)
    assignment = by_speaker(voices / "clips.csv", folds=2)[:1]
    run(voices, tmp_path / "run", quick(epochs=1, report_to="tensorboard"), assignment=assignment)
    assert {"train/loss", "eval/uar"} <= {name for _, name in scalars}
    assert {folder for folder, _ in scalars} == {str(tmp_path / "run" / "tensorboard" / "fold-1-of-1")}


def test_a_full_disk_is_reported_before_training(voices, tmp_path, monkeypatch):
    monkeypatch.setattr("layerprobe.cache.common.disk.free_bytes", lambda folder: 1000)
    with pytest.raises(InputError, match=r"needs .* but 1 kB are free; free some space for checkpoints"):
        run(voices, tmp_path / "run")
