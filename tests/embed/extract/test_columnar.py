"""Facts in few bytes: what comes out is what went in."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from layerprobe.embed.extract.batching import Window
from layerprobe.embed.extract.columnar import Numbers, Records

whole = st.integers(-(2**63), 2**63 - 1)
windows = st.builds(Window, clip=whole, begin=whole, stop=whole, number=whole, count=whole)


@given(st.lists(windows, max_size=8), st.integers(0, 3))
def test_what_was_put_in_comes_out(things, spare):
    held = Numbers(Window, most=len(things) + spare)
    for thing in things:
        held.append(thing)
    assert list(held) == things
    assert held[1:] == things[1:]
    assert [held[i] for i in range(-len(things), 0)] == things


def test_no_more_than_there_is_room_for():
    held = Numbers(Window, most=1)
    held.append(Window(clip=0, begin=0, stop=1))
    with pytest.raises(IndexError):
        held.append(Window(clip=1, begin=0, stop=1))
    with pytest.raises(IndexError):
        held[1]


def test_things_are_made_of_rows():
    held = Records(np.array([2, 0]), ["a", "b", "c"].__getitem__)
    assert (len(held), list(held), held[0], held[:1]) == (2, ["c", "a"], "c", ["c"])
