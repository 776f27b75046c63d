"""The head `mlp`: one or two hidden layers on statistics over frames, stopped early on held-out speakers.

scikit-learn's MLPClassifier, an epoch at a time: its own early stopping holds out clips, of speakers that it
trains on, and so stops too late for new speakers.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import optuna
import sklearn

from layerprobe.classify.features.fold_features import FoldFeatures, Preprocessing
from layerprobe.classify.features.scaling import ALL_SCALINGS
from layerprobe.classify.heads.base import NO_SAMPLING, Head, Params
from layerprobe.classify.heads.fitted import FittedHead, TrainingRows
from layerprobe.classify.heads.frames.fitting import validation_mask
from layerprobe.classify.heads.solvers.network import Network
from layerprobe.classify.heads.solvers.stopping import validation_score

UNITS = [32, 64, 128]  # of each hidden layer
BATCH = 64  # clips
EPOCHS = 80
PATIENCE = 8  # epochs without a higher recall on the validation clips


def space(trial: optuna.Trial) -> Params:
    return {
        "units": trial.suggest_categorical("units", UNITS),
        "depth": trial.suggest_int("depth", 1, 2),
        "alpha": trial.suggest_float("alpha", 1e-3, 1e1, log=True),
        "rate": trial.suggest_float("rate", 3e-4, 1e-2, log=True),
        "class_weight": trial.suggest_categorical("class_weight", ["none", "balanced"]),
    }


def fit(
    features: FoldFeatures, prep: Preprocessing, params: Params, values: Sequence[float], seed: int
) -> list[np.ndarray]:
    train, test = features.inputs(prep)
    speakers = features.layers[prep.layer].speakers
    of_rows = None if speakers is None else speakers[features.train]
    weight = features.weights(params["class_weight"])
    network = _train(train, features.y, of_rows, weight, params, classes=features.classes, seed=seed)
    return [network.scores(test)]


def refit(rows: TrainingRows, params: Params, value: float, seed: int) -> FittedHead:
    """As `fit`, to score clips that are not known yet."""
    weight = rows.weights(params["class_weight"])
    return _train(rows.Z, rows.y, rows.speakers, weight, params, classes=rows.classes, seed=seed)


def _train(
    Z: np.ndarray,
    y: np.ndarray,
    speakers: np.ndarray | None,
    weight: np.ndarray,
    params: Params,
    *,
    classes: int,
    seed: int,
) -> Network:
    """The network of the epoch with the highest recall on held-out clips; among equals, the lowest loss."""
    from sklearn.neural_network import MLPClassifier  # here, as few studies need it

    held_out = validation_mask(y, speakers, seed=seed)
    X, labels, weights = Z[~held_out], y[~held_out], weight[~held_out]
    X_held_out, y_held_out = Z[held_out], y[held_out]
    model = MLPClassifier(
        hidden_layer_sizes=(params["units"],) * params["depth"],
        alpha=params["alpha"],
        learning_rate_init=params["rate"],
        batch_size=min(BATCH, len(X)),
        random_state=seed,
    )
    best, network, waited = (-np.inf, -np.inf), Network(()), 0
    for _ in range(EPOCHS):
        # Inputs are checked when stored, and parameters are ours: scikit-learn need not check either.
        with sklearn.config_context(assume_finite=True, skip_parameter_validation=True):
            model.partial_fit(X, labels, weights, classes=np.arange(classes))
        now = Network(tuple(zip(model.coefs_, model.intercepts_, strict=True)))
        reached = validation_score(now.scores(X_held_out), y_held_out, classes)
        waited = 0 if reached[0] > best[0] else waited + 1
        if reached > best:
            best, network = reached, Network(tuple((W.copy(), b.copy()) for W, b in now.layers))
        if waited == PATIENCE:
            break
    return network


def parameters(columns: int, classes: int, params: Params) -> int:
    units, depth = int(params["units"]), int(params["depth"])
    out = classes if classes > 2 else 1
    return units * (columns + 1) + (depth - 1) * units * (units + 1) + (units + 1) * out


MLP = Head(
    space=space,
    fit=fit,
    start={"units": 64, "depth": 1, "alpha": 0.1, "rate": 1e-3, "class_weight": "balanced"},
    pca=(0, 64),
    scalings=ALL_SCALINGS,
    parameters=parameters,
    refit=refit,
    samplings=NO_SAMPLING,  # new rows would lie between the clips that train and those that stop it
)
