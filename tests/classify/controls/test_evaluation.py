"""Controls find what is planted and nothing else; an interrupted evaluation repeats no step."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import layerprobe.classify.controls.checkpoint
from layerprobe.cache.common.errors import InputError
from layerprobe.cache.store.feature_store import FeatureStore
from layerprobe.classify.config import EvaluationConfig, StudyConfig
from layerprobe.classify.controls.baselines import run_baseline
from layerprobe.classify.controls.evaluation import evaluate_run
from layerprobe.classify.search.plan import make_plan
from layerprobe.classify.search.study import run_study
from layerprobe.embed.manifest.clips import Clip
from tests.figures import FEW
from tests.studies import made_clips, made_store

pytestmark = pytest.mark.slow

CONFIG = StudyConfig(folds=3, inner_folds=2, trials=2, jobs=1, heads=("logreg", "svm"), layers=("0", "1"))
FULL = EvaluationConfig(audit=False, controls="full")
CHEAP = EvaluationConfig(audit=False, controls="cheap")


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> list[Clip]:
    """Nine speakers, and three words that are independent of the label."""
    generated = made_clips(tmp_path_factory.mktemp("corpus"), each=9)
    return [
        replace(clip, labels={**clip.labels, "word": "xyz"[number // 3 % 3], "gender": "fm"[number // 9 % 2]})
        for number, clip in enumerate(generated)
    ]


@pytest.fixture(scope="module")
def strong(clips: list[Clip], tmp_path_factory: pytest.TempPathFactory) -> tuple[FeatureStore, Path]:
    """States that encode the label, and a finished run on them."""
    folder = tmp_path_factory.mktemp("strong")
    store = made_store(folder / "cache", clips, signal=3.0)
    return store, run_study(clips, store, folder / "run", CONFIG)


@pytest.fixture(scope="module")
def complete(clips: list[Clip], strong: tuple[FeatureStore, Path], tmp_path_factory: Any) -> Path:
    """The run with all controls, and the same study on states that encode nothing as a baseline."""
    store, run = strong
    folder = tmp_path_factory.mktemp("complete")
    out = shutil.copytree(run, folder / "run")
    noise = made_store(folder / "noise", clips, signal=0.0, seed=5)
    plan = make_plan(clips, store, CONFIG)
    (out / "controls").mkdir()
    run_baseline(out / "controls" / "random", plan, clips, noise, command={})
    evaluate_run(out, plan, clips, FULL)
    return out


@pytest.mark.parametrize(
    ("content", "message"),
    [("{}", "is damaged: it holds no 'controls'"), ("{", "is not JSON"), ("[]", "is not a JSON object")],
)
def test_a_damaged_summary_is_an_error(
    clips: list[Clip], strong: tuple[FeatureStore, Path], tmp_path: Path, content: str, message: str
) -> None:
    store, run = strong
    out = shutil.copytree(run, tmp_path / "run")
    (out / "summary.json").write_text(content)
    with pytest.raises(InputError, match=rf"summary.json: {message}.*; restore an intact copy"):
        evaluate_run(out, make_plan(clips, store, CONFIG), clips, CHEAP)


def controls(run: Path) -> dict[str, Any]:
    summary: dict[str, Any] = json.loads((run / "summary.json").read_text())["controls"]
    return summary


def test_shuffled_labels_score_at_chance_and_selectivity_is_the_difference(complete: Path) -> None:
    shuffled = controls(complete)["shuffled"]
    assert shuffled["uar"]["value"] == pytest.approx(1 / 3, abs=0.08)
    assert len(shuffled["uar"]["scores"]) == shuffled["shuffles"]
    assert shuffled["selectivity"]["low"] > 0.3
    assert shuffled["p"] == pytest.approx(1 / 11)
    assert (shuffled["within"], shuffled["movable"]) == ("speaker", 1.0)
    selected = json.loads((complete / "summary.json").read_text())["selected"]["uar"]["value"]
    assert shuffled["selectivity"]["value"] == pytest.approx(selected - shuffled["uar"]["value"])


def test_a_baseline_is_a_run_folder_with_a_paired_difference(complete: Path) -> None:
    (random,) = controls(complete)["runs"]
    assert random["run"] == "controls/random"
    assert random["uar"]["low"] < 0.45
    assert random["selected_minus_it"]["low"] > 0.2
    summary = json.loads((complete / "controls" / "random" / "summary.json").read_text())
    assert random["uar"]["value"] == pytest.approx(summary["selected"]["uar"]["value"])
    splits = [(run / "splits.json").read_bytes() for run in (complete, complete / "controls" / "random")]
    assert splits[0] == splits[1]


def test_the_learning_curve_has_fewer_speakers_at_each_point(complete: Path) -> None:
    curve = controls(complete)["learning_curve"]
    assert curve["of"] == "speakers"
    points = curve["points"]
    assert [point["share"] for point in points] == [0.2, 0.35, 0.5, 0.75, 1.0]
    assert [point["speakers"] for point in points] == [1, 2, 3, 4, 6]
    selected = json.loads((complete / "summary.json").read_text())["selected"]["uar"]["value"]
    assert points[-1]["uar"] == {"value": pytest.approx(selected), "sd": None}
    assert points[0]["uar"]["value"] < selected


def test_figures_are_drawn_and_finished_steps_are_deleted(complete: Path) -> None:
    assert {f"{name}.svg" for name in ("controls", "learning_curve", "layers")} <= {
        path.name for path in (complete / "figures").iterdir()
    }
    assert not (complete / "controls" / "parts").exists()


def test_probes_find_an_encoded_speaker_and_no_label(clips: list[Clip], tmp_path: Path) -> None:
    """The states encode the speaker and not the label, and the controls show it."""
    store = made_store(tmp_path / "cache", clips, signal=0.0, width=24)
    out = run_study(clips, store, tmp_path / "run", CONFIG)
    evaluate_run(out, make_plan(clips, store, CONFIG), clips, CHEAP)
    probes = {probe["target"]: probe for probe in controls(out)["probes"]["targets"]}
    assert list(probes) == ["emotion", "speaker", "gender", "word"]
    for layer in probes["speaker"]["layers"]:
        assert layer["uar"]["low"] > 2 / 9
    assert probes["speaker"]["within_speakers"]
    for name in ("emotion", "word"):
        for layer in probes[name]["layers"]:
            assert layer["uar"]["low"] < 1 / 3 + 0.05
    assert controls(out)["probes"]["left_out"] == {"duration": "it is always 'up to 1.00 s'"}
    assert controls(out)["shuffled"]["selectivity"]["low"] < 0.05


def interrupted(after: int, monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Ctrl-C after this number of saved files; returns a function that ends it."""
    write, left = layerprobe.classify.controls.checkpoint.write_json, [after]

    def stop(path: Path, value: Any) -> None:
        if left[0] == 0:
            raise KeyboardInterrupt
        left[0] -= 1
        write(path, value)

    monkeypatch.setattr(layerprobe.classify.controls.checkpoint, "write_json", stop)
    return lambda: monkeypatch.setattr(layerprobe.classify.controls.checkpoint, "write_json", write)


def test_an_interrupted_evaluation_resumes_and_ends_with_the_same_files(
    clips: list[Clip],
    strong: tuple[FeatureStore, Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    store, run = strong
    plan = make_plan(clips, store, CONFIG)
    unbroken = shutil.copytree(run, tmp_path / "unbroken")
    evaluate_run(unbroken, with_jobs(plan, 2), clips, CHEAP)
    broken = shutil.copytree(run, tmp_path / "broken")
    restore = interrupted(
        5, monkeypatch
    )  # three folds of shuffled labels, their result, one layer of the probes
    with pytest.raises(KeyboardInterrupt):
        evaluate_run(broken, plan, clips, CHEAP)
    restore()
    assert (broken / "summary.json").read_bytes() == (run / "summary.json").read_bytes()
    saved = {path.name: path.stat().st_mtime_ns for path in (broken / "controls").rglob("*.json")}
    assert len(saved) == 5
    evaluate_run(broken, plan, clips, CHEAP)
    for name in ("summary.json", "figures/controls.svg"):
        assert (broken / name).read_bytes() == (unbroken / name).read_bytes()
    assert (broken / "controls" / "shuffled.json").stat().st_mtime_ns == saved["shuffled.json"]


def with_jobs(plan: Any, jobs: int) -> Any:
    return replace(plan, config=replace(plan.config, jobs=jobs))


def test_no_audit_and_no_controls_change_nothing(
    clips: list[Clip], strong: tuple[FeatureStore, Path], tmp_path: Path
) -> None:
    store, run = strong
    out = shutil.copytree(run, tmp_path / "run")
    evaluate_run(out, make_plan(clips, store, CONFIG), clips, EvaluationConfig(audit=False, controls="none"))
    assert (out / "summary.json").read_bytes() == (run / "summary.json").read_bytes()
    assert not (out / "controls").exists()


def test_files_of_an_earlier_version_get_their_current_names(
    clips: list[Clip], complete: Path, strong: tuple[FeatureStore, Path], tmp_path: Path
) -> None:
    """Earlier versions called the learning curve `economy`, and the message of a finding `told`."""
    old = shutil.copytree(complete, tmp_path / "run")
    for folder, kinds in (("controls", ["json"]), ("figures", FEW)):
        for kind in kinds:
            (old / folder / f"learning_curve.{kind}").rename(old / folder / f"economy.{kind}")
    summary = json.loads((old / "summary.json").read_text())
    summary["controls"]["economy"] = summary["controls"].pop("learning_curve")
    (old / "summary.json").write_text(json.dumps(summary))
    finding = {"item": "folders", "verdict": "look", "told": "1 clip lies in a folder"}
    report = {"verdict": "look", "findings": [finding], "unchecked": []}
    (old / "audit.json").write_text(json.dumps(report))
    before = (old / "controls" / "economy.json").stat().st_mtime_ns
    evaluate_run(old, make_plan(clips, strong[0], CONFIG), clips, EvaluationConfig(controls="full"))
    assert (old / "controls" / "learning_curve.json").stat().st_mtime_ns == before
    assert not list(old.rglob("economy*"))
    summary = json.loads((old / "summary.json").read_text())
    assert summary["controls"] == controls(complete)
    assert summary["audit"]["findings"] == [
        {"item": "folders", "verdict": "look", "message": "1 clip lies in a folder"}
    ]
