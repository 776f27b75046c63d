"""What is put beside a score: what is planted is found, what is not there is not, nothing is made twice."""

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
from layerprobe.classify.controls.controls import evaluate_run
from layerprobe.classify.search.plan import plan_of
from layerprobe.classify.search.study import run_study
from layerprobe.embed.manifest.clips import Clip
from tests.studies import made_clips, made_store

CONFIG = StudyConfig(folds=3, inner_folds=2, trials=2, jobs=1, heads=("logreg", "svm"), layers=("0", "1"))
FULL = EvaluationConfig(audit=False, controls="full")
CHEAP = EvaluationConfig(audit=False, controls="cheap")


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> list[Clip]:
    """Nine speakers, three words that have nothing to do with the label."""
    made = made_clips(tmp_path_factory.mktemp("corpus"), each=9)
    return [
        replace(clip, labels={**clip.labels, "word": "xyz"[number // 3 % 3], "gender": "fm"[number // 9 % 2]})
        for number, clip in enumerate(made)
    ]


@pytest.fixture(scope="module")
def strong(clips: list[Clip], tmp_path_factory: pytest.TempPathFactory) -> tuple[FeatureStore, Path]:
    """States that tell the label, and a finished run on them."""
    folder = tmp_path_factory.mktemp("strong")
    store = made_store(folder / "cache", clips, signal=3.0)
    return store, run_study(clips, store, folder / "run", CONFIG)


@pytest.fixture(scope="module")
def whole(clips: list[Clip], strong: tuple[FeatureStore, Path], tmp_path_factory: Any) -> Path:
    """The run with all controls; beside it the same study on states that tell nothing."""
    store, run = strong
    folder = tmp_path_factory.mktemp("whole")
    out = shutil.copytree(run, folder / "run")
    noise = made_store(folder / "noise", clips, signal=0.0, seed=5)
    plan = plan_of(clips, store, CONFIG)
    (out / "controls").mkdir()
    run_baseline(out / "controls" / "random", plan, clips, noise, command={})
    evaluate_run(out, plan, clips, FULL)
    return out


@pytest.mark.parametrize(
    ("content", "told"),
    [("{}", "is damaged: it holds no 'controls'"), ("{", "is no JSON"), ("[]", "holds no object")],
)
def test_a_damaged_summary_is_told(
    clips: list[Clip], strong: tuple[FeatureStore, Path], tmp_path: Path, content: str, told: str
) -> None:
    store, run = strong
    out = shutil.copytree(run, tmp_path / "run")
    (out / "summary.json").write_text(content)
    with pytest.raises(InputError, match=rf"summary.json: {told}.*; copy it back"):
        evaluate_run(out, plan_of(clips, store, CONFIG), clips, CHEAP)


def controls(run: Path) -> dict[str, Any]:
    told: dict[str, Any] = json.loads((run / "summary.json").read_text())["controls"]
    return told


def test_shuffled_labels_give_chance_and_selectivity_is_what_is_left(whole: Path) -> None:
    shuffled = controls(whole)["shuffled"]
    assert shuffled["uar"]["value"] == pytest.approx(1 / 3, abs=0.08)
    assert len(shuffled["uar"]["scores"]) == shuffled["shuffles"]
    assert shuffled["selectivity"]["low"] > 0.3
    assert shuffled["p"] == pytest.approx(1 / 11)
    assert (shuffled["within"], shuffled["movable"]) == ("speaker", 1.0)
    selected = json.loads((whole / "summary.json").read_text())["selected"]["uar"]["value"]
    assert shuffled["selectivity"]["value"] == pytest.approx(selected - shuffled["uar"]["value"])


def test_the_run_beside_is_a_run_and_its_difference_is_paired(whole: Path) -> None:
    (random,) = controls(whole)["runs"]
    assert random["run"] == "controls/random"
    assert random["uar"]["low"] < 0.45
    assert random["selected_minus_it"]["low"] > 0.2
    summary = json.loads((whole / "controls" / "random" / "summary.json").read_text())
    assert random["uar"]["value"] == pytest.approx(summary["selected"]["uar"]["value"])
    splits = [(run / "splits.json").read_bytes() for run in (whole, whole / "controls" / "random")]
    assert splits[0] == splits[1]


def test_fewer_speakers_are_fewer_speakers(whole: Path) -> None:
    economy = controls(whole)["economy"]
    assert economy["of"] == "speakers"
    points = economy["points"]
    assert [point["share"] for point in points] == [0.1, 0.2, 0.35, 0.5, 0.75, 1.0]
    assert [point["speakers"] for point in points] == [1, 1, 2, 3, 4, 6]
    selected = json.loads((whole / "summary.json").read_text())["selected"]["uar"]["value"]
    assert points[-1]["uar"] == {"value": pytest.approx(selected), "sd": None}
    assert points[0]["uar"]["value"] < selected


def test_figures_are_drawn_and_parts_are_gone(whole: Path) -> None:
    assert {f"{name}.svg" for name in ("controls", "economy", "layers")} <= {
        path.name for path in (whole / "figures").iterdir()
    }
    assert not (whole / "controls" / "parts").exists()


def test_a_voice_that_is_there_and_a_label_that_is_not(clips: list[Clip], tmp_path: Path) -> None:
    """Planted: the speaker is in the states, the label is not; the controls say so."""
    store = made_store(tmp_path / "cache", clips, signal=0.0, width=24)
    out = run_study(clips, store, tmp_path / "run", CONFIG)
    evaluate_run(out, plan_of(clips, store, CONFIG), clips, CHEAP)
    found = {one["target"]: one for one in controls(out)["probes"]["targets"]}
    assert list(found) == ["emotion", "speaker", "gender", "word"]
    for layer in found["speaker"]["layers"]:
        assert layer["uar"]["low"] > 2 / 9
    assert found["speaker"]["within_speakers"]
    for name in ("emotion", "word"):
        for layer in found[name]["layers"]:
            assert layer["uar"]["low"] < 1 / 3 + 0.05
    assert controls(out)["probes"]["left_out"] == {"duration": "it is always 'up to 1.00 s'"}
    assert controls(out)["shuffled"]["selectivity"]["low"] < 0.05


def interrupted(after: int, monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Ctrl-C once so many parts are kept; returns what ends it."""
    write, left = layerprobe.classify.controls.checkpoint.write_json, [after]

    def stop(path: Path, value: Any) -> None:
        if left[0] == 0:
            raise KeyboardInterrupt
        left[0] -= 1
        write(path, value)

    monkeypatch.setattr(layerprobe.classify.controls.checkpoint, "write_json", stop)
    return lambda: monkeypatch.setattr(layerprobe.classify.controls.checkpoint, "write_json", write)


def test_cut_short_it_goes_on_with_what_it_has_and_ends_the_same(
    clips: list[Clip],
    strong: tuple[FeatureStore, Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    store, run = strong
    plan = plan_of(clips, store, CONFIG)
    unbroken = shutil.copytree(run, tmp_path / "unbroken")
    evaluate_run(unbroken, replace_jobs(plan, 2), clips, CHEAP)
    broken = shutil.copytree(run, tmp_path / "broken")
    mend = interrupted(4, monkeypatch)  # three folds of shuffled labels, and one layer of the probes
    with pytest.raises(KeyboardInterrupt):
        evaluate_run(broken, plan, clips, CHEAP)
    mend()
    assert (broken / "summary.json").read_bytes() == (run / "summary.json").read_bytes()
    kept = {path.name: path.stat().st_mtime_ns for path in (broken / "controls").rglob("*.json")}
    assert len(kept) == 5
    evaluate_run(broken, plan, clips, CHEAP)
    for name in ("summary.json", "figures/controls.svg"):
        assert (broken / name).read_bytes() == (unbroken / name).read_bytes()
    assert (broken / "controls" / "shuffled.json").stat().st_mtime_ns == kept["shuffled.json"]


def replace_jobs(plan: Any, jobs: int) -> Any:
    return replace(plan, config=replace(plan.config, jobs=jobs))


def test_none_adds_nothing(clips: list[Clip], strong: tuple[FeatureStore, Path], tmp_path: Path) -> None:
    store, run = strong
    out = shutil.copytree(run, tmp_path / "run")
    evaluate_run(out, plan_of(clips, store, CONFIG), clips, EvaluationConfig(audit=False, controls="none"))
    assert (out / "summary.json").read_bytes() == (run / "summary.json").read_bytes()
    assert not (out / "controls").exists()
