"""The head `weights` against scikit-learn, in a study, and in a bundle."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.special import softmax
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss
from sklearn.preprocessing import StandardScaler

from layerprobe.cache.common.errors import InputError
from layerprobe.classify.config import StudyConfig
from layerprobe.classify.controls.console import print_layer_weights
from layerprobe.classify.features.fitted import FittedInputs, FittedLayer
from layerprobe.classify.features.fold_features import FoldFeatures, LayerStates, Preprocessing
from layerprobe.classify.features.lru_cache import LruCache
from layerprobe.classify.heads import weights
from layerprobe.classify.heads.fitted import TrainingRows
from layerprobe.classify.heads.registry import KINDS
from layerprobe.classify.heads.weights import WEIGHTS
from layerprobe.classify.predict.bundle import load_bundle
from layerprobe.classify.predict.frozen import FrozenBundle
from layerprobe.classify.predict.make import make_bundle_of
from layerprobe.classify.predict.transformers_export import obstacle
from layerprobe.classify.report.figures.layer_charts import layer_weights
from layerprobe.classify.report.run_data import read_run
from layerprobe.classify.report.run_tables import run_tables
from layerprobe.classify.runs.run_folder import SUMMARY, read_json
from layerprobe.classify.search.plan import make_plan
from layerprobe.classify.search.study import run_study
from tests.bundles import assert_alike_from_cache_and_sound, make_run
from tests.studies import made_clips, made_store

BOTH = Preprocessing("mean+std", "standard")
PLAIN: dict[str, Any] = {"evenness": 0.003, "class_weight": "none"}


def made_layers(
    signals: tuple[float, ...], *, rows: int = 240, width: int = 8, classes: int = 3
) -> tuple[FoldFeatures, list[np.ndarray], np.ndarray]:
    """Layers that separate the classes by `signals`, each with its own noise and its own units."""
    rng = np.random.default_rng(3)
    y = rng.permutation(np.arange(rows) % classes)
    centre = rng.standard_normal((classes, 2 * width))
    layers = [
        (signal * centre[y] + rng.standard_normal((rows, 2 * width))) * 10**number + number
        for number, signal in enumerate(signals)
    ]
    layers = [layer.astype(np.float32) for layer in layers]
    train, test = np.arange(rows * 2 // 3), np.arange(rows * 2 // 3, rows)

    def states(X: np.ndarray) -> LayerStates:
        return LayerStates(lambda: X, ("mean", "std"), width, np.arange(rows) % 8)

    features = FoldFeatures(
        tuple(map(states, layers)), y, train=train, test=test, classes=classes, cache=LruCache(1 << 28)
    )
    return features, layers, y


def scaled(features: FoldFeatures, layers: list[np.ndarray]) -> list[np.ndarray]:
    return [StandardScaler().fit(X[features.train]).transform(X.astype(np.float64)) for X in layers]


def by_hand(features: FoldFeatures, layers: list[np.ndarray], share: Any, C: float) -> LogisticRegression:
    """scikit-learn's fit to the sum of the scaled layers with these weights."""
    mixed = np.tensordot(share, np.stack(scaled(features, layers)), 1)[features.train]
    power = np.square(mixed).sum(1).mean()
    return LogisticRegression(C=C / power, tol=1e-9, max_iter=10_000).fit(mixed, features.y)


@pytest.mark.parametrize("classes", [2, 3])
@pytest.mark.parametrize("C", [0.7, 35.0])
def test_with_the_learnt_weights_the_classifier_is_scikit_learns(classes: int, C: float) -> None:
    features, layers, _ = made_layers((0.2, 0.6, 0.4), classes=classes)
    params = PLAIN
    (scores,) = WEIGHTS.fit(features, BOTH, params, [C], 0)
    assert WEIGHTS.explain is not None
    share = WEIGHTS.explain(features, BOTH, params, C, 0)["layer_weights"]
    assert sum(share) == pytest.approx(1)
    model = by_hand(features, layers, share, C)
    mixed = np.tensordot(share, np.stack(scaled(features, layers)), 1)[features.test]
    np.testing.assert_allclose(softmax(scores, 1), model.predict_proba(mixed), atol=0.02)


def test_no_other_weights_fit_the_training_clips_better() -> None:
    features, layers, _ = made_layers((0.2, 0.6, 0.4))
    C = 5.0

    def loss(share: np.ndarray) -> float:
        """scikit-learn's objective at its optimum for fixed weights, and the penalty of uneven ones."""
        model = by_hand(features, layers, share, C)
        mixed = np.tensordot(share, np.stack(scaled(features, layers)), 1)[features.train]
        penalty = np.square(mixed).sum(1).mean() / C / 2 * np.square(model.coef_).sum()
        fitted = log_loss(features.y, model.predict_proba(mixed), normalize=False) + penalty
        logits = np.log(share) - np.log(share).mean()  # of all that have this softmax, the shortest
        return float(fitted / len(mixed) + PLAIN["evenness"] / 2 * logits @ logits)

    assert WEIGHTS.explain is not None
    learnt = np.array(WEIGHTS.explain(features, BOTH, PLAIN, C, 0)["layer_weights"])
    least, logits = loss(learnt), np.log(learnt)
    for axis in np.eye(3):
        for step in (-0.3, 0.3):
            assert loss(np.asarray(softmax(logits + step * axis))) > least
    assert loss(np.full(3, 1 / 3)) > least + 1e-3


def test_the_layer_that_separates_the_classes_has_most_of_the_weight() -> None:
    features, _, y = made_layers((0.0, 1.2, 0.0, 0.0))
    params = {**PLAIN, "class_weight": "balanced"}
    (scores,) = WEIGHTS.fit(features, BOTH, params, [5.0], 0)
    assert (scores.argmax(1) == y[features.test]).mean() > 0.8
    assert WEIGHTS.explain is not None
    share = WEIGHTS.explain(features, BOTH, params, 5.0, 0)["layer_weights"]
    assert np.argmax(share) == 1
    assert max(share) > 0.6


def test_a_value_of_the_path_does_not_depend_on_the_others() -> None:
    features, _, _ = made_layers((0.2, 0.6, 0.4))
    together = WEIGHTS.fit(features, BOTH, PLAIN, WEIGHTS.path[1], 0)
    for value, scores in zip(WEIGHTS.path[1], together, strict=True):
        (alone,) = WEIGHTS.fit(features, BOTH, PLAIN, [value], 0)
        np.testing.assert_array_equal(alone, scores)


@pytest.mark.parametrize("axes", [128, 5])
def test_a_refitted_head_scores_as_the_search_does(
    axes: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(weights, "AXES", axes)  # 5: fewer than there are columns
    features, layers, _ = made_layers((0.2, 0.6, 0.4))
    params = {**PLAIN, "class_weight": "balanced"}
    (expected,) = WEIGHTS.fit(features, BOTH, params, [5.0], 0)
    fitted = [FittedLayer.fit(str(k), X[features.train], BOTH, None) for k, X in enumerate(layers)]
    rows = TrainingRows(
        Z=np.hstack([Z for _, Z in fitted]), y=features.y, classes=3, landmarks=None, layers=len(layers)
    )
    assert WEIGHTS.refit is not None
    head = WEIGHTS.refit(rows, params, 5.0, 0)
    loaded = KINDS[head.kind].load(tmp_path, head.save(tmp_path))
    inputs = FittedInputs(tuple(one for one, _ in fitted))
    Z = inputs.apply({str(k): X[features.test] for k, X in enumerate(layers)})
    np.testing.assert_allclose(softmax(loaded.scores(Z), 1), softmax(expected, 1), atol=5e-3)


def test_wide_states_are_projected_on_the_principal_axes_of_all_layers(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from sklearn.decomposition import PCA

    monkeypatch.setattr(weights, "AXES", 4)
    features, layers, _ = made_layers((0.5, 2.0, 1.0))
    own = scaled(features, layers)
    pca = PCA(4).fit(np.concatenate([X[features.train] for X in own]))
    (scores,) = WEIGHTS.fit(features, BOTH, PLAIN, [5.0], 0)
    assert WEIGHTS.explain is not None
    share = WEIGHTS.explain(features, BOTH, PLAIN, 5.0, 0)["layer_weights"]
    mixed = np.tensordot(share, np.stack(own), 1) @ pca.components_.T
    power = np.square(mixed[features.train]).sum(1).mean()
    model = LogisticRegression(C=5.0 / power, tol=1e-9).fit(mixed[features.train], features.y)
    np.testing.assert_allclose(softmax(scores, 1), model.predict_proba(mixed[features.test]), atol=0.02)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("weights")
    clips = made_clips(folder / "corpus")
    store = made_store(folder / "cache", clips, layers=("0", "1", "2"), signal=1.5)
    config = StudyConfig(folds=3, inner_folds=2, trials=2, jobs=1, heads=("logreg", "weights"))
    return run_study(clips, store, folder / "run", config)


def test_the_summary_has_the_weights_with_intervals_over_folds(finished: Path) -> None:
    summary = read_json(finished / SUMMARY)
    pairs = [(entry["layer"], entry["head"]) for entry in summary["layers"]]
    assert pairs == [("0", "logreg"), ("1", "logreg"), ("2", "logreg"), ("mix", "weights")]
    learnt = summary["layer_weights"]
    assert [entry["layer"] for entry in learnt["layers"]] == ["0", "1", "2"]
    folds = np.array([fold["weights"] for fold in learnt["folds"]])
    np.testing.assert_allclose(folds.sum(1), 1)
    for entry, of_folds in zip(learnt["layers"], folds.T, strict=True):
        weight = entry["weight"]
        assert weight["value"] == pytest.approx(of_folds.mean())
        assert 0 <= weight["low"] <= weight["value"] <= weight["high"] <= 1
    assert (finished / "figures" / "layer_weights.svg").stat().st_size


def test_terminal_and_report_show_the_weights(finished: Path, capsys: pytest.CaptureFixture[str]) -> None:
    summary = read_json(finished / SUMMARY)
    print_layer_weights(summary)
    shown = capsys.readouterr().out
    best = max(summary["layer_weights"]["layers"], key=lambda entry: entry["weight"]["value"])
    assert "Weights of layers that weights learnt, mean of 3 outer folds:" in shown
    assert f"{best['weight']['value']:.3f}" in shown
    run = read_run(finished)
    chart = layer_weights(run)
    assert chart is not None
    assert chart.title == "Weights of layers that weights learnt, mean of 3 outer folds"
    (table,) = [table for table in run_tables(run) if table.name == "layer_weights"]
    assert [row[0] for row in table.rows] == ["0", "1", "2"]


def test_a_bundle_predicts_alike_from_cache_and_sound(tmp_path: Path) -> None:
    run = make_run(tmp_path, bundle=False, heads=("weights",), layers=("1", "2"))
    bundle = load_bundle(make_bundle_of(run))
    assert isinstance(bundle, FrozenBundle)
    assert bundle.system.names == ("1", "2")
    assert obstacle(bundle.system, bundle.extraction.model) == "several layers together"
    assert_alike_from_cache_and_sound(bundle, run)


@pytest.mark.parametrize(
    ("layers", "message"),
    [
        (("0", "1", "2"), ""),
        (("1",), "weights reads several layers together, and there is one, 1; name more with --layers"),
        (("1+2",), "weights reads several layers together, and --layers names none by itself; name more"),
        (("1+2", "mix"), "layer 'mix' is a sum of several layers, and --layers names none by itself"),
        (("1", "cnn"), "weights sums layers, and cnn has 4 columns, 1 has 6; name layers of one width"),
    ],
)
def test_layers_that_cannot_be_summed_are_reported_in_one_line(
    layers: tuple[str, ...], message: str, tmp_path: Path
) -> None:
    from tests.stores import extraction

    clips = made_clips(tmp_path / "corpus")
    store = made_store(tmp_path / "cache", clips, layers=("0", "1", "2"))
    plan = make_plan(clips, store, StudyConfig(heads=("weights",), layers=layers))
    store.extraction = extraction(
        layers=("0", "1", "2", "cnn"), widths=(6, 6, 6, 4), stats=("mean", "std"), notes={}
    )
    if not message:
        assert {id.layer for id in plan.studies()} == {"mix"}
        assert plan.layers_of("mix") == layers
        return
    with pytest.raises(InputError, match=message):
        plan.studies()
