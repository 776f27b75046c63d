"""Copies of arrays in pages of their own."""

from __future__ import annotations

import gc
import weakref

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from cache.slab import SLAB_BYTES, Slabs

SHAPES = st.tuples(st.integers(0, 5), st.integers(1, 3), st.integers(1, 7))


@given(st.lists(st.tuples(SHAPES, st.sampled_from(["f2", "f4"])), max_size=30), st.integers(0, 99))
def test_what_is_copied_stays_what_it_was(asked, seed):
    rng, slabs = np.random.default_rng(seed), Slabs()
    given = [rng.standard_normal(shape).astype(dtype) for shape, dtype in asked]
    copies = [slabs.copy(array) for array in given]
    expected = [array.copy() for array in given]
    for array in given:
        array[...] = 0
    for copy, array in zip(copies, expected, strict=True):
        np.testing.assert_array_equal(copy, array)
        assert (copy.dtype, copy.flags.c_contiguous, copy.flags.aligned) == (array.dtype, True, True)


def test_arrays_of_any_order_and_more_than_a_block():
    slabs = Slabs()
    turned = np.arange(12, dtype="f4").reshape(3, 4).T
    np.testing.assert_array_equal(slabs.copy(turned), turned)
    large = np.ones(SLAB_BYTES + 4, np.uint8)
    assert slabs.copy(large).sum() == SLAB_BYTES + 4


def test_a_block_goes_with_the_last_copy_in_it():
    slabs = Slabs()
    first, second = slabs.copy(np.zeros(3)), slabs.copy(np.ones(3))
    block = weakref.ref(slabs._block)
    slabs.copy(np.zeros(SLAB_BYTES, np.uint8))  # the next block
    del first
    gc.collect()
    assert block() is not None
    np.testing.assert_array_equal(second, 1)
    del second
    gc.collect()
    assert block() is None
