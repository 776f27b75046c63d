"""Sampled training rows: what they are, by hand; and that test rows and inner validation stay as they are."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from layerprobe.cache.common.errors import InputError
from layerprobe.classify.config import StudyConfig
from layerprobe.classify.features.fold_features import FoldFeatures, LayerStates, Preprocessing
from layerprobe.classify.features.lru_cache import LruCache
from layerprobe.classify.features.sampling import grown_size, make_recipe, sampled_features
from layerprobe.classify.heads.registry import HEADS
from layerprobe.classify.predict.bundle import load_bundle
from layerprobe.classify.predict.make import make_bundle_of
from layerprobe.classify.runs.run_folder import SUMMARY, read_json
from layerprobe.classify.search import nested
from layerprobe.classify.search.plan import make_plan
from layerprobe.classify.search.study import run_study
from tests.bundles import assert_alike_from_cache_and_sound, make_run
from tests.studies import made_clips, made_store

PREP = Preprocessing("mean+std", "standard")


def uneven(*, rows: int = 90, width: int = 3, layers: int = 1) -> tuple[FoldFeatures, list[np.ndarray]]:
    """60 training rows of classes 0 (40), 1 (15) and 2 (5); and 30 test rows."""
    rng = np.random.default_rng(1)
    y = np.concatenate([rng.permutation(np.repeat([0, 1, 2], [40, 15, 5])), np.arange(30) % 3])
    made = [
        (rng.standard_normal((rows, 2 * width)) * 10**k + y[:, None]).astype(np.float32)
        for k in range(layers)
    ]

    def states(X: np.ndarray) -> LayerStates:
        return LayerStates(lambda: X, ("mean", "std"), width, np.arange(rows) % 6)

    features = FoldFeatures(
        tuple(map(states, made)), y, train=np.arange(60), test=np.arange(60, 90), classes=3,
        cache=LruCache(1 << 28),
    )  # fmt: skip
    return features, made


@pytest.mark.parametrize("kind", ["over", "smote", "mixup"])
def test_test_rows_and_the_original_training_rows_stay_as_they_are(kind: Any) -> None:
    features, (X,) = uneven()
    sampled = sampled_features(features, kind, seed=0)
    columns = sampled.layers[0].columns("mean+std")
    np.testing.assert_array_equal(columns[:90], X)
    np.testing.assert_array_equal(sampled.test, features.test)
    np.testing.assert_array_equal(sampled.train[:60], features.train)
    np.testing.assert_array_equal(sampled.y[:60], features.y)
    assert sampled.train[60:].min() == 90
    speakers = sampled.layers[0].speakers
    assert speakers is not None
    assert len(speakers) == len(columns)


@pytest.mark.parametrize("kind", ["over", "smote", "mixup"])
def test_no_test_row_has_a_part_in_a_new_row(kind: Any) -> None:
    """Training rows are positive and test rows hugely negative: nothing between both appears."""
    features, (X,) = uneven()
    X[:60] = np.abs(X[:60])
    X[60:] = -1e6
    sampled = sampled_features(features, kind, seed=0)
    assert sampled.layers[0].columns("mean+std")[sampled.train].min() >= 0
    np.testing.assert_array_equal(sampled.layers[0].columns("mean+std")[sampled.test], X[60:])


def test_over_sampling_repeats_clips_until_classes_are_even() -> None:
    features, (X,) = uneven()
    sampled = sampled_features(features, "over", seed=0)
    np.testing.assert_array_equal(np.bincount(sampled.y), [40, 40, 40])
    columns = sampled.layers[0].columns("mean+std")
    for row, label in zip(sampled.train[60:], sampled.y[60:], strict=True):
        same = (X[:60][features.y == label] == columns[row]).all(1)
        assert same.any()


def test_smote_interpolates_between_near_neighbours_of_a_class() -> None:
    features, (X,) = uneven()
    sampled = sampled_features(features, "smote", seed=0)
    np.testing.assert_array_equal(np.bincount(sampled.y), [40, 40, 40])
    Z = StandardScaler().fit_transform(X[:60])
    recipe = make_recipe(features.y, "smote", lambda: Z, seed=0)
    columns = sampled.layers[0].columns("mean+std")
    partners = 0
    for number, (a, b, share) in enumerate(zip(recipe.first, recipe.second, recipe.share, strict=True)):
        assert features.y[a] == features.y[b] == sampled.y[60 + number]
        distance = np.linalg.norm(Z - Z[a], axis=1)
        others = [r for r in np.argsort(distance) if features.y[r] == features.y[a] and r != a]
        assert b in others[:5]
        np.testing.assert_allclose(columns[90 + number], X[a] + share * (X[b] - X[a]), rtol=1e-4, atol=1e-5)
        partners += a != b
    assert partners == len(recipe.first)


def test_a_class_of_one_clip_is_repeated() -> None:
    recipe = make_recipe(np.array([0, 0, 0, 1]), "smote", lambda: np.eye(4), seed=0)
    np.testing.assert_array_equal(recipe.first, [3, 3])
    np.testing.assert_array_equal(recipe.second, [3, 3])


def test_mixup_is_a_soft_label_loss() -> None:
    """Fitted to both rows of each mixture, weighted, logistic regression is that of the soft labels."""
    features, (X,) = uneven()
    sampled = sampled_features(features, "mixup", seed=0)
    weights, columns = sampled.weights("none"), sampled.layers[0].columns("mean+std")
    assert len(sampled.y) == 60 + 60
    np.testing.assert_allclose(weights[60:90] + weights[90:], 1)
    np.testing.assert_array_equal(columns[90:120], columns[120:150])  # the same states twice
    recipe = make_recipe(features.y, "mixup", lambda: X, seed=0)
    for number in range(30):
        a, b, share = recipe.first[number], recipe.second[number], recipe.share[number]
        np.testing.assert_allclose(
            columns[90 + number], (1 - share) * X[a] + share * X[b], rtol=1e-4, atol=1e-5
        )
        assert (sampled.y[60 + number], sampled.y[90 + number]) == (features.y[a], features.y[b])
        assert weights[60 + number] == pytest.approx(1 - share, abs=1e-6)
    (scores,) = HEADS["logreg"].fit(sampled, PREP, {"class_weight": "none"}, [3.0], 0)
    scaler = StandardScaler().fit(columns[sampled.train])
    train = scaler.transform(columns[sampled.train])
    power = np.square(train).sum(1).mean()
    model = LogisticRegression(C=3.0 / power, tol=1e-9, max_iter=1000).fit(train, sampled.y, weights)
    expected = model.predict(scaler.transform(X[60:]))
    np.testing.assert_array_equal(scores.argmax(1), expected)


def test_balanced_weights_are_even_in_total_with_shares() -> None:
    features, _ = uneven()
    sampled = sampled_features(features, "mixup", seed=0)
    totals = np.bincount(sampled.y, sampled.weights("balanced"))
    np.testing.assert_allclose(totals, totals.mean())
    np.testing.assert_allclose(features.weights("balanced")[features.y == 2], 60 / (3 * 5))


def test_layers_together_are_sampled_alike() -> None:
    features, made = uneven(layers=2)
    sampled = sampled_features(features, "smote", seed=0)
    new = [states.columns("mean+std")[90:] for states in sampled.layers]
    recipe = make_recipe(
        features.y, "smote",
        lambda: np.hstack([StandardScaler().fit_transform(X[:60]) for X in made]), seed=0,
    )  # fmt: skip
    for columns, X in zip(new, made, strict=True):
        np.testing.assert_allclose(columns, recipe.apply(X[:60]), rtol=1e-5)


def test_sizes_are_known_before() -> None:
    features, _ = uneven()
    for kinds in (("none",), ("over",), ("none", "mixup"), ("smote", "mixup")):
        largest = max(len(sampled_features(features, kind, seed=0).y) for kind in kinds)  # type: ignore[arg-type]
        assert grown_size(features.y, kinds) == largest


def test_inner_validation_and_the_outer_test_part_see_no_sampled_row(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every fold that a study samples is one of its own, and its test rows are real clips."""
    clips = [clip for n, clip in enumerate(made_clips(tmp_path / "corpus", each=9)) if n % 3 or n % 9 == 0]
    store = made_store(tmp_path / "cache", clips)
    config = StudyConfig(
        folds=3, inner_folds=2, trials=6, jobs=1, heads=("logreg",), layers=("1",), sampling=("none", "smote")
    )
    plan = make_plan(clips, store, config)
    folds = [part for fold in plan.folds for part in (fold.outer, *fold.inner)]
    known = {(tuple(part.train), tuple(part.test)) for part in folds}
    speakers, seen = plan.data.speakers, []
    assert speakers is not None

    def recorded(features: FoldFeatures, kind: Any, *, seed: int) -> FoldFeatures:
        sampled = sampled_features(features, kind, seed=seed)
        assert (tuple(features.train), tuple(features.test)) in known
        np.testing.assert_array_equal(sampled.test, features.test)
        assert sampled.test.max() < len(clips)
        of_rows = sampled.layers[0].speakers
        assert of_rows is not None
        assert not set(of_rows[sampled.train]) & set(speakers[features.test])
        seen.append(kind)
        return sampled

    monkeypatch.setattr(nested, "sampled_features", recorded)
    run = run_study(clips, store, tmp_path / "run", config)
    assert {"none", "smote"} <= set(seen)
    params = [fold["params"] for fold in read_json(run / SUMMARY)["selected"]["folds"]]
    assert all(own["sampling"] in ("none", "smote") for own in params)


def test_a_study_without_sampling_has_no_such_parameter(tmp_path: Path) -> None:
    clips = made_clips(tmp_path / "corpus")
    store = made_store(tmp_path / "cache", clips)
    config = StudyConfig(folds=3, inner_folds=2, trials=1, jobs=1, heads=("logreg",), layers=("1",))
    run = run_study(clips, store, tmp_path / "run", config)
    assert "sampling" not in read_json(run / SUMMARY)["selected"]["folds"][0]["params"]


@pytest.mark.parametrize(("head", "kind"), [("svm", "mixup"), ("logreg", "smote"), ("knn", "over")])
def test_a_bundle_is_fitted_to_sampled_clips(head: str, kind: Any, tmp_path: Path) -> None:
    run = make_run(tmp_path, bundle=False, heads=(head,), sampling=(kind,))
    bundle = load_bundle(make_bundle_of(run))
    assert_alike_from_cache_and_sound(bundle, run)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"sampling": ("bootstrap",)}, "--sampling bootstrap; choose from none, over, smote, mixup"),
        ({"sampling": ()}, "--sampling names no way to sample"),
        ({"sampling": ("none", "smote"), "scalings": ("standard", "speaker")}, "omit one of them"),
        ({"sampling": ("mixup",), "heads": ("lda", "logreg")}, "--sampling mixup is not for lda; add none"),
        ({"sampling": ("over", "smote"), "heads": ("mlp",)}, "--sampling over,smote is not for mlp"),
        (
            {
                "sampling": ("smote",),
                "heads": ("ridge",),
                "task": "regression",
                "target": "number",
                "metric": "ccc",
            },
            "--sampling is for classes, and --task is regression; omit it",
        ),
    ],
)
def test_sampling_that_cannot_be_is_one_line(changes: Any, message: str, tmp_path: Path) -> None:
    made = made_clips(tmp_path / "corpus")
    clips = [replace(clip, labels={**clip.labels, "number": str(i / 8)}) for i, clip in enumerate(made)]
    store = made_store(tmp_path / "cache", clips)
    with pytest.raises(InputError, match=message):
        make_plan(clips, store, replace(StudyConfig(), **changes)).studies()
