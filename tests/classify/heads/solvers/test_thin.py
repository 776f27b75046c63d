from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from layerprobe.classify.heads.solvers import thin
from layerprobe.classify.heads.solvers.thin import thin_product


@given(rows=st.integers(1, 30), inner=st.integers(1, 20), columns=st.integers(0, 13), seed=st.integers(0, 99))
@pytest.mark.parametrize("transposed", [False, True])
@pytest.mark.parametrize("small", [0, 10**6])
def test_products_with_any_number_of_columns(
    rows: int, inner: int, columns: int, seed: int, transposed: bool, small: int
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(thin, "SMALL", small)
        check(rows, inner, columns, seed=seed, transposed=transposed)


def check(rows: int, inner: int, columns: int, *, seed: int, transposed: bool) -> None:
    rng = np.random.default_rng(seed)
    A = rng.standard_normal((inner, rows)).T if transposed else rng.standard_normal((rows, inner))
    V = rng.standard_normal((inner, columns))
    expected = np.einsum("ij,jk->ik", A, V)
    np.testing.assert_allclose(thin_product(A, V), expected, rtol=1e-12, atol=1e-12)
    single = thin_product(A.astype(np.float32), V.astype(np.float32))
    assert single.dtype == np.float32
    np.testing.assert_allclose(single, expected, rtol=1e-4, atol=1e-4)
