"""The probes of one layer and their scores, against scikit-learn and by hand."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import recall_score
from sklearn.preprocessing import StandardScaler

from layerprobe.classify.controls.probes.linear import SHUFFLES, C, class_scores, control_labels, probe_layer
from layerprobe.classify.controls.probes.targets import FOLDS, Target, disjoint_folds, stratified_folds

SPEAKERS = np.repeat(np.arange(12), 20)
Y = np.arange(240) % 3


def states(*, signal: float, seed: int = 0) -> np.ndarray:
    """States with the class in them, and each speaker's own offset."""
    rng = np.random.default_rng(seed)
    offset = rng.standard_normal((12, 10))[SPEAKERS]
    return (rng.standard_normal((240, 10)) + offset + signal * rng.standard_normal((3, 10))[Y]).astype(
        np.float32
    )


def target(y: np.ndarray = Y) -> Target:
    folds = disjoint_folds(Y, SPEAKERS, seed=0)
    return Target(name="emotion", classes=("a", "b", "c"), y=y, folds=folds, within_speakers=False)


def speaker_target() -> Target:
    folds = stratified_folds(SPEAKERS, seed=0)
    names = tuple(f"s{number:02}" for number in range(12))
    return Target(name="speaker", classes=names, y=SPEAKERS, folds=folds, within_speakers=True)


def test_predictions_are_those_of_scikit_learns_regression() -> None:
    X, own = states(signal=0.7), target()
    predicted = np.array(probe_layer(X, [own], SPEAKERS, seed=0)["emotion"]["predicted"])
    for fold in range(FOLDS):
        test = own.folds == fold
        scaler = StandardScaler().fit(X[~test])
        train = scaler.transform(X[~test])
        model = LogisticRegression(
            C=C / (np.square(train).sum() / len(train)), class_weight="balanced", tol=1e-9, max_iter=10_000
        ).fit(train, Y[~test])
        assert (model.predict(scaler.transform(X[test])) == predicted[test]).mean() > 0.98


def test_selectivity_is_the_recall_minus_that_with_shuffled_labels() -> None:
    X, own = states(signal=1.0), target()
    result = probe_layer(X, [own], SPEAKERS, seed=0)
    (entry,) = class_scores(own, [result["emotion"]], SPEAKERS, seed=0)
    real = recall_score(Y, result["emotion"]["predicted"], average="macro")
    control = [recall_score(Y, rows, average="macro") for rows in result["emotion"]["control"]]
    assert len(control) == SHUFFLES
    assert entry["uar"]["value"] == pytest.approx(real)
    assert entry["control"]["value"] == pytest.approx(np.mean(control), abs=0.01)
    assert entry["selectivity"]["value"] == pytest.approx(real - entry["control"]["value"])
    assert entry["selectivity"]["low"] < entry["selectivity"]["value"] < entry["selectivity"]["high"]
    assert entry["selectivity"]["low"] > 0.2
    bits = np.sum(result["emotion"]["bits"])
    assert entry["bits"] == pytest.approx(bits)
    assert entry["bits_per_label"]["value"] == pytest.approx(bits / 240)
    assert entry["compression"]["value"] == pytest.approx(240 * np.log2(3) / bits)
    assert entry["compression"]["low"] == pytest.approx(np.log2(3) / entry["bits_per_label"]["high"])
    assert entry["compression"]["low"] > 1


def test_a_label_that_is_not_encoded_has_no_selectivity_and_no_compression() -> None:
    own = target(np.random.default_rng(1).permutation(Y))
    result = probe_layer(states(signal=0.0), [own], SPEAKERS, seed=0)
    (entry,) = class_scores(own, [result["emotion"]], SPEAKERS, seed=0)
    assert entry["selectivity"]["low"] < 0.02
    assert entry["compression"]["value"] < 1.01


def test_the_speaker_is_selective_although_every_speaker_has_one_class() -> None:
    """Shuffled within speakers, the labels would stay as they are."""
    own = speaker_target()
    result = probe_layer(states(signal=0.0), [own], SPEAKERS, seed=0)
    (entry,) = class_scores(own, [result["speaker"]], SPEAKERS, seed=0)
    assert entry["uar"]["value"] > 0.4
    assert entry["control"]["value"] < 0.2
    assert entry["selectivity"]["value"] == pytest.approx(entry["uar"]["value"] - entry["control"]["value"])
    assert entry["compression"]["value"] > 1.1


def test_labels_are_shuffled_within_speakers_or_between_them_where_each_has_one() -> None:
    """Within speakers, a gender would stay as it is."""
    rows = np.flatnonzero(SPEAKERS < 8)
    within = control_labels(Y, SPEAKERS, rows, np.random.default_rng(0))
    between = control_labels(SPEAKERS % 3, SPEAKERS, rows, np.random.default_rng(0))
    assert not np.array_equal(within, Y)
    assert not np.array_equal(between, SPEAKERS % 3)
    assert np.array_equal(within[160:], Y[160:])
    assert np.array_equal(between[160:], SPEAKERS[160:] % 3)
    for speaker in range(8):
        own = speaker == SPEAKERS
        assert np.array_equal(np.bincount(within[own]), np.bincount(Y[own]))
        assert len(np.unique(between[own])) == 1
    assert np.array_equal(np.bincount(between), np.bincount(SPEAKERS % 3))


def test_targets_do_not_change_each_other_and_unused_rows_are_not_predicted() -> None:
    X = states(signal=1.0)
    part = target(np.where(np.arange(240) < 30, -1, Y))
    part = Target(**{**vars(part), "name": "part"})
    both = probe_layer(X, [target(), part, speaker_target()], SPEAKERS, seed=0)
    assert both["emotion"] == probe_layer(X, [target()], SPEAKERS, seed=0)["emotion"]
    assert set(both["part"]["predicted"][:30]) == {-1}
    assert -1 not in both["part"]["predicted"][30:]
    assert not any(both["part"]["bits"][:30])


def test_without_speakers_clips_are_coded_and_resampled() -> None:
    X, own = states(signal=1.0), target()
    result = probe_layer(X, [own], None, seed=0)
    (entry,) = class_scores(own, [result["emotion"]], np.arange(240), seed=0)
    assert entry["selectivity"]["low"] > 0.2
