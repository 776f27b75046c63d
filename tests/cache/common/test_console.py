"""Names from files never reach the terminal raw."""

from __future__ import annotations

import json
import sys

from layerprobe.cache.common.console import escaped_stdout, print_json, print_table, say

EVIL = "\x1b]0;owned\x07\x9b2J\x7f\u202e"


def controls(text: str) -> set[str]:
    return {letter for letter in text if letter in EVIL and not letter.isalnum() and letter not in "];"}


def test_tables_notes_and_plain_lines(capsys):
    with escaped_stdout():
        print_table([{f"as {EVIL}": f"a\n{EVIL}", "n": 1}], title=EVIL)
        print(f"run folder {EVIL}")
        assert sys.stdout.encoding
    say(f"error: {EVIL}\n  second line")
    printed, notes = capsys.readouterr()
    assert controls(printed + notes) == set()
    assert printed.count("\n") == 5
    assert notes.splitlines()[1] == "  second line"
    print(EVIL)
    assert capsys.readouterr().out == f"{EVIL}\n"


def test_json_is_the_same_text(capsys):
    print_json({"label": EVIL, "file": "caf\udce9.wav"})
    printed = capsys.readouterr().out
    assert controls(printed) == set()
    assert json.loads(printed) == {"label": EVIL, "file": "caf\udce9.wav"}
