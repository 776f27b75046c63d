"""Clips that decide when a network stops training."""

from __future__ import annotations

import numpy as np
import pytest

from layerprobe.classify.heads.neural.validation import validation_mask


def test_speakers_that_decide_when_to_stop_are_not_trained_on() -> None:
    speakers, y = np.repeat(np.arange(10), 6), np.tile([0, 1, 2], 20)
    held = validation_mask(y, speakers, seed=0)
    assert not set(speakers[held]) & set(speakers[~held])
    assert len(set(speakers[held])) == 2
    assert set(y[held]) == set(y[~held]) == {0, 1, 2}


@pytest.mark.parametrize("speakers", [None, np.zeros(30, int), np.repeat([0, 1], 15)])
def test_no_class_is_lost_to_training_by_setting_speakers_aside(speakers: np.ndarray | None) -> None:
    y = np.repeat([0, 1], 15)  # with two speakers, each has a class of their own
    held = validation_mask(y, speakers, seed=0)
    assert held.sum() == 6
    assert set(y[~held]) == {0, 1}
