"""scikit-learn's own checks of estimators, on an `Embedder` whose rows of numbers become sound."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.compose import ColumnTransformer
from sklearn.utils.estimator_checks import estimator_checks_generator

from layerprobe import Embedder
from tests.run import ROOT, write_corpus

pytestmark = pytest.mark.filterwarnings("ignore")
# Checks that a transformer of recordings cannot pass, with the reason; docs/prediction.md lists them.
NOT_APPLICABLE = {
    "check_n_features_in": "recordings have no fixed number of columns",
    "check_n_features_in_after_fitting": "recordings have no fixed number of columns",
    "check_fit1d": "a list of recordings has one dimension",
    "check_fit2d_predict1d": "a list of recordings has one dimension",
    "check_estimators_empty_data_messages": "no recordings give no rows, and nothing is fitted",
    "check_complex_data": "fit reads no data",
    "check_estimators_nan_inf": "fit reads no data",
    "check_estimator_sparse_tag": "fit reads no data",
    "check_array_api_input": "sound is decoded and prepared with NumPy",
}


class OfNumbers(Embedder):
    """An Embedder for the checks' matrices: each row is the amplitudes of sines, for a tenth of a second."""

    def transform(self, X: Any) -> np.ndarray:
        rows = np.asarray(X, dtype=np.float64)
        time = np.arange(1600)[None] / 16_000
        sines = np.sin(2 * np.pi * 120 * (1 + np.arange(rows.shape[1]))[:, None] * time)
        waves = 0.05 * np.sin(2 * np.pi * 90 * time) + 0.1 * np.tanh(rows) @ sines / rows.shape[1]
        return super().transform([wave.astype(np.float32) for wave in waves])

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.two_d_array = True
        tags.no_validation = False
        return tags


def checks() -> list[Any]:
    pairs = estimator_checks_generator(OfNumbers("mfcc", sampling_rate=16_000), legacy=True)
    return [pytest.param(pair, id=f"{number}-{name_of(pair[1])}") for number, pair in enumerate(pairs)]


def name_of(check: Any) -> str:
    return str(getattr(check, "func", check).__name__)


@pytest.mark.parametrize("pair", checks())
def test_the_checks_that_apply_pass(pair: tuple[Any, Callable[[Any], None]]):
    estimator, check = pair
    if name_of(check) in NOT_APPLICABLE:
        with pytest.raises((Exception, pytest.skip.Exception)):  # else it belongs to the others
            check(estimator)
    else:
        check(estimator)


def test_most_checks_apply_and_the_others_are_documented():
    names = {name_of(check.values[0][1]) for check in checks()}
    assert set(NOT_APPLICABLE) <= names
    assert len(names - set(NOT_APPLICABLE)) >= 30
    text = (ROOT / "docs" / "prediction.md").read_text()
    for name in NOT_APPLICABLE:
        assert f"`{name}`" in text, name


def test_columns_of_a_table(tmp_path: Path):
    table = pd.read_csv(write_corpus(tmp_path, clips=3))
    table["path"] = [str(tmp_path / name) for name in table["path"]]
    embedder = Embedder("mfcc")
    expected = embedder.transform(list(table["path"]))
    np.testing.assert_array_equal(embedder.transform(table["path"]), expected)
    np.testing.assert_array_equal(embedder.transform(table[["path"]]), expected)
    for column in ("path", ["path"]):
        columns = ColumnTransformer([("sound", Embedder("mfcc"), column)])
        np.testing.assert_array_equal(columns.fit_transform(table), expected)
