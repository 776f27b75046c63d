from __future__ import annotations

import numpy as np
import pytest

from layerprobe.classify.controls.shuffled_labels import movable, shuffle_within


def test_each_speaker_keeps_its_labels_and_other_rows_are_unchanged() -> None:
    rng = np.random.default_rng(0)
    y, speakers = rng.integers(0, 4, 200), rng.integers(0, 7, 200)
    rows = np.sort(rng.choice(200, 150, replace=False))
    changed = shuffle_within(y, speakers, rows, np.random.default_rng(1))
    for speaker in range(7):
        mine = rows[speakers[rows] == speaker]
        assert sorted(changed[mine]) == sorted(y[mine])
    others = np.setdiff1d(np.arange(200), rows)
    assert (changed[others] == y[others]).all()
    assert (changed[rows] != y[rows]).mean() > 0.5
    again = shuffle_within(y, speakers, rows, np.random.default_rng(1))
    assert (again == changed).all()


@pytest.mark.parametrize(
    ("y", "speakers", "share"),
    [
        ([0, 1, 2], [0, 1, 2], 0.0),  # one clip each: nothing can change
        ([0, 0, 1, 1], [0, 0, 1, 1], 0.0),  # each speaker has one class
        ([0, 1, 0, 1], [0, 0, 1, 1], 1.0),
        ([0, 1, 1, 1], [0, 0, 1, 1], 0.5),
    ],
)
def test_the_share_of_labels_that_can_change(y: list[int], speakers: list[int], share: float) -> None:
    assert movable(np.array(y), np.array(speakers)) == share
