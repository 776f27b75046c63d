"""Columns as numbers: what is read, what is refused and in which words, what looks measured."""

from __future__ import annotations

import numpy as np
import pytest

from layerprobe.cache.common.errors import InputError
from layerprobe.classify.tasks.regression import REGRESSION, check_classes_meant, is_measured, parts, read
from layerprobe.classify.tasks.task import Reading


def test_numbers_are_read_as_they_are_written():
    labels = read(["a", "b", "c"], ["1", "-2.5e1", " 0.5"], "arousal", Reading())
    assert labels.classes == ()
    assert labels.y.tolist() == [1.0, -25.0, 0.5]


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        (["1", "high", "2"], r"column 'x' holds 1 cell that is no number \(c1: 'high'\); write finite"),
        (
            ["1", "3,5", "inf", "nan"],
            r"holds 3 cells that are no numbers \(c1: '3,5', c2: 'inf', c3: 'nan'\)",
        ),
        (["1_000", "2"], r"c0: '1_000'"),
        (["2", "2.0"], "column 'x' holds one value only, 2; a regression needs numbers that differ"),
        ([], "column 'x' holds no number at all"),
        (
            ["1e300", "2"],
            r"holds numbers from 2 to 1e\+300, whose squares are out of range of double precision; write",
        ),
        (["1e-300", "2e-300"], "holds numbers from 1e-300 to 2e-300, whose squares are out of range"),
    ],
)
def test_what_is_no_column_of_numbers(texts, message):
    with pytest.raises(InputError, match=message):
        read([f"c{number}" for number in range(len(texts))], texts, "x", Reading())


@pytest.mark.parametrize(
    ("texts", "measured"),
    [
        (["0", "1", "2"], False),  # levels
        ([str(number) for number in range(10)], False),
        ([str(number) for number in range(11)], True),
        (["0.5", "1"], False),
        (["0.5", "1", "1.5"], True),
        (["1", "2", "three"], False),
        (["inf", *map(str, range(20))], False),
        ([], False),
    ],
)
def test_what_looks_measured(texts, measured):
    assert is_measured(texts) == measured


def test_a_column_that_looks_measured_is_asked_about():
    check_classes_meant(["a", "b"], "x")
    with pytest.raises(
        InputError, match="column 'x' holds 48 different numbers: are they measured, or class"
    ):
        check_classes_meant([f"{number / 7:.3f}" for number in range(48)], "x")


def test_groups_have_equally_many_clips_and_names_with_their_ends():
    y = np.arange(9.0)[::-1]
    names, codes = parts(y)
    assert names == ("up to 2", "2 to 5", "over 5")
    assert codes.tolist() == [2, 2, 2, 1, 1, 1, 0, 0, 0]
    names, codes = parts(np.array([0.0, 0.0, 0.0, 0.0, 1.0]))
    assert names == ("up to 0", "over 0")
    assert codes.tolist() == [0, 0, 0, 0, 1]


def test_strata_are_fifths_of_the_clips():
    strata = REGRESSION.strata(np.random.default_rng(0).standard_normal(100))
    assert np.bincount(strata).tolist() == [20] * 5
    assert REGRESSION.strata(np.array([1.0, 1.0, 1.0, 2.0])).tolist() == [0, 0, 0, 1]
