"""Names that look alike."""

from __future__ import annotations

import unicodedata

import pytest

from layerprobe.classify.data.spellings import look_alikes, spelling_notes


@pytest.mark.parametrize(
    "group",
    [
        ("anna", "Anna", "ANNA"),
        ("very happy", "very  happy", " very happy"),
        ("rené", unicodedata.normalize("NFD", "rené")),
        ("anna", "anna\u200b"),
        ("1", "01", "1.0", "1,0", "1.00"),
        ("s1", "S01", "s001"),
        ("0", "0.0", "00"),
        ("0.5", "0.50", "00.5"),
        ("３", "3"),
        ("straße", "STRASSE"),
    ],
)
def test_names_that_look_alike(group):
    assert look_alikes([*group, "other", None, "", *group]) == [tuple(sorted(group))]


def test_names_that_differ():
    names = [
        "1",
        "10",
        "1.1",
        "1.01",
        "0.5",
        "0.05",
        "5",
        "s1",
        "s10",
        "s11",
        "a b",
        "ab",
        "-1",
        "100",
        "anna",
        "ana",
    ]
    assert look_alikes(names) == []


def test_a_note_shows_what_differs():
    labels = ["anger", "Anger", "calm"]
    speakers = ["rené", unicodedata.normalize("NFD", "rené"), None]
    assert spelling_notes(target="emotion", labels=labels, speakers=speakers) == [
        "labels of 'emotion' that look alike count as different: 'Anger' and 'anger'; spell each in one way",
        "speakers that look alike count as different: 'rene\\u0301' and 'ren\\xe9'; spell each in one way",
    ]
    assert spelling_notes(target="emotion", labels=["a", "b"], speakers=[]) == []
