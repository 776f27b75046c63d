"""Names that look alike."""

from __future__ import annotations

import unicodedata

import pytest

from layerprobe.classify.data.spellings import look_alikes, spelling_notes, unknown_column


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
        ("anna-maria", "anna_maria", "Anna Maria", "anna maria."),
        ("o'neil", "o’neil", "O'NEIL"),
        ("F 01", "F01", "f-1"),
        ("1e0", "+1", "1.", "1"),
        (".5", "0.5"),
        ("0", "-0"),
        ("١", "1", "۱"),
        ("İzmir", "izmir", "IZMIR"),
        ("anna", "\u0430nn\u0430", "ANN\u0410"),  # Cyrillic а
        ("أحمد", "أَحْمَد", "أحمـد"),  # with signs of vowels, stretched
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
        "1-2",
        "12",
        "1 2 3",
        "muller",
        "müller",
        "e5",
    ]
    assert look_alikes(names) == []


def test_a_note_shows_what_differs():
    labels = ["anger", "Anger", "calm"]
    speakers = ["rené", unicodedata.normalize("NFD", "rené"), None]
    assert spelling_notes(target="emotion", labels=labels, speakers=speakers) == [
        "labels of 'emotion' that look alike count as different: 'Anger' and 'anger'; spell each in one way",
        "speakers that look alike count as different: 'rene\\u0301' and 'ren\\xe9'; spell each in one way",
    ]
    (note,) = spelling_notes(target="emotion", labels=["Anna", "\u0410nna"], speakers=[])
    assert r"'Anna' and '\u0410nna'" in note
    assert spelling_notes(target="emotion", labels=["a", "b"], speakers=[]) == []


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("emotion", "EMOTION"),
        ("Emotion ", "EMOTION"),
        ("arousl", "arousal"),
        ("p-sad", "p_sad"),
        ("mood", ""),
    ],
)
def test_an_unknown_column_suggests_the_one_that_was_meant(name, meant):
    line = str(unknown_column(name, ["EMOTION", "arousal", "p_sad"], option="--target"))
    assert line.startswith(f"no column '{name}' in the table; ")
    assert line.endswith("choose --target from EMOTION, arousal, p_sad")
    assert ("did you mean" in line) == bool(meant)
    assert (f"did you mean '{meant}'?" in line) == bool(meant)


def test_a_table_without_columns_suggests_none():
    assert str(unknown_column("emotion", [])) == "no column 'emotion' in the table; choose from none"
