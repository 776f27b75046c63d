"""Names from files never reach the terminal raw."""

from __future__ import annotations

import json
import sys
from types import ModuleType

import pytest

from layerprobe.cache.common.console import escaped_stdout, print_json, print_table, progress, say_error

EVIL = "\x1b]0;owned\x07\x9b2J\x7f\u202e"


def controls(text: str) -> set[str]:
    return {letter for letter in text if letter in EVIL and not letter.isalnum() and letter not in "];"}


def test_tables_notes_and_plain_lines(capsys):
    with escaped_stdout():
        print_table([{f"as {EVIL}": f"a\n{EVIL}", "n": 1}], title=EVIL)
        print(f"run folder {EVIL}")
        assert sys.stdout.encoding
    say_error(f"error: {EVIL}\nfile", "  second line")
    printed, notes = capsys.readouterr()
    assert controls(printed + notes) == set()
    assert printed.count("\n") == 5
    assert notes.count("\n") == 2
    assert r"\nfile" in notes
    assert notes.splitlines()[1] == "  second line"
    print(EVIL)
    assert capsys.readouterr().out == f"{EVIL}\n"


def test_json_is_the_same_text(capsys):
    print_json({"label": EVIL, "file": "caf\udce9.wav"})
    printed = capsys.readouterr().out
    assert controls(printed) == set()
    assert json.loads(printed) == {"label": EVIL, "file": "caf\udce9.wav"}


@pytest.fixture
def terminal(monkeypatch):
    """A function that makes stdout a terminal with so many columns."""

    def resize(columns: int) -> None:
        monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
        monkeypatch.setenv("COLUMNS", str(columns))

    return resize


ROWS = [
    {"name": "wav2vec2", "where": "facebook/wav2vec2-base on the hub, or a folder", "layers": 13},
    {"name": "mfcc", "where": "", "layers": 1},
]


def test_a_narrow_terminal_gets_cells_broken_between_words(capsys, terminal):
    terminal(42)
    print_table(ROWS)
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= 42
    assert lines[2].split() == ["wav2vec2", "facebook/wav2vec2-base", "13"]
    assert lines[3].strip() == "on the hub, or a folder"
    assert lines[4].split() == ["mfcc", "1"]
    terminal(200)
    print_table(ROWS)
    assert len(capsys.readouterr().out.splitlines()) == 4


def test_a_terminal_that_is_narrower_than_words_gets_a_list_per_row(capsys, terminal):
    terminal(30)
    print_table(ROWS)
    assert capsys.readouterr().out.splitlines() == [
        "name    wav2vec2",
        "where   facebook/wav2vec2-base on the hub, or a folder",
        "layers  13",
        "",
        "name    mfcc",
        "layers  1",
    ]


def test_piped_output_is_never_broken(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "20")
    print_table(ROWS)
    assert len(capsys.readouterr().out.splitlines()) == 4


def test_progress_in_a_notebook_is_one_bar_that_is_updated(monkeypatch):
    drawn: list[str] = []

    class Handle:
        def update(self, bar):
            drawn.append(bar._repr_html_())

    def display(bar, *, display_id):
        assert display_id
        drawn.append(bar._repr_html_())
        return Handle()

    ipython, shell = ModuleType("IPython"), type("ZMQInteractiveShell", (), {})()
    shown = ModuleType("IPython.display")
    ipython.get_ipython, shown.display = lambda: shell, display  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "IPython", ipython)
    monkeypatch.setitem(sys.modules, "IPython.display", shown)
    with progress("<b>embed") as line:
        line.update(0.25, "1/4")
    assert len(drawn) == 2
    assert drawn[-1] == '<div>&lt;b&gt;embed <progress value="0.250" max="1"></progress> 1/4</div>'
