from __future__ import annotations

import pickle
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from layerprobe.cache.store.feature_store import FeatureStore
from layerprobe.classify.config import StudyConfig
from layerprobe.classify.data.dataset import join_labels
from layerprobe.classify.data.splits import outer_folds
from layerprobe.classify.features import kernels as sharing
from layerprobe.classify.features.kernels import kernel_bytes
from layerprobe.classify.scores.results import StudyId, StudyResult
from layerprobe.classify.search.nested import TrialDone
from layerprobe.classify.search.plan import Plan
from layerprobe.classify.search.units import Unit, make_units, run_unit
from tests.studies import made_clips, made_store


@pytest.fixture(scope="module")
def plan(tmp_path_factory: pytest.TempPathFactory) -> Plan:
    folder = tmp_path_factory.mktemp("units")
    clips = made_clips(folder / "corpus")
    store = made_store(folder / "cache", clips, layers=("0", "1", "2"))
    data = join_labels(clips, store, target="emotion")
    folds = outer_folds(data, split="speaker", folds=3, inner_folds=2, seed=0)
    return Plan(store=store, data=data, folds=tuple(folds), config=StudyConfig(trials=2, jobs=2))


def changed(plan: Plan, **changes: Any) -> Plan:
    return replace(plan, config=replace(plan.config, **changes))


def test_every_layer_fold_and_head_is_studied_once_and_the_mix_by_kernels_only(plan: Plan) -> None:
    studies = plan.studies()
    assert len(studies) == len(set(studies)) == 3 * 3 * 3 + 3
    assert {id.head for id in studies if id.layer == "mix"} == {"svm"}
    assert studies[-3:] == [StudyId(fold, "mix", "svm") for fold in range(3)]
    some = changed(plan, layers=("mix", "1"), heads=("logreg",)).studies()
    assert some == [StudyId(fold, "1", "logreg") for fold in range(3)]


def test_a_mix_is_of_the_layers_asked_for(plan: Plan) -> None:
    assert plan.layers_of("1") == ("1",)
    assert plan.layers_of("mix") == ("0", "1", "2")
    assert changed(plan, layers=("0", "2", "mix")).layers_of("mix") == ("0", "2")
    assert changed(plan, layers=("mix",)).layers_of("mix") == ("0", "1", "2")


@pytest.mark.parametrize(("jobs", "together"), [(1, True), (3, True), (4, False)])
def test_heads_share_a_unit_unless_processes_would_idle(plan: Plan, jobs: int, together: bool) -> None:
    studies = plan.studies()
    units = make_units(plan, {id: [] for id in studies}, jobs=jobs)
    assert sorted(id for unit in units for id in unit.studies) == sorted(studies)
    assert len(units) == (12 if together else 30)
    for unit in units:
        assert len({(id.fold, id.layer) for id in unit.studies}) == 1
        assert unit.memory == plan.config.memory // jobs


def test_the_time_is_shared_between_studies(plan: Plan) -> None:
    studies = plan.studies()
    limited = changed(plan, timeout=60.0)
    units = make_units(limited, {id: [] for id in studies}, jobs=2)
    assert {unit.seconds for unit in units} == {60.0 * 2 / 30}


def test_kernels_limit_the_processes_before_they_fill_the_memory(
    plan: Plan, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert plan.largest == 48
    size = kernel_bytes(48, 24)
    assert changed(plan, jobs=8, memory=3 * size).jobs == 3
    assert changed(plan, jobs=8, memory=3 * size, heads=("logreg",)).jobs == 8
    small = changed(plan, jobs=8, memory=size - 1)
    assert small.exact  # so few clips that there is nothing to save
    assert small.jobs == 1
    monkeypatch.setattr(sharing, "LANDMARKS", 47)
    assert not small.exact
    monkeypatch.setattr(sharing, "EXACT_CLIPS", 47)
    assert not plan.exact
    assert small.jobs == 8


def test_a_unit_travels_to_another_process_and_tells_its_trials(plan: Plan) -> None:
    studies = (StudyId(1, "2", "logreg"), StudyId(1, "2", "majority"))
    unit = Unit(plan=plan, studies={id: [] for id in studies}, seconds=None, memory=1 << 28)
    messages = list(run_unit(pickle.loads(pickle.dumps(unit))))
    assert [type(message) for message in messages] == [TrialDone, TrialDone, StudyResult] * 2
    assert [message.id for message in messages] == [studies[0]] * 3 + [studies[1]] * 3
    trial = messages[0]
    assert isinstance(trial, TrialDone)
    again = list(run_unit(replace(unit, studies={studies[0]: [trial.trial]})))
    assert [type(message) for message in again] == [TrialDone, StudyResult]


def test_a_store_is_opened_by_its_folder_in_each_process(plan: Plan) -> None:
    copy = pickle.loads(pickle.dumps(plan.store))
    assert isinstance(copy, FeatureStore)
    assert copy.folder == Path(plan.store.folder)
