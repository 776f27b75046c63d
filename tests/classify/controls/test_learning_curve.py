from __future__ import annotations

from layerprobe.classify.controls.learning_curve import SHARES, distinct_shares


def test_shares_that_draw_as_many_speakers_are_one_point() -> None:
    """Of four speakers 10, 20 and 35 % are one each, 50 % two and 75 % three."""
    assert distinct_shares([4, 4]) == (0.35, 0.5, 0.75, 1.0)
    assert distinct_shares([4, 5]) == (0.2, 0.35, 0.5, 0.75, 1.0)  # of five speakers 35 % are two
    assert distinct_shares([1]) == (1.0,)
    assert distinct_shares([40]) == SHARES
