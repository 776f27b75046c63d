from __future__ import annotations

import numpy as np
import pytest

from layerprobe.classify.heads.solvers.preconditioning import Diagonal, Triangular

RNG = np.random.default_rng(0)
X = RNG.standard_normal((50, 6))
PENALTIES = np.array([[0.5]] * 5 + [[0.0]])


@pytest.mark.parametrize(
    ("kind", "hessian"), [(Diagonal, np.square(X).sum(0)), (Triangular, (X.T @ X).astype(np.float32))]
)
def test_the_hessian_is_the_identity_in_these_coordinates(
    kind: type[Diagonal] | type[Triangular], hessian: np.ndarray
) -> None:
    scale = kind(hessian, PENALTIES)
    full = hessian if hessian.ndim == 2 else np.diag(hessian)
    full = full + np.diag(PENALTIES[:, 0])
    turned = scale.outer(full @ scale.inner(np.eye(6)))
    np.testing.assert_allclose(turned, np.eye(6), atol=1e-4)


@pytest.mark.parametrize("kind", [Diagonal, Triangular])
def test_gradients_are_turned_by_the_transpose(kind: type[Diagonal] | type[Triangular]) -> None:
    scale = kind(np.square(X).sum(0) if kind is Diagonal else (X.T @ X).astype(np.float32), PENALTIES)
    V, G = RNG.standard_normal((2, 6, 3))
    assert (scale.inner(V) * G).sum() == pytest.approx((V * scale.outer(G)).sum(), rel=1e-5)
