from __future__ import annotations

import csv
import json
import pickle
import shutil
import signal
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pytest

from layerprobe.cache.common.errors import InputError
from layerprobe.cache.store.feature_store import FeatureStore
from layerprobe.classify.config import StudyConfig
from layerprobe.classify.data.protocols import protocol_folds
from layerprobe.classify.features import kernels as sharing
from layerprobe.classify.runs.compare import rank
from layerprobe.classify.search import summary as summary_of
from layerprobe.classify.search.progress import Progress
from layerprobe.classify.search.strategies import halving
from layerprobe.classify.search.study import run_study
from layerprobe.embed.manifest.clips import Clip
from tests.run import ROOT, fork_server
from tests.studies import made_clips, made_store

pytestmark = pytest.mark.slow

KILLED_STUDY = Path(__file__).with_name("killed_study.py")
CONFIG = StudyConfig(folds=3, inner_folds=2, trials=4, jobs=1, layers=("0", "1"))
# Files that do not depend on the time; run.json does.
SAME = ("splits.json", "results.csv", "predictions.csv", "summary.json", "figures/layers.svg")


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> tuple[list[Clip], FeatureStore]:
    folder = tmp_path_factory.mktemp("study")
    clips = made_clips(folder / "corpus")
    return clips, made_store(folder / "cache", clips)


@pytest.fixture(scope="module")
def whole(corpus: tuple[list[Clip], FeatureStore], tmp_path_factory: pytest.TempPathFactory) -> Path:
    clips, store = corpus
    return run_study(clips, store, tmp_path_factory.mktemp("whole") / "run", CONFIG)


def table(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def same(one: Path, two: Path) -> None:
    for name in SAME:
        assert (one / name).read_bytes() == (two / name).read_bytes(), name


def test_a_run_folder_holds_what_it_should(whole: Path, corpus: tuple[list[Clip], FeatureStore]) -> None:
    clips, store = corpus
    assert sorted(path.name for path in whole.iterdir() if not path.name.startswith(".")) == [
        "figures", "predictions.csv", "results.csv", "run.json", "search.db", "splits.json", "summary.json",
    ]  # fmt: skip
    rows = table(whole / "results.csv")
    assert len(rows) == 3 * 2 * 3  # folds × layers × heads
    assert all(0 <= float(row["uar"]) <= 1 and json.loads(row["params"])["stats"] for row in rows)
    predictions = table(whole / "predictions.csv")
    assert len(predictions) == (1 + 2 * 3) * len(clips)
    assert {row["clip"] for row in predictions} == {clip.id for clip in clips}
    assert {row["system"] for row in predictions} == {
        "selected", *(f"{layer}/{head}" for layer in "01" for head in ("logreg", "svm", "xgboost")),
    }  # fmt: skip
    for row in predictions:
        p = [float(row[f"p_{label}"]) for label in "abc"]
        assert sum(p) == pytest.approx(1, abs=1e-4)
    run = json.loads((whole / "run.json").read_text())
    assert run["finished"]
    assert run["states"] == store.extraction.fingerprint()
    assert run["config"]["trials"] == 4
    assert len(optuna.get_all_study_names(f"sqlite:///{whole / 'search.db'}")) == 18


def test_the_summary_agrees_with_the_predictions(whole: Path) -> None:
    summary = json.loads((whole / "summary.json").read_text())
    rows = table(whole / "predictions.csv")
    chosen = [row for row in rows if row["system"] == "selected"]
    right = sum(row["label"] == row["predicted"] for row in chosen)
    selected = summary["selected"]
    assert selected["accuracy"]["value"] == pytest.approx(right / len(chosen))
    assert selected["uar"]["low"] <= selected["uar"]["value"] <= selected["uar"]["high"]
    for entry in selected["folds"]:
        name = f"{entry['layer']}/{entry['head']}"
        taken = [
            row["predicted"] for row in rows if row["system"] == name and row["fold"] == str(entry["fold"])
        ]
        assert taken == [row["predicted"] for row in chosen if row["fold"] == str(entry["fold"])]
    best: dict[str, list[float]] = {}
    for row in table(whole / "results.csv"):
        best.setdefault(row["fold"], []).append(float(row["inner_score"]))
    assert [entry["inner_score"] for entry in selected["folds"]] == pytest.approx(
        [max(scores) for scores in best.values()], abs=1e-6
    )
    assert summary["chance"] == pytest.approx(1 / 3)
    assert summary["audit"]["test_clips_of_training_speakers"] == 0
    assert len(summary["layers"]) == 6


@pytest.mark.parametrize("name", ["splits.json", "results.csv", "predictions.csv", "summary.json"])
def test_a_finished_run_that_lacks_a_file_is_refused(
    whole: Path, corpus: tuple[list[Clip], FeatureStore], tmp_path: Path, name: str
) -> None:
    shutil.copytree(whole, out := tmp_path / "run")
    (out / name).unlink()
    clips, store = corpus
    with pytest.raises(InputError, match=rf"holds a finished run without its {name}; restore an intact copy"):
        run_study(clips, store, out, CONFIG)


def test_the_number_of_workers_does_not_change_the_files(
    whole: Path, corpus: tuple[list[Clip], FeatureStore], tmp_path: Path
) -> None:
    clips, store = corpus
    seen: list[tuple[int, int]] = []

    def report(now: Progress) -> None:
        seen.append((now.done, now.total))

    same(whole, run_study(clips, store, tmp_path / "two", replace(CONFIG, jobs=2), report=report))
    assert seen[-1] == (72, 72)
    assert [done for done, _ in seen] == sorted(done for done, _ in seen)


def test_a_killed_run_resumes_and_ends_with_the_same_files(
    whole: Path, corpus: tuple[list[Clip], FeatureStore], tmp_path: Path
) -> None:
    """SIGKILL in the middle, twice; no finished trial is run again."""
    clips, store = corpus
    out = tmp_path / "killed"
    for trials in (15, 20):
        kill_after(trials, clips, store, out)
    held = stored_trials(out)
    assert 20 <= held < 72
    begun: list[int] = []
    run_study(clips, store, out, CONFIG, report=lambda now: begun.append(now.done))
    assert begun[0] > held
    assert stored_trials(out) == 72
    same(whole, out)
    assert not list(out.glob(".tmp-*"))


def kill_after(
    trials: int, clips: list[Clip], store: FeatureStore, out: Path, *, config: StudyConfig = CONFIG
) -> None:
    """Run the study in a process that kills itself after so many trials."""
    out.parent.mkdir(exist_ok=True)
    source = out.parent / f"{out.name}-{trials}.pickle"
    source.write_bytes(pickle.dumps((clips, store, out, config, halving.LEAST_TRIALS)))
    done = fork_server().start([source, trials], ROOT, script=KILLED_STUDY).finish()
    assert done.returncode == -signal.SIGKILL, done.stderr


def stored_trials(out: Path) -> int:
    return sum(study.n_trials for study in optuna.get_all_study_summaries(f"sqlite:///{out / 'search.db'}"))


def test_a_finished_run_is_not_changed(whole: Path, corpus: tuple[list[Clip], FeatureStore]) -> None:
    clips, store = corpus
    before = {path: path.stat().st_mtime_ns for path in whole.rglob("*") if path.is_file()}
    run_study(clips, store, whole, replace(CONFIG, jobs=2))
    assert before == {path: path.stat().st_mtime_ns for path in whole.rglob("*") if path.is_file()}


def test_another_run_is_not_overwritten(whole: Path, corpus: tuple[list[Clip], FeatureStore]) -> None:
    clips, store = corpus
    with pytest.raises(InputError, match=r"holds another run \(trials 4 → 3\); choose another folder"):
        run_study(clips, store, whole, replace(CONFIG, trials=3))
    with pytest.raises(InputError, match=r"holds another run \(trials 4 → 5, seed 0 → 1\)"):
        run_study(clips, store, whole, replace(CONFIG, trials=5, seed=1))
    with pytest.raises(InputError, match="its clips, labels or speakers differ"):
        run_study(clips[:-1], store, whole, CONFIG)
    with pytest.raises(InputError, match=r"\(table None → other.csv\)"):
        run_study(clips[:-1], store, whole, CONFIG, command={"table": "other.csv"})


def test_another_run_is_named_by_its_model(
    whole: Path, corpus: tuple[list[Clip], FeatureStore], tmp_path: Path
) -> None:
    clips, store = corpus
    record = json.loads((whole / "run.json").read_text())
    (tmp_path / "run.json").write_text(json.dumps({**record, "model": "hubert-base", "fingerprint": "0"}))
    with pytest.raises(InputError, match=r"holds another run \(model hubert-base → tiny\)"):
        run_study(clips, store, tmp_path, CONFIG)


def test_more_trials_continue_a_run_as_if_it_had_begun_with_them(
    whole: Path, corpus: tuple[list[Clip], FeatureStore], tmp_path: Path
) -> None:
    clips, store = corpus
    more = replace(CONFIG, trials=6)
    direct = run_study(clips, store, tmp_path / "direct", more)
    out = tmp_path / "continued"
    shutil.copytree(whole, out)
    (out / "controls").mkdir()
    (out / "controls" / "shuffled.json").write_text("{}")  # of the system chosen after fewer trials
    kill_after(5, clips, store, out, config=more)
    trials: list[int] = []
    run_study(clips, store, out, more, report=lambda now: trials.append(now.done))
    assert trials[0] > 18 * 4  # none of the first four of each study is run again
    same(direct, out)
    assert not (out / "controls").exists()
    before = (out / "run.json").read_bytes()
    run_study(clips, store, out, more)
    assert (out / "run.json").read_bytes() == before


def test_two_processes_cannot_write_one_run(corpus: tuple[list[Clip], FeatureStore], tmp_path: Path) -> None:
    clips, store = corpus

    def report(now: Progress) -> None:
        with pytest.raises(InputError, match="another process is working on this run"):
            run_study(clips, store, tmp_path / "run", CONFIG)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_study(clips, store, tmp_path / "run", CONFIG, report=report)


def test_every_layer_and_their_mix_by_default(
    corpus: tuple[list[Clip], FeatureStore], tmp_path: Path
) -> None:
    clips, store = corpus
    config = replace(CONFIG, layers=(), heads=("svm", "majority"), trials=2)
    summary = json.loads((run_study(clips, store, tmp_path / "run", config) / "summary.json").read_text())
    assert [(entry["layer"], entry["head"]) for entry in summary["layers"]] == [
        ("0", "svm"), ("0", "majority"), ("1", "svm"), ("1", "majority"), ("mix", "svm"),
    ]  # fmt: skip


@pytest.mark.parametrize("split", ["random", "loso", "column"])
def test_other_splits_and_their_leaks(
    split: str, corpus: tuple[list[Clip], FeatureStore], tmp_path: Path
) -> None:
    clips, store = corpus
    parts = ["train", "train", "train", "train", "train", "validation", "validation", "test", "test"]
    clips = [replace(clip, split=parts[i // 8]) for i, clip in enumerate(clips)]
    config = replace(CONFIG, split=split, trials=1, heads=("svm",), layers=("1",))
    out = run_study(clips, store, tmp_path / "run", config)
    summary = json.loads((out / "summary.json").read_text())
    assert summary["selected"]["split"] == split
    assert summary["audit"]["test_clips_of_training_speakers"] == (1.0 if split == "random" else 0.0)
    assert len(summary["selected"]["folds"]) == {"random": 3, "loso": 9, "column": 1}[split]
    told = [note for note in summary["notes"] if "validation" in note]
    assert told == (
        ["the table's validation partition selects (16 clips): no --inner-folds"] if split == "column" else []
    )


def test_flaws_of_a_validation_partition_are_noted(
    corpus: tuple[list[Clip], FeatureStore], tmp_path: Path
) -> None:
    clips, store = corpus
    parts = ["train", "train", "train", "train", "train", "validation", "validation", "test", "test"]
    clips = [replace(clip, split=parts[i // 8]) for i, clip in enumerate(clips)]
    clips = [
        replace(clip, split="train") if clip.split == "validation" and clip.labels["emotion"] == "c" else clip
        for clip in clips
    ]
    config = replace(CONFIG, split="column", trials=1, heads=("svm",), layers=("1",))
    summary = json.loads((run_study(clips, store, tmp_path / "run", config) / "summary.json").read_text())
    assert any(
        "in no validation clip, and so ignored by the selection: c" in note for note in summary["notes"]
    )
    assert any("it selects on known ones" in note for note in summary["notes"])


def test_excluded_clips_are_counted_and_named(
    corpus: tuple[list[Clip], FeatureStore], tmp_path: Path
) -> None:
    clips, store = corpus
    config = replace(CONFIG, trials=1, heads=("majority",), layers=("1",))
    out = run_study(clips, store, tmp_path / "run", config, excluded={clips[0].id: "broken"})
    data = json.loads((out / "summary.json").read_text())["data"]
    assert data["clips"] == len(clips) - 1
    assert data["excluded"] == {"count": 1, "reasons": {"broken": 1}, "clips": {clips[0].id: "broken"}}
    assert clips[0].id not in (out / "predictions.csv").read_text()


def test_approximated_kernels_are_noted(
    corpus: tuple[list[Clip], FeatureStore], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clips, store = corpus
    config = replace(CONFIG, trials=1, heads=("svm",), layers=("1",), memory=70_000)
    whole = json.loads((run_study(clips, store, tmp_path / "few", config) / "summary.json").read_text())
    assert whole["notes"] == []  # so few clips that there is nothing to save
    for module in (sharing, summary_of):
        monkeypatch.setattr(module, "LANDMARKS", 30)
    summary = json.loads((run_study(clips, store, tmp_path / "run", config) / "summary.json").read_text())
    assert "approximated on 30 training clips (Nyström)" in summary["notes"][0]
    assert "with 48 training clips they need 82.9 kB, and --memory is 70 kB" in summary["notes"][0]
    with pytest.raises(InputError, match=r"kernels are approximated, and now they would be exact.*70000"):
        run_study(clips, store, tmp_path / "run", replace(config, memory=1 << 30))


def test_a_search_that_ran_out_of_time_is_noted(
    corpus: tuple[list[Clip], FeatureStore], tmp_path: Path
) -> None:
    clips, store = corpus
    config = replace(CONFIG, trials=9, heads=("majority",), layers=("1",), timeout=1e-6)
    summary = json.loads((run_study(clips, store, tmp_path / "run", config) / "summary.json").read_text())
    assert summary["notes"] == ["--timeout cut the search short: 3 of 9 trials were run"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"layers": ("7",)}, "--layers 7; choose from 0, 1, mix"),
        (
            {"heads": ("tree",)},
            "--heads tree; choose from logreg, svm, xgboost, ridge",
        ),
        ({"stats": ("max",)}, "--stats max; choose from mean, std"),
        ({"layers": ("mix",), "heads": ("logreg",)}, "add svm, weights to the heads"),
        (
            {"layers": ("1", "mix"), "heads": ("svm",)},
            "layer 'mix' is a sum of several layers, and there is one, 1; name more",
        ),
        ({"folds": 10}, "--folds 10, but there are 9 speakers"),
        ({"storage": "nonsense"}, "cannot open the Optuna storage"),
    ],
)
def test_names_that_do_not_exist_are_reported_in_one_line(
    changes: dict, message: str, corpus: tuple[list[Clip], FeatureStore], tmp_path: Path
) -> None:
    clips, store = corpus
    with pytest.raises(InputError, match=message) as told:
        run_study(clips, store, tmp_path / "run", replace(CONFIG, **changes))
    assert "\n" not in str(told.value)


def test_a_layer_of_constant_states_is_named(
    corpus: tuple[list[Clip], FeatureStore], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clips, store = corpus
    held = FeatureStore.layer

    def flat(self: FeatureStore, name: str, *rest: Any, **more: Any) -> np.ndarray:
        return held(self, name, *rest, **more) * (name != "1")

    monkeypatch.setattr(FeatureStore, "layer", flat)
    with pytest.raises(
        InputError, match=r"layer 1, outer fold 0: every training clip has the same.*--layers"
    ):
        run_study(clips, store, tmp_path / "run", replace(CONFIG, heads=("svm",)))


def test_scaling_by_speaker_needs_speakers(corpus: tuple[list[Clip], FeatureStore], tmp_path: Path) -> None:
    clips, store = corpus
    nameless = [replace(clip, speaker=None) for clip in clips]
    config = replace(CONFIG, split="random", scalings=("standard", "speaker"))
    with pytest.raises(InputError, match="no speakers to scale by; omit 'speaker' from --scalings"):
        run_study(nameless, store, tmp_path / "run", config)
    assert not (tmp_path / "run").exists()


def test_the_folds_and_description_of_a_protocol(
    corpus: tuple[list[Clip], FeatureStore], tmp_path: Path
) -> None:
    clips, store = corpus
    config = replace(CONFIG, protocol="ksu-speaker-5", trials=1, heads=("svm",), layers=("1",))
    out = run_study(clips, store, tmp_path / "run", config, excluded={clips[0].id: "broken"})
    folds = json.loads((out / "splits.json").read_text())["folds"]
    # The rule is asked about the whole table; a clip that cannot be used is dropped from its answer.
    for told, (train, test) in zip(folds, protocol_folds("ksu-speaker-5", clips), strict=True):
        assert set(told["test"]) == set(test) - {clips[0].id}
        assert set(told["train"]) == set(train) - {clips[0].id}
        for inner in told["inner"]:
            voices = {id.split("-")[0] for id in inner["test"]}
            assert not voices & {id.split("-")[0] for id in set(told["train"]) - set(inner["test"])}
    summary = json.loads((out / "summary.json").read_text())
    assert summary["selected"]["split"] == "ksu-speaker-5"
    assert summary["protocol"]["leaks"] == "the sentences: all speakers read the same ones"
    assert summary["protocol"]["deviations"] == ["9 speakers in the table, 23 in KSUEmotions as published"]
    assert summary["audit"]["test_clips_of_training_speakers"] == 0


def test_a_random_protocol_is_one_fold_and_leaks(
    corpus: tuple[list[Clip], FeatureStore], tmp_path: Path
) -> None:
    clips, store = corpus
    config = replace(CONFIG, protocol="baved-random-2021", trials=1, heads=("svm",), layers=("1",))
    summary = json.loads((run_study(clips, store, tmp_path / "run", config) / "summary.json").read_text())
    assert len(summary["selected"]["folds"]) == 1
    assert not summary["protocol"]["speaker_disjoint"]
    assert summary["audit"]["test_clips_of_training_speakers"] == 1


def test_near_best_lists_the_best_and_all_within_noise_of_it(whole: Path) -> None:
    summary = json.loads((whole / "summary.json").read_text())
    best = max(summary["layers"], key=lambda entry: entry["uar"]["value"])
    assert {"layer": best["layer"], "head": best["head"]} in summary["near_best"]
    ranked = {entry.system for entry in rank(whole) if entry.within_noise}
    assert {f"{near['layer']}/{near['head']}" for near in summary["near_best"]} == ranked
