"""The bundle of an ensemble, on a run whose folds select one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from layerprobe.cache.common.errors import InputError
from layerprobe.cache.store.feature_store import FeatureStore
from layerprobe.classify.config import StudyConfig
from layerprobe.classify.data.splits import Fold
from layerprobe.classify.features.lru_cache import LruCache
from layerprobe.classify.predict.bundle import load_bundle
from layerprobe.classify.predict.fitting.averaged import EnsembleSystem
from layerprobe.classify.predict.fitting.ensemble import candidates
from layerprobe.classify.predict.fitting.search import folds_of_all
from layerprobe.classify.predict.frozen import FrozenBundle
from layerprobe.classify.predict.make import make_bundle
from layerprobe.classify.predict.transformers_export import export_transformers
from layerprobe.classify.runs.run_folder import SUMMARY, read_json
from layerprobe.classify.search.ensemble.members import Member, part_scores
from layerprobe.classify.search.plan import Plan, make_plan
from layerprobe.classify.search.study import run_study
from layerprobe.classify.tasks.calibration import probabilities, temperature
from layerprobe.classify.tasks.classification import CLASSIFICATION
from layerprobe.embed.manifest.clips import Clip
from tests.studies import made_clips, made_store

CONFIG = StudyConfig(
    folds=3, inner_folds=2, trials=2, jobs=1, heads=("logreg", "knn", "gp"), layers=("0", "1"), ensemble=4
)
Made = tuple[Path, list[Clip], FeatureStore, Plan]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    folder = tmp_path_factory.mktemp("ensemble")
    clips = made_clips(folder / "corpus", speakers=6, each=8)
    store = made_store(folder / "cache", clips, signal=0.45)
    run = run_study(clips, store, folder / "run", CONFIG)
    summary = read_json(run / SUMMARY)
    summary["selected"] |= {"layer": "several", "head": "ensemble"}  # as if most folds had selected it
    (run / SUMMARY).write_text(json.dumps(summary))
    make_bundle(run, clips, store, CONFIG)
    return run, clips, store, make_plan(clips, store, CONFIG)


@pytest.fixture(scope="module")
def bundle(made: Made) -> FrozenBundle:
    loaded = load_bundle(made[0] / "bundle")
    assert isinstance(loaded, FrozenBundle)
    return loaded


def scored(plan: Plan, member: Any, parts: list[Fold]) -> np.ndarray:
    one = Member(layer=member["layer"], head=member["head"], params=member["params"])
    return np.concatenate(part_scores(plan, parts, one, cache=LruCache(1 << 30)))


def test_it_is_the_weighted_mean_of_its_members_fitted_to_all_clips(made: Made, bundle: FrozenBundle) -> None:
    _, clips, store, plan = made
    members = bundle.content["members"]
    assert len({(one["layer"], one["head"]) for one in members}) == len(members) > 1
    assert sum(one["weight"] for one in members) == pytest.approx(1)
    everything = np.arange(len(clips))
    expected = sum(
        one["weight"] * probabilities(scored(plan, one, [Fold(everything, everything)]), one["temperature"])
        for one in members
    )
    found = [one.probabilities for one in bundle.predict_clips(clips, cache=store.cache)]
    np.testing.assert_allclose(found, expected, atol=1e-5)
    alone = [bundle.predict_clips([clip], cache=store.cache)[0].probabilities for clip in clips[:3]]
    np.testing.assert_allclose(alone, expected[:3], atol=1e-5)


def test_weights_and_inner_score_are_of_predictions_for_inner_folds(made: Made, bundle: FrozenBundle) -> None:
    *_, plan = made
    inner = list(folds_of_all(plan, grouped=True))
    y, total = plan.data.y[np.concatenate([fold.test for fold in inner])], np.zeros(())
    best = 0.0
    for one in bundle.content["members"]:
        scores = scored(plan, one, inner)
        assert one["temperature"] == pytest.approx(temperature(scores, y), rel=1e-3)
        p = probabilities(scores, one["temperature"])
        total = total + one["weight"] * p
        best = max(best, CLASSIFICATION.score(y, p.argmax(1), classes=3, metric="uar"))
    reached = CLASSIFICATION.score(y, total.argmax(1), classes=3, metric="uar")
    assert bundle.content["inner_score"] == pytest.approx(reached)
    assert reached >= best


def test_members_may_read_other_statistics_and_layers(made: Made, bundle: FrozenBundle) -> None:
    """The states of a clip hold all statistics, side by side."""
    _, clips, store, _ = made
    system = bundle.system
    assert isinstance(system, EnsembleSystem)
    keys = list(make_plan(clips, store, CONFIG).data.keys[:5])
    wide = {name: store.layer(name, keys, stats=system.stats) for name in system.names}
    expected = np.zeros(())
    for weight, member in zip(system.weights, system.members, strict=True):
        own = {name: store.layer(name, keys, stats=member.stats) for name in member.names}
        expected = expected + weight * member.probabilities(own)
    np.testing.assert_allclose(np.exp(system.scores(wide)), expected, atol=1e-6)
    with pytest.raises(ValueError, match="do not fit together"):
        EnsembleSystem(members=system.members, weights=(1.0,), stats=system.stats).count_scores()


def test_candidates_are_the_members_of_outer_folds(made: Made) -> None:
    summary = read_json(made[0] / SUMMARY)
    named = {
        (one["layer"], one["head"])
        for fold in summary["selected"]["folds"]
        for one in fold.get("members", ())
    }
    assert candidates(summary) == sorted(named)
    card = (made[0] / "bundle" / "README.md").read_text()
    assert "The prediction is the weighted mean of their calibrated probabilities" in card


def test_export_names_the_best_that_transformers_can_run(bundle: FrozenBundle, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot run an ensemble of several layers and heads") as raised:
        export_transformers(bundle, tmp_path / "out")
    assert "it can run logreg on layer" in raised.value.do


def test_a_member_that_lost_a_file_is_one_line(made: Made, bundle: FrozenBundle, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be read"):
        EnsembleSystem.load(tmp_path, bundle.content["system"])
