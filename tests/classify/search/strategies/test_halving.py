from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from layerprobe.classify.config import StudyConfig
from layerprobe.classify.data.dataset import join_labels
from layerprobe.classify.data.splits import outer_folds
from layerprobe.classify.scores.results import StudyId
from layerprobe.classify.search.plan import Plan
from layerprobe.classify.search.strategies.halving import (
    best_layers,
    first_trials,
    further_layers,
    further_trials,
    total_trials,
)
from tests.studies import made_clips, made_store

LAYERS = tuple(map(str, range(10)))


@pytest.fixture(scope="module")
def plan(tmp_path_factory: pytest.TempPathFactory) -> Plan:
    """Ten layers and their mix, two heads, two folds."""
    folder = tmp_path_factory.mktemp("halving")
    clips = made_clips(folder / "corpus", speakers=6, each=4)
    store = made_store(folder / "cache", clips, layers=LAYERS)
    data = join_labels(clips, store, target="emotion")
    folds = outer_folds(data, split="speaker", folds=2, inner_folds=2, seed=0)
    config = StudyConfig(pruner="halving", trials=20, jobs=1, heads=("svm", "ridge"), folds=2, inner_folds=2)
    return Plan(store=store, data=data, folds=tuple(folds), config=config)


def changed(plan: Plan, **changes: Any) -> Plan:
    return replace(plan, config=replace(plan.config, **changes))


@pytest.mark.parametrize(
    ("layers", "best"), [(1, 1), (2, 2), (3, 3), (4, 3), (9, 3), (10, 4), (13, 5), (25, 9)]
)
def test_a_third_of_the_layers_but_at_least_three_go_on(layers: int, best: int) -> None:
    assert further_layers(layers) == best


def test_the_best_layers_are_those_of_each_fold_and_head() -> None:
    scores = {
        StudyId(fold, str(layer), head): score
        for fold, head, values in (
            (0, "svm", (0.1, 0.5, 0.2, 0.4, 0.3)),
            (0, "ridge", (0.5, 0.5, 0.5, 0.5, 0.5)),
            (1, "svm", (0.9, 0.8, 0.7, 0.6, 0.5)),
        )
        for layer, score in enumerate(values)
    }
    assert best_layers(scores) == {
        *(StudyId(0, layer, "svm") for layer in "134"),
        *(StudyId(0, layer, "ridge") for layer in "012"),
        *(StudyId(1, layer, "svm") for layer in "012"),
    }


def test_trials_are_counted_before_they_run(plan: Plan) -> None:
    plan = changed(plan, trials=33)
    assert first_trials(plan) == 11
    # svm: 10 layers and the mix, of which 4 get 22 more; ridge has 3 statistics × 2 scalings × 2 weights.
    assert further_trials(plan) == 2 * 4 * 22 + 2 * 4 * (12 - 11)
    assert total_trials(plan) == 2 * (11 * 11 + 10 * 11) + further_trials(plan)


@pytest.mark.parametrize(("trials", "first"), [(1, 1), (6, 6), (10, 10), (11, 10), (30, 10), (31, 11)])
def test_every_layer_gets_a_third_of_the_trials_but_at_least_ten(plan: Plan, trials: int, first: int) -> None:
    assert first_trials(changed(plan, trials=trials)) == first


@pytest.mark.parametrize("changes", [{"pruner": "median"}, {"pruner": "none"}, {"layers": ("0", "3", "5")}])
def test_all_layers_get_all_trials_without_halving_and_where_they_are_few(
    plan: Plan, changes: dict[str, Any]
) -> None:
    other = changed(plan, **changes)
    assert first_trials(other) == 20
    assert further_trials(other) == 0
    each = {"svm": 20, "ridge": 12}
    assert total_trials(other) == sum(each[id.head] for id in other.studies())
