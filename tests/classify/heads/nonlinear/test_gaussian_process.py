"""The head `gp` against Laplace's approximation by hand, and its limit."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file
from scipy.integrate import quad
from scipy.special import expit, softmax
from scipy.stats import norm
from sklearn.preprocessing import StandardScaler

from layerprobe.cache.common.errors import InputError
from layerprobe.classify.config import StudyConfig
from layerprobe.classify.data.splits import Fold
from layerprobe.classify.features.fold_features import Preprocessing
from layerprobe.classify.features.lru_cache import LruCache
from layerprobe.classify.heads.fitted import TrainingRows
from layerprobe.classify.heads.nonlinear.gaussian_process import GP
from layerprobe.classify.heads.nonlinear.laplace import Laplace
from layerprobe.classify.heads.registry import KINDS
from layerprobe.classify.predict.bundle import load_bundle
from layerprobe.classify.predict.make import make_bundle
from layerprobe.classify.search.ensemble.members import Member, member_scores
from layerprobe.classify.search.plan import fold_features, layer_states, make_plan
from layerprobe.classify.search.study import run_study
from tests.studies import made_clips, made_features, made_store

PARAMS = {"gamma": 0.4, "variance": 8.0}


def laplace(train: np.ndarray, y: np.ndarray, test: np.ndarray) -> np.ndarray:
    """P(class 1) as in Rasmussen & Williams 2006: the mode by Newton steps, then an integral each."""
    gamma = PARAMS["gamma"] / np.square(train).sum(1).mean()

    def kernel(A: np.ndarray, B: np.ndarray) -> np.ndarray:
        return PARAMS["variance"] * np.exp(-gamma * np.square(A[:, None] - B[None]).sum(-1))

    K, f = kernel(train, train), np.zeros(len(y))
    for _ in range(50):
        p = expit(f)
        W = p * (1 - p)
        f = K @ np.linalg.solve(np.eye(len(y)) + W[:, None] * K, W * f + y - p)
    p = expit(f)
    W = p * (1 - p)
    across = kernel(test, train)
    mean = across @ (y - p)
    inner = np.linalg.solve(K + np.diag(1 / W), across.T)
    deviation = np.sqrt(PARAMS["variance"] - np.einsum("ij,ji->i", across, inner))
    return np.array(
        [
            quad(lambda z, m=m, s=s: expit(z) * norm.pdf(z, m, s), m - 8 * s, m + 8 * s)[0]
            for m, s in zip(mean, deviation, strict=True)
        ]
    )


def test_two_classes_are_laplaces_approximation() -> None:
    features, X, _ = made_features(rows=90, width=4, classes=2)
    (scores,) = GP.fit(features, Preprocessing("mean+std", "standard"), PARAMS, [1.0], 0)
    scaler = StandardScaler().fit(X[features.train])
    train, test = scaler.transform(X[features.train]), scaler.transform(X[features.test])
    expected = laplace(train, features.y, test)
    np.testing.assert_allclose(softmax(scores, 1)[:, 1], expected, atol=0.01)


def test_several_classes_are_learnt() -> None:
    features, _, y = made_features(rows=150, width=6, signal=1.5)
    (scores,) = GP.fit(features, Preprocessing("mean+std", "l2"), PARAMS, [1.0], 0)
    assert scores.shape == (50, 3)
    np.testing.assert_allclose(np.exp(scores).sum(1), 1)
    assert (scores.argmax(1) == y[features.test]).mean() > 0.7


@pytest.mark.parametrize("classes", [2, 3])
def test_a_saved_process_scores_as_scikit_learn(classes: int, tmp_path: Path) -> None:
    features, _, _ = made_features(rows=120, width=5, classes=classes)
    prep = Preprocessing("mean+std", "standard")
    (expected,) = GP.fit(features, prep, PARAMS, [1.0], 0)
    train, test = features.inputs(prep)
    assert GP.refit is not None
    fitted = GP.refit(TrainingRows(Z=train, y=features.y, classes=classes), PARAMS, 1.0, 0)
    assert isinstance(fitted, Laplace)
    np.testing.assert_allclose(np.exp(fitted.scores(test)), np.exp(expected), atol=1e-6)
    loaded = KINDS["laplace"].load(tmp_path, fitted.save(tmp_path))
    assert set(load_file(tmp_path / "head.safetensors")) == {"anchors", "slopes", "roots"}
    np.testing.assert_allclose(np.exp(loaded.scores(test)), np.exp(expected), atol=1e-6)


def test_a_study_has_a_bundle_and_too_many_clips_are_refused_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clips = made_clips(tmp_path / "corpus")
    store = made_store(tmp_path / "cache", clips)
    config = StudyConfig(heads=("gp",), layers=("1",), folds=3, inner_folds=2, trials=1, jobs=1)
    run = run_study(clips, store, tmp_path / "run", config)
    bundle, plan = load_bundle(make_bundle(run, clips, store, config)), make_plan(clips, store, config)
    found = [one.probabilities for one in bundle.predict_clips(clips, cache=store.cache)]
    member = Member(layer="1", head="gp", params=bundle.content["params"])
    everything, cache = np.arange(len(clips)), LruCache(1 << 30)
    fold = fold_features(
        plan,
        layer_states(plan, ("1",), cache=cache),
        Fold(everything, everything),
        cache=cache,
        head="gp",
    )
    scores = member_scores(fold, member, task="classification", seed=0)
    expected = softmax(scores / bundle.content["system"]["temperature"], axis=1)
    np.testing.assert_allclose(found, expected, atol=1e-5)
    monkeypatch.setattr(type(plan), "largest", 2001)
    with pytest.raises(
        InputError, match=r"gp takes at most 2,000 training clips, and an outer fold has 2,001; omit gp"
    ):
        plan.studies()
