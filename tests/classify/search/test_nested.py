from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from optuna.trial import FrozenTrial, TrialState

from layerprobe.cache.common.errors import InputError
from layerprobe.classify.config import StudyConfig
from layerprobe.classify.features.fold_features import FoldFeatures, LayerStates, Preprocessing
from layerprobe.classify.features.lru_cache import LruCache
from layerprobe.classify.heads.registry import HEADS
from layerprobe.classify.scores.results import StudyId, StudyResult
from layerprobe.classify.search.nested import TrialDone, mix_weights, search, split_params
from tests.studies import made_features

CONFIG = StudyConfig(trials=8, jobs=1)


def folds(
    *, X: np.ndarray | None = None, layers: int = 1, width: int = 6, signal: float = 0.8
) -> tuple[list[FoldFeatures], FoldFeatures, np.ndarray]:
    """Two inner folds of the training part, the outer fold, and all classes."""
    whole, made, y = made_features(rows=150, width=width, signal=signal)
    held = made if X is None else X
    states = LayerStates(lambda: held, ("mean", "std"), width, np.arange(150) % 8)
    halves = np.array_split(whole.train, 2)

    def share(train: np.ndarray, test: np.ndarray) -> FoldFeatures:
        return FoldFeatures((states,) * layers, y, train=train, test=test, classes=3, cache=LruCache(1 << 28))

    inner = [share(halves[0], halves[1]), share(halves[1], halves[0])]
    return inner, share(whole.train, whole.test), y


def run(
    head: str = "svm", config: StudyConfig = CONFIG, done: list[FrozenTrial] | None = None, **made: Any
) -> tuple[list[FrozenTrial], StudyResult]:
    *trials, outcome = search(StudyId(0, "1", head), *folds(**made), config, done=done or [])
    assert isinstance(outcome, StudyResult)
    return [trial.trial for trial in trials if isinstance(trial, TrialDone)], outcome


def same(one: StudyResult, two: StudyResult) -> None:
    assert (one.params, one.inner_score, one.trials, one.pruned) == (
        two.params,
        two.inner_score,
        two.trials,
        two.pruned,
    )
    np.testing.assert_array_equal(one.predicted, two.predicted)
    np.testing.assert_array_equal(one.probability, two.probability)


@pytest.mark.parametrize("head", [name for name, head in HEADS.items() if head.reads != "frames"])
def test_the_best_trial_is_fitted_on_the_training_part_and_predicts_the_test_part(head: str) -> None:
    trials, outcome = run(head)
    finite = {"majority": 3}  # as many as there are choices of statistics
    assert len(trials) == outcome.trials == finite.get(head, 8)
    scores = [trial.value for trial in trials if trial.state == TrialState.COMPLETE]
    assert outcome.inner_score == max(score for score in scores if score is not None)
    assert outcome.predicted.shape == (50,)
    np.testing.assert_allclose(outcome.probability.sum(1), 1)
    np.testing.assert_array_equal(outcome.probability.argmax(1), outcome.predicted)
    path, _ = HEADS[head].path
    assert (path in outcome.params) == bool(path)


@pytest.mark.parametrize("sampler", ["tpe", "random"])
@pytest.mark.parametrize("head", ["svm", "logreg"])
def test_a_search_that_goes_on_ends_like_an_unbroken_one(head: str, sampler: str) -> None:
    config = replace(CONFIG, trials=14, sampler=sampler)
    trials, whole = run(head, config)
    for kept in (1, 11, 14):
        rest, resumed = run(head, config, done=trials[:kept])
        assert len(rest) == max(0, len(trials) - kept)
        assert [t.params for t in rest] == [t.params for t in trials[kept:]]
        same(whole, resumed)


def points_of(trials: list[FrozenTrial]) -> list[str]:
    return [str(sorted(trial.params.items())) for trial in trials]


@pytest.mark.parametrize("sampler", ["tpe", "random", "gp"])
@pytest.mark.parametrize("head", ["logreg", "ridge", "lda", "knn"])
def test_a_finite_space_is_walked_once(head: str, sampler: str) -> None:
    config = replace(CONFIG, trials=30, sampler=sampler, pruner="none")
    trials, outcome = run(head, config, width=70)
    assert len(set(points_of(trials))) == len(trials) == outcome.trials == 3 * 2 * 2 * 2
    fewer, _ = run(head, replace(config, trials=10), width=70)
    assert points_of(fewer) == points_of(trials)[:10]


def test_points_that_an_earlier_version_tried_twice_are_not_tried_again() -> None:
    config = replace(CONFIG, trials=30, pruner="none")
    trials, complete = run("logreg", config)
    repeated = [trials[3], trials[3], trials[0], trials[3]]
    rest, outcome = run("logreg", config, done=repeated)
    assert len(rest) == len(trials) - 2
    assert len(set(points_of([*repeated, *rest]))) == len(trials)
    assert outcome.inner_score == complete.inner_score
    none, same_again = run("logreg", config, done=trials)
    assert none == []
    same(complete, same_again)


def test_the_seed_decides_the_trials() -> None:
    trials, _ = run()
    again, _ = run()
    other, _ = run(config=replace(CONFIG, seed=1))
    assert [t.params for t in trials] == [t.params for t in again]
    assert [t.params for t in trials] != [t.params for t in other]
    assert trials[0].params == other[0].params  # the first trial is the head's own start


def test_a_statistic_that_does_not_differ_is_no_choice_but_the_others_are_learnt_from() -> None:
    _, X, _ = made_features(rows=150, width=6, signal=0.8)
    X[:, 6:] = 3.0  # the second of two
    for head in ("svm", "logreg", "xgboost"):
        trials, outcome = run(head, replace(CONFIG, trials=15, sampler="random", pruner="none"), X=X)
        alone = [trial for trial in trials if trial.params["stats"] == "std"]
        assert alone
        assert {trial.state for trial in alone} == {TrialState.PRUNED}
        assert outcome.params["stats"] != "std"
        assert outcome.inner_score > 0.4
    with pytest.raises(InputError, match="same features"):
        run("svm", X=np.ones_like(X))


def test_poor_trials_are_pruned_after_an_inner_fold_and_never_win() -> None:
    config = replace(CONFIG, trials=30)
    trials, outcome = run("xgboost", config)
    pruned = [t for t in trials if t.state == TrialState.PRUNED]
    assert outcome.pruned == len(pruned) > 0
    assert all(len(t.intermediate_values) == 1 for t in pruned)
    complete = [t.value for t in trials if t.state == TrialState.COMPLETE and t.value is not None]
    assert outcome.inner_score == max(complete)
    _, unpruned = run("xgboost", replace(config, pruner="none"))
    assert unpruned.pruned == 0


def test_of_a_path_the_better_half_goes_to_each_further_fold(monkeypatch: pytest.MonkeyPatch) -> None:
    """And the first fold is walked no further than the score rises."""
    walked: list[list[float]] = []
    logreg = HEADS["logreg"]

    def fit(features: Any, prep: Any, params: Any, values: Sequence[float], seed: int) -> Iterator[Any]:
        walked.append([])
        for value, scores in zip(values, logreg.fit(features, prep, params, values, seed), strict=True):
            walked[-1].append(value)
            yield scores

    monkeypatch.setitem(HEADS, "logreg", replace(logreg, fit=fit))
    trials, outcome = run("logreg", replace(CONFIG, trials=4, pruner="halving"))
    path = list(logreg.path[1])
    *inner, outer = walked
    begun = [values for values in inner if values[0] == path[0] and values == path[: len(values)]]
    assert len(begun) >= len(trials)
    assert all(len(values) >= 3 for values in inner[:1])
    second = inner[1]  # of the first trial, which always goes on
    assert len(second) == -(-len(inner[0]) // 2)
    assert set(second) <= set(inner[0])
    assert outer == [outcome.params["C"]]
    walked.clear()
    run("logreg", replace(CONFIG, trials=1))
    assert walked[:2] == [path, path]


def test_halving_finds_nearly_what_the_complete_search_finds() -> None:
    """Of an easy problem, on both: the same best score but for what one inner fold decides."""
    for head in ("logreg", "xgboost"):
        config = replace(CONFIG, trials=20, pruner="halving")
        halved, complete = run(head, config)[1], run(head, replace(config, pruner="none"))[1]
        assert halved.inner_score <= complete.inner_score + 1e-9 or head == "xgboost"
        assert halved.inner_score > complete.inner_score - 0.06


def test_no_score_profits_from_a_column_that_knows_the_test_labels() -> None:
    _, X, y = made_features(rows=150, width=6, signal=0.0)
    honest, leaky = X.copy(), X.copy()
    honest[:, 0] = 0
    leaky[:, 0] = np.where(np.arange(150) < 100, 0, y)  # the label, for the outer test rows only
    for head in ("logreg", "svm", "xgboost"):
        same(run(head, X=leaky)[1], run(head, X=honest)[1])


def test_time_that_is_up_still_leaves_one_trial() -> None:
    *trials, outcome = search(
        StudyId(0, "1", "svm"), *folds(), CONFIG, done=[], deadline=time.monotonic() - 1
    )
    assert len(trials) == 1
    assert isinstance(outcome, StudyResult)
    assert outcome.trials == 1


def test_what_is_searched_follows_the_states_and_the_configuration() -> None:
    trials, _ = run(config=replace(CONFIG, trials=25, scalings=("none",), pruner="none"), width=80)
    assert {t.params["stats"] for t in trials} == {"mean+std", "mean", "std"}
    assert {t.params["scaling"] for t in trials} == {"none"}
    assert {t.params["pca"] for t in trials} == {0, 64}
    trials, _ = run(width=6)
    assert {t.params["pca"] for t in trials} == {0}
    trials, _ = run("xgboost", width=81)  # too wide for trees on every column
    assert 0 not in {t.params["pca"] for t in trials}


def test_a_mix_searches_the_layers_weights() -> None:
    trials, outcome = run("svm", layers=3)
    assert all("mix_centre" in t.params and t.params["pca"] == 0 for t in trials)
    assert "mix_width" in outcome.params


def test_mix_weights_reach_from_one_layer_to_all_alike() -> None:
    np.testing.assert_allclose(mix_weights(5, centre=0.25, width=0.03), [0, 1, 0, 0, 0], atol=1e-12)
    np.testing.assert_allclose(mix_weights(5, centre=0.5, width=1e3), 0.2, atol=1e-4)
    assert sum(mix_weights(13, centre=0.8, width=0.3)) == pytest.approx(1)


def test_split_params_parts_input_from_head() -> None:
    prep, params = split_params({"stats": "mean", "scaling": "l2", "pca": 64, "C": 1.0})
    assert prep == Preprocessing("mean", "l2", 64)
    assert params == {"C": 1.0}


@pytest.mark.parametrize("metric", ["uar", "accuracy", "macro_f1"])
def test_the_metric_is_what_inner_folds_maximise(metric: Any) -> None:
    _, outcome = run(config=replace(CONFIG, metric=metric, trials=2))
    assert 0 < outcome.inner_score <= 1
