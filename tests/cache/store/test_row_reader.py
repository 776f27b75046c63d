"""Reading rows of many chunks into one array, and an exact conversion to float32."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from layerprobe.cache.store.row_reader import RowReader, to_float32

EVERY_FLOAT16 = np.arange(1 << 16, dtype=np.uint16).view(np.float16)


def test_every_float16_is_converted_exactly():
    finite = EVERY_FLOAT16[np.isfinite(EVERY_FLOAT16)]
    np.testing.assert_array_equal(to_float32(finite).view("u4"), finite.astype("f4").view("u4"))  # -0.0 too


@pytest.mark.parametrize("odd", [np.inf, -np.inf, np.nan])
def test_non_finite_numbers_stay_non_finite(odd):
    np.testing.assert_array_equal(to_float32(np.array([1, odd, -2], "f2")), np.array([1, odd, -2], "f4"))


def test_float32_passes_through():
    states = np.array([1e-30, 3e38], "f4")
    np.testing.assert_array_equal(to_float32(states), states)


@given(data=st.data(), dtype=st.sampled_from(["f2", "f4"]), read_bytes=st.sampled_from([1, 5_000, 1 << 20]))
@settings(max_examples=60)
def test_any_rows_of_any_files_reach_their_positions(tmp_path_factory, data, dtype, read_bytes):
    folder = tmp_path_factory.mktemp("reader")
    lengths = data.draw(st.lists(st.integers(1, 400), min_size=1, max_size=3))
    chunk, columns = data.draw(st.integers(1, 150)), data.draw(st.sampled_from([[0], [1], [0, 1], [1, 0]]))
    rng = np.random.default_rng(data.draw(st.integers(0, 99)))
    arrays = [rng.standard_normal((n, 2, 3)).astype(dtype) for n in lengths]
    asked = [(f, r) for f, n in enumerate(lengths) for r in range(n) if rng.random() < 0.3]
    rng.shuffle(asked)
    out = np.full((len(asked), len(columns), 3), np.nan, "f4")
    with pytest.MonkeyPatch.context() as patch, RowReader(out, columns) as reader:
        patch.setattr("layerprobe.cache.store.row_reader.READ_BYTES", read_bytes)
        for number, array in enumerate(arrays):
            with h5py.File(Path(folder, f"{number}.h5"), "w") as file:
                file.create_dataset("x", data=array, chunks=(min(chunk, len(array)), 2, 3))
                mine = sorted((row, at) for at, (f, row) in enumerate(asked) if f == number)
                if mine:
                    rows, wanted = np.array(mine).T
                    reader.read(file["x"], rows, wanted)
    expected = [arrays[f][r][columns] for f, r in asked]
    np.testing.assert_array_equal(out, np.array(expected, "f4").reshape(out.shape))
