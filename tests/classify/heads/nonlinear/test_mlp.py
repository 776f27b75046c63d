"""The head `mlp` against scikit-learn's own predictions, its early stopping, and its file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy.special import softmax
from sklearn.neural_network import MLPClassifier

from layerprobe.classify.features.fitted import FittedInputs, FittedLayer
from layerprobe.classify.features.fold_features import Preprocessing
from layerprobe.classify.heads.fitted import TrainingRows
from layerprobe.classify.heads.nonlinear import mlp
from layerprobe.classify.heads.nonlinear.mlp import MLP
from layerprobe.classify.heads.registry import KINDS
from layerprobe.classify.heads.solvers.network import Network
from tests.studies import made_features

PARAMS = {"units": 16, "depth": 2, "alpha": 0.1, "rate": 5e-3, "class_weight": "balanced"}
PREP = Preprocessing("mean+std", "standard")


@pytest.mark.parametrize("classes", [2, 3])
def test_scores_are_those_of_scikit_learn(classes: int) -> None:
    features, _, _ = made_features(rows=90, classes=classes)
    train, test = features.inputs(PREP)
    model = MLPClassifier((8, 5), max_iter=5, random_state=0)
    with pytest.warns(UserWarning, match="converge"):
        model.fit(train, features.y)
    network = Network(tuple(zip(model.coefs_, model.intercepts_, strict=True)))
    np.testing.assert_allclose(softmax(network.scores(test), 1), model.predict_proba(test), atol=1e-5)


@pytest.mark.parametrize("depth", [1, 2])
def test_it_learns_and_counts_its_parameters(depth: int, monkeypatch: pytest.MonkeyPatch) -> None:
    features, _, y = made_features(rows=240, signal=1.5)
    trained: list[MLPClassifier] = []
    partial_fit = MLPClassifier.partial_fit

    def record(self: MLPClassifier, X: np.ndarray, *rest: np.ndarray, **more: np.ndarray) -> MLPClassifier:
        trained.append(self)
        speakers = set((np.arange(240) % 8)[features.train][: len(features.train)])
        rows = [np.flatnonzero((features.inputs(PREP)[0] == x).all(1))[0] for x in X]
        fitted = {int(features.train[row]) % 8 for row in rows}
        assert 0 < len(speakers - fitted) < len(speakers)  # whole speakers decide when to stop
        held = [row for row in features.train if row % 8 not in fitted]
        assert len(held) + len(X) == len(features.train)
        return partial_fit(self, X, *rest, **more)

    monkeypatch.setattr(MLPClassifier, "partial_fit", record)
    params = {**PARAMS, "depth": depth}
    (scores,) = MLP.fit(features, PREP, params, [1.0], 0)
    assert (scores.argmax(1) == y[features.test]).mean() > 0.8
    counted = sum(part.size for part in [*trained[-1].coefs_, *trained[-1].intercepts_])
    assert MLP.parameters is not None
    assert MLP.parameters(24, 3, params) == counted


def test_the_best_epoch_is_returned_and_patience_ends_training(monkeypatch: pytest.MonkeyPatch) -> None:
    features, _, _ = made_features(rows=120)
    reached = iter([(0.4, -1.0), (0.6, -0.9), (0.6, -0.8), *[(0.5, -0.1)] * 100])
    seen: list[np.ndarray] = []

    def score(scores: np.ndarray, y: np.ndarray, classes: int) -> tuple[float, float]:
        seen.append(scores)
        return next(reached)

    monkeypatch.setattr(mlp, "validation_score", score)
    monkeypatch.setattr(mlp, "PATIENCE", 3)
    network = mlp._train(features.inputs(PREP)[0], features.y, None, np.ones(80), PARAMS, classes=3, seed=0)
    assert len(seen) == 5  # the third has the same recall as the second, and two more are worse
    held = mlp.validation_mask(features.y, None, seed=0)
    np.testing.assert_array_equal(network.scores(features.inputs(PREP)[0][held]), seen[2])


@pytest.mark.parametrize("classes", [2, 3])
def test_a_refitted_head_scores_as_the_search_does(classes: int, tmp_path: Path) -> None:
    features, X, _ = made_features(rows=150, classes=classes)
    (expected,) = MLP.fit(features, PREP, PARAMS, [1.0], 0)
    inputs, Z = FittedLayer.fit("7", X[features.train], PREP, None)
    speakers = (np.arange(150) % 8)[features.train]
    rows = TrainingRows(Z=Z, y=features.y, classes=classes, landmarks=None, speakers=speakers)
    assert MLP.refit is not None
    head = MLP.refit(rows, PARAMS, 1.0, 0)
    loaded = KINDS[head.kind].load(tmp_path, head.save(tmp_path))
    scores = loaded.scores(FittedInputs((inputs,)).apply({"7": X[features.test]}))
    np.testing.assert_allclose(softmax(scores, 1), softmax(expected, 1), atol=0.02)
