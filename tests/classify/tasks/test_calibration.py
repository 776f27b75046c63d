from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from layerprobe.classify.tasks.calibration import probabilities, temperature
from layerprobe.classify.tasks.confusion import calibration_error, log_loss


def drawn(seed: int, *, sharp: float) -> tuple[np.ndarray, np.ndarray]:
    """Scores `sharp` times the log probabilities that the labels are drawn from."""
    rng = np.random.default_rng(seed)
    p = rng.dirichlet([1, 1, 1], 4000)
    y = (rng.random((4000, 1)) > p.cumsum(1)).sum(1)
    return sharp * np.log(p), y


def test_the_temperature_is_how_much_too_sharp_scores_are() -> None:
    for sharp in (0.2, 1.0, 7.0):
        assert abs(temperature(*drawn(0, sharp=sharp)) / sharp - 1) < 0.1


def test_it_mends_log_loss_and_calibration() -> None:
    scores, y = drawn(1, sharp=5.0)
    before, after = probabilities(scores, 1.0), probabilities(scores, temperature(scores, y))
    assert log_loss(y, after) < log_loss(y, before)
    assert calibration_error(y, after) < 0.02 < calibration_error(y, before)


@given(seed=st.integers(0, 50), t=st.floats(0.01, 100))
def test_probabilities_sum_to_one_and_keep_the_prediction(seed: int, t: float) -> None:
    scores = np.random.default_rng(seed).standard_normal((9, 4))
    p = probabilities(scores, t)
    np.testing.assert_allclose(p.sum(1), 1)
    np.testing.assert_array_equal(p.argmax(1), scores.argmax(1))
