"""Errors: one clear line with what, where and what to do, also after pickling."""

from __future__ import annotations

import pickle

import pytest

from layerprobe.cache.common.errors import (
    ClipError,
    InputError,
    ManifestError,
    MissingStatesError,
    ModelError,
    NotFiniteError,
    Problem,
    StoreError,
)


@pytest.mark.parametrize(
    ("given", "line"),
    [
        ({}, "empty"),
        ({"where": "a.wav"}, "a.wav: empty"),
        ({"do": "record again"}, "empty; record again"),
        ({"where": "a.wav", "do": "record again"}, "a.wav: empty; record again"),
    ],
)
def test_an_error_says_what_where_and_what_to_do(given, line):
    assert str(InputError("empty", **given)) == line


def test_names_with_line_ends_and_escape_sequences_stay_in_their_line():
    error = InputError("is\nodd", where="a\n.wav", do="rename \x1b[31m it")
    assert str(error) == r"a\n.wav: is\nodd; rename \x1b[31m it"
    assert error.lines() == [str(error)]
    many = ManifestError("t\n.csv", [Problem(1, "bad\nname"), Problem(2, "x")], do="mend")
    assert many.lines() == [r"t\n.csv: 2 problems:", r"  row 1: bad\nname", "  row 2: x", "  mend"]
    assert str(many) == "\n".join(many.lines())


def test_the_reason_of_a_clip_error_omits_the_location():
    assert ClipError("empty", where="a.wav", do="record again").reason == "empty; record again"
    assert ClipError("empty", where="a.wav").reason == "empty"


def test_one_problem_of_a_table_is_one_line():
    assert str(ManifestError("t.csv", [Problem(3, "no path")])) == "t.csv: row 3: no path"


def test_many_problems_are_listed_and_counted():
    error = ManifestError(
        "t.csv", [Problem(None, "no column")] + [Problem(i, "bad") for i in range(1, 30)], do="mend"
    )
    lines = str(error).split("\n  ")
    assert lines[0] == "t.csv: 30 problems:"
    assert lines[1:3] == ["no column", "row 1: bad"]
    assert lines[-2:] == ["… and 10 more", "mend"]
    assert len(error.problems) == 30


@pytest.mark.parametrize(
    "error",
    [
        InputError("a", where="b", do="c"),
        ManifestError("t.csv", [Problem(1, "x"), Problem(2, "y")], do="z"),
        MissingStatesError("gone", keys=["k"], where="w"),
        *[kind("a", where="b") for kind in (ClipError, ModelError, StoreError, NotFiniteError)],
    ],
    ids=lambda error: type(error).__name__,
)
def test_errors_survive_pickling(error):
    back = pickle.loads(pickle.dumps(error))
    assert type(back) is type(error)
    assert str(back) == str(error)
    assert vars(back) == vars(error)
    assert isinstance(back, InputError)
