from __future__ import annotations

import numpy as np
import pytest

from layerprobe.classify.config import Scaling
from layerprobe.classify.features.fitted import FittedLayer
from layerprobe.classify.features.fold_features import Preprocessing
from layerprobe.classify.features.streamed.fitted import fit_streamed
from layerprobe.classify.features.streamed.rows import row_power
from tests.streamed import both_folds


@pytest.mark.parametrize("kernel", [False, True])
@pytest.mark.parametrize("pca", [0, 5])
@pytest.mark.parametrize("scaling", ["none", "standard", "speaker", "l2"])
def test_it_is_fitted_as_in_memory(scaling: Scaling, pca: int, kernel: bool) -> None:
    _, streamed = both_folds()
    (states,) = streamed.layers
    X, prep = states.load(), Preprocessing("mean+std", scaling, pca)
    y = np.zeros(len(X), np.int64)
    expected, Z = FittedLayer.fit("3", X, prep, states.speakers, share=1.0 if kernel else None)
    fitted, rows = fit_streamed("3", states, prep, y, classes=1, kernel=kernel)
    largest = np.abs(Z).max()
    np.testing.assert_allclose(rows[:240], Z, atol=2e-5 * largest)
    np.testing.assert_allclose(fitted.apply(X, states.speakers), Z, atol=2e-5 * largest)
    assert (fitted.layer, fitted.stats, fitted.scaling) == ("3", "mean+std", scaling)
    assert fitted.weight == pytest.approx(expected.weight, rel=1e-5)
    if kernel:
        assert row_power(rows) == pytest.approx(1, rel=1e-5)
