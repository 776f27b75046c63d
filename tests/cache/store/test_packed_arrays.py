"""Arrays packed into pages of their own."""

from __future__ import annotations

import gc
import weakref

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from layerprobe.cache.store.packed_arrays import BLOCK_BYTES, ArrayPacker, RowLayout

SHAPES = st.lists(st.tuples(st.integers(1, 3), st.integers(1, 7)), min_size=1, max_size=4)
ROWS = st.lists(st.integers(0, 5), max_size=20)
BYTE = np.dtype(np.uint8)


@given(SHAPES, ROWS, st.sampled_from(["f2", "f4"]), st.integers(0, 99))
def test_packed_arrays_keep_their_values(shapes, counts, dtype, seed):
    rng, layout = np.random.default_rng(seed), RowLayout(shapes, np.dtype(dtype))
    packer = ArrayPacker(layout)
    given = [[rng.standard_normal((rows, *shape)).astype(dtype) for shape in shapes] for rows in counts]
    packed = [packer.pack(arrays) for arrays in given]
    expected = [[array.copy() for array in arrays] for arrays in given]
    for arrays in given:
        for array in arrays:
            array[...] = 0
    for copy, arrays, rows in zip(packed, expected, counts, strict=True):
        assert copy.rows == rows
        assert copy.nbytes >= sum(array.nbytes for array in arrays) == rows * layout.row_bytes
        for place, array in enumerate(arrays):
            found = copy.array(place, layout)
            np.testing.assert_array_equal(found, array)
            assert (found.dtype, found.flags.c_contiguous, found.flags.aligned) == (dtype, True, True)


def test_arrays_of_any_order_and_more_than_a_block():
    turned = np.arange(12, dtype="f4").reshape(3, 4).T
    layout = RowLayout([(3,)], turned.dtype)
    np.testing.assert_array_equal(ArrayPacker(layout).pack([turned]).array(0, layout), turned)
    large, layout = np.ones(BLOCK_BYTES + 4, np.uint8), RowLayout([()], BYTE)
    assert ArrayPacker(layout).pack([large]).array(0, layout).sum() == BLOCK_BYTES + 4


def test_a_block_is_freed_with_its_last_array():
    layout = RowLayout([()], BYTE)
    packer = ArrayPacker(layout)
    first, second = packer.pack([np.zeros(3)]), packer.pack([np.ones(3)])
    block = weakref.ref(packer._block)
    packer.pack([np.zeros(BLOCK_BYTES, np.uint8)])  # the next block
    del first
    gc.collect()
    assert block() is not None
    np.testing.assert_array_equal(second.array(0, layout), 1)
    del second
    gc.collect()
    assert block() is None


def test_pages_of_freed_blocks_are_used_again_and_no_others():
    layout = RowLayout([()], BYTE)
    packer = ArrayPacker(layout)
    held = [packer.pack([np.full(BLOCK_BYTES, number, np.uint8)]) for number in range(3)]
    addresses = [packed.block.ctypes.data for packed in held]
    assert len(set(addresses)) == 3
    packer.pack([np.zeros(1, np.uint8)])  # the next block
    del held[1]
    gc.collect()
    again = packer.pack([np.full(BLOCK_BYTES, 9, np.uint8)])
    assert again.block.ctypes.data == addresses[1]
    for packed, value in zip([*held, again], (0, 2, 9), strict=True):
        assert set(packed.array(0, layout).tolist()) == {value}


def test_blocks_that_have_become_too_small_do_not_accumulate():
    packer = ArrayPacker(RowLayout([()], BYTE))
    for blocks in range(1, 8):
        packer.pack([np.zeros(blocks * BLOCK_BYTES, np.uint8)])
        gc.collect()
        assert len(packer._spare) <= 1
