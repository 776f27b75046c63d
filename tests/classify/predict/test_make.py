"""Making a bundle: of every kind of system, after an interruption, and when it cannot be made."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pytest
import soundfile

from layerprobe.cache.common.errors import InputError
from layerprobe.cache.common.interrupts import Interrupted
from layerprobe.classify.predict.bundle import load_bundle
from layerprobe.classify.predict.frozen import FrozenBundle
from layerprobe.classify.predict.make import held_out_scores, make_bundle, make_bundle_of
from layerprobe.classify.runs.run_record import read_recorded
from layerprobe.classify.search.storage import TrialStorage
from tests.bundles import assert_alike_from_cache_and_sound, clips_of, make_run, study
from tests.run import tone


@pytest.mark.parametrize(
    "settings",
    [
        {"heads": ("svm",), "layers": ("1", "2", "mix")},
        {"heads": ("xgboost",), "stats": ("mean",)},
        {"heads": ("majority",)},
    ],
    ids=["mix", "xgboost", "majority"],
)
def test_every_kind_of_system_predicts_alike_from_cache_and_sound(
    settings: dict[str, Any], tmp_path: Path
) -> None:
    run = make_run(tmp_path, bundle=False, **settings)
    if "mix" in settings.get("layers", ()):
        summary = json.loads((run / "summary.json").read_text())
        summary["selected"]["layer"] = "mix"
        (run / "summary.json").write_text(json.dumps(summary))
    bundle = load_bundle(make_bundle_of(run))
    assert isinstance(bundle, FrozenBundle)
    if "mix" in settings.get("layers", ()):
        assert bundle.system.names == ("1", "2")
    assert_alike_from_cache_and_sound(bundle, run)


@pytest.mark.slow
def test_an_interrupted_bundle_resumes_with_the_trials_that_it_has(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = make_run(tmp_path, heads=("logreg",), trials=4, bundle=False)
    expected = make_bundle_of(run, out=tmp_path / "whole")
    again = make_run(tmp_path / "again", heads=("logreg",), trials=4, bundle=False)
    added: list[int] = []
    add = TrialStorage.add

    def interrupted(self: TrialStorage, id: Any, trial: Any) -> None:
        add(self, id, trial)
        added.append(trial.number)
        if len(added) == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr(TrialStorage, "add", interrupted)
    with pytest.raises(Interrupted, match="bundle make"):
        make_bundle_of(again)
    assert not (again / "bundle").exists()
    bundle = make_bundle_of(again)
    assert added == [0, 1, 2, 3]
    for name in ("preprocessing.safetensors", "head.safetensors", "held_out.safetensors"):
        assert (bundle / name).read_bytes() == (expected / name).read_bytes()
    make_bundle_of(again)  # nothing is left to do
    assert added == [0, 1, 2, 3]


def test_a_system_that_scales_by_speaker_needs_speakers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = make_run(tmp_path, heads=("logreg",), scalings=("speaker",))
    bundle = load_bundle(run / "bundle")
    predictions = bundle.predict_clips(clips_of(run))
    assert all(one.label for one in predictions)
    with pytest.raises(InputError, match="by the other clips of its speaker"):
        bundle.predict(tone(1.0, seed=0), sampling_rate=16_000)
    (clip, *others) = clips_of(run)
    unknown = replace(clip, speaker=None)
    monkeypatch.setattr(bundle, "_extractor", None)
    monkeypatch.setattr(type(bundle), "load_backbone", lambda _: pytest.fail("the model was loaded"))
    for refuse in (
        lambda: bundle.predict_clips([unknown, *others]),
        lambda: bundle.predict_waves([tone(1.0, seed=0)], rate=16_000),
    ):
        with pytest.raises(InputError, match="by the other clips of its speaker"):
            refuse()


def test_held_out_scores_are_those_of_the_predictions(tmp_path: Path) -> None:
    run = make_run(tmp_path, heads=("logreg",))
    scores, groups = held_out_scores(run, "selected").values()
    assert len(scores) == 36
    assert len(np.unique(groups)) == 6
    assert np.all((scores >= 0) & (scores <= 1))
    bundle = load_bundle(run / "bundle")
    assert bundle.groups() == 6
    assert 0 <= bundle.set_threshold(0.5) <= bundle.set_threshold(0.8) <= 1


def test_what_no_bundle_can_be_made_of(tmp_path: Path) -> None:
    run = make_run(tmp_path, heads=("svm",), trials=1, bundle=False)
    with pytest.raises(InputError, match="no logreg"):
        make_bundle_of(run, exportable=True)
    record = json.loads((run / "run.json").read_text())
    (run / "run.json").write_text(json.dumps({**record, "finished": False}))
    with pytest.raises(InputError, match="no finished run"):
        make_bundle_of(run)
    (run / "run.json").write_text(json.dumps(record))
    table = tmp_path / "clips.csv"
    table.write_text(table.read_text().replace("clip000.wav,a", "clip000.wav,b"))
    with pytest.raises(InputError, match="other clips, labels or states"):
        make_bundle_of(run)
    assert not (run / "bundle").exists()


def test_where_no_bundle_is_written_is_said_before_the_search(tmp_path: Path, capfd) -> None:
    run = make_run(tmp_path, heads=("logreg",), trials=1, bundle=False)
    table = tmp_path / "clips.csv"
    capfd.readouterr()
    for out, line in ((table, "clips.csv: is a file"), (tmp_path, "is not empty and holds no bundle")):
        with pytest.raises(InputError, match=line):
            make_bundle_of(run, out=out)
    with pytest.raises(InputError, match=r"clips\.csv: is a file, no run folder; name the run folder"):
        make_bundle_of(table)
    assert capfd.readouterr() == ("", "")
    optuna.logging.set_verbosity(optuna.logging.INFO)  # as in a new process
    assert make_bundle_of(run, exportable=True) == run / "exportable"  # the selected system's stays
    assert "A new study" not in capfd.readouterr().err
    assert not (run / "bundle").exists()


def test_no_exportable_bundle_of_what_transformers_cannot_run(tmp_path: Path) -> None:
    run = make_run(tmp_path, heads=("logreg",), trials=1, bundle=False)
    store = read_recorded(run, runtime={}).store
    extraction = store.extraction
    for model, reason in (
        ("mfcc", "acoustic features"),
        ("random:whisper-tiny.en", "a model of type whisper"),
    ):
        store.extraction = replace(extraction, model=model)
        with pytest.raises(InputError, match=f"transformers cannot run .*{reason}"):
            make_bundle(run, clips_of(run), store, study(), exportable=True)


def test_markup_in_labels_is_text(tmp_path: Path) -> None:
    rows = ["path,emotion,speaker"]
    for number in range(24):
        soundfile.write(tmp_path / f"{number}.wav", tone(0.5, seed=number), 16_000)
        label = "<script>alert(1)</script>" if number % 2 else "| a_b* [x](y)"
        rows.append(f"{number}.wav,{label},s{number // 2 % 4}")
    (tmp_path / "clips.csv").write_text("\n".join(rows) + "\n")
    run = make_run(tmp_path, model="mfcc", heads=("logreg",), layers=(), trials=1)
    card = (run / "bundle" / "README.md").read_text()
    assert "<script>" not in card
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in card
    assert "[x](y)" not in card
    assert "<script>alert(1)</script>" in load_bundle(run / "bundle").labels
