"""Few-shot curves: which clips are trained on and tested, and what more of them bring."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from layerprobe.classify.config import StudyConfig
from layerprobe.classify.controls import few_shot as control
from layerprobe.classify.controls.few_shot import few_shot, first_of_groups
from layerprobe.classify.controls.figures import draw_few_shot
from layerprobe.classify.controls.refit import SelectedFold, selected_folds
from layerprobe.classify.data.splits import Fold
from layerprobe.classify.report.figures.system_charts import few_shot as chart_of
from layerprobe.classify.report.run_data import read_run
from layerprobe.classify.search.plan import Plan, make_plan
from layerprobe.classify.search.study import run_study
from tests.studies import made_clips, made_store

CONFIG = StudyConfig(folds=3, inner_folds=2, trials=1, jobs=1, heads=("logreg",), layers=("1",))
Made = tuple[Plan, Path, list[SelectedFold]]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    """Nine speakers with six clips of each of three classes; each speaker has an offset."""
    folder = tmp_path_factory.mktemp("few")
    clips = made_clips(folder / "corpus", each=18)
    store = made_store(folder / "cache", clips, signal=1.2)
    run = run_study(clips, store, folder / "run", CONFIG)
    return (
        make_plan(clips, store, CONFIG),
        run,
        selected_folds(json.loads((run / "summary.json").read_text())),
    )


def test_the_first_of_each_group_are_taken() -> None:
    rows, group = np.array([9, 4, 7, 1, 3]), np.array([0, 1, 0, 0, 1])
    np.testing.assert_array_equal(first_of_groups(rows, group, 2), [3, 4, 7, 9])
    assert len(first_of_groups(rows, group, 0)) == 0


def test_training_and_test_clips_are_as_documented(
    made: Made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan, run, selected = made
    seen: list[tuple[tuple[str, int, int], Fold, int]] = []

    def record(plan: Plan, selected: SelectedFold, fold: Fold, **more: object) -> np.ndarray:
        seen.append((more["section"], fold, selected.fold))  # type: ignore[arg-type]
        return plan.data.y[fold.test]

    monkeypatch.setattr(control, "refit", record)
    found = few_shot(shutil.copytree(run, tmp_path / "run"), plan, selected)
    y, speakers = plan.data.y, plan.data.speakers
    assert speakers is not None
    tested: dict[tuple[int, int], set[int]] = {}
    for (kind, draw, shots), part, number in seen:
        outer = plan.folds[number].outer
        assert not set(part.train) & set(part.test)
        if kind == "clips":
            np.testing.assert_array_equal(part.test, outer.test)
            assert set(part.train) <= set(outer.train)
            np.testing.assert_array_equal(np.bincount(y[part.train]), [shots] * 3)
            continue
        assert set(outer.train) <= set(part.train)
        added = np.setdiff1d(part.train, outer.train)
        assert set(added) <= set(outer.test)
        for speaker in np.unique(speakers[outer.test]):
            own = added[speakers[added] == speaker]
            np.testing.assert_array_equal(np.bincount(y[own], minlength=3), [shots] * 3)
        before = tested.setdefault((number, draw), set(part.test))
        assert before == set(part.test)  # the same for every number
    assert [point["shots"] for point in found["clips"]] == [2, 4, 8, 16, 32]
    assert [point["clips"] for point in found["clips"]] == [6, 12, 24, 48, 96]
    assert [point["shots"] for point in found["own_clips"]] == [0, 1, 2, 4]
    assert all(point["uar"] == {"value": 1.0, "sd": 0.0} for point in found["clips"])


def test_more_clips_help_and_report_and_figure_show_it(made: Made, tmp_path: Path) -> None:
    plan, run, selected = made
    found = few_shot(shutil.copytree(run, tmp_path / "run"), plan, selected)
    values = [point["uar"]["value"] for point in found["clips"]]
    assert values[-1] > values[0] + 0.05
    summary = json.loads((run / "summary.json").read_text())
    summary["controls"]["few_shot"] = found
    draw_few_shot(summary, tmp_path)
    assert (tmp_path / "few_shot.svg").stat().st_size
    data = replace(read_run(run), summary=summary)
    chart = chart_of(data)
    assert chart is not None
    assert chart.name == "few_shot"


def test_a_number_that_a_class_does_not_have_is_left_out(
    made: Made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan, run, selected = made
    monkeypatch.setattr(control, "SHOTS", (2, 1000))
    nameless = replace(plan, data=replace(plan.data, speakers=None))
    found = few_shot(shutil.copytree(run, tmp_path / "run"), nameless, selected)
    assert [point["shots"] for point in found["clips"]] == [2]
    assert found["own_clips"] is None
