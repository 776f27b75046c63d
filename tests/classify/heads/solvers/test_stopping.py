from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import balanced_accuracy_score, log_loss

from layerprobe.classify.heads.solvers.stopping import validation_score

SCORES = np.log([[0.7, 0.2, 0.1], [0.4, 0.5, 0.1], [0.1, 0.6, 0.3], [0.3, 0.3, 0.4]])


def test_of_classes_it_is_scikit_learns_recall_and_log_loss() -> None:
    """The second of three classes does not occur."""
    y = np.array([0, 0, 2, 2])
    recall, likelihood = validation_score(SCORES + 5, y, 3)
    assert recall == balanced_accuracy_score(y, [0, 1, 1, 2])
    assert likelihood == pytest.approx(-log_loss(y, np.exp(SCORES), labels=[0, 1, 2]))


def test_of_shares_it_is_their_cross_entropy() -> None:
    y = np.array([[1.0, 0, 0], [0.5, 0.5, 0], [0, 0.25, 0.75], [0, 0, 1]])
    expected = (y * SCORES).sum() / 4
    assert validation_score(SCORES - 3, y, 3) == pytest.approx((expected, expected))
