from __future__ import annotations

import numpy as np
import optuna
import pytest

from layerprobe.classify.features.fold_features import Preprocessing
from layerprobe.classify.heads.registry import REGRESSION_HEADS
from tests.studies import made_numbers


def test_it_predicts_the_mean_of_the_training_clips() -> None:
    features, _, y = made_numbers(rows=60)
    (scores,) = REGRESSION_HEADS["mean"].fit(features, Preprocessing("mean", "none"), {}, [1.0], 0)
    np.testing.assert_allclose(scores, np.full((len(features.test), 1), y[features.train].mean()))


@pytest.mark.parametrize("head", REGRESSION_HEADS)
def test_the_first_trial_is_in_the_search_space(head: str) -> None:
    drawn = optuna.trial.FixedTrial(dict(REGRESSION_HEADS[head].start))
    assert REGRESSION_HEADS[head].space(drawn) == dict(REGRESSION_HEADS[head].start)
