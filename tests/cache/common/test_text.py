"""Text that is safe on a terminal and in a spreadsheet."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from layerprobe.cache.common.text import (
    escape_markdown,
    guard_cell,
    printable,
    spreadsheet_bytes,
    unguard_cell,
)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\x1b[31mred\x1b[0m", r"\x1b[31mred\x1b[0m"),
        ("\x1b]0;title\x07", r"\x1b]0;title\x07"),
        ("\x9b31m", r"\x9b31m"),
        ("a\rb\nc\td\x7f", r"a\rb\nc\td\x7f"),
        ("\u202etxt.wav\u2028", r"\u202etxt.wav\u2028"),
        ("caf\udce9.wav", r"caf\udce9.wav"),
        ("سعيد fröh 日本 👍🏽 a\u200db", "سعيد fröh 日本 👍🏽 a\u200db"),
    ],
)
def test_control_characters_are_printed_as_escapes(text, shown):
    assert printable(text) == shown
    assert printable(f"{text}\n", keep="\n") == f"{shown}\n".replace(r"b\nc", "b\nc")


@given(st.text(alphabet="'=+-@\t\r1.ae") | st.text())
def test_a_guarded_cell_is_read_back(text):
    assert unguard_cell(guard_cell(text)) == text
    assert guard_cell(text)[:1] not in ("=", "@", "\t", "\r", "\n")


def test_markdown_shows_a_text_as_it_is():
    assert escape_markdown("&#60;b&#62; | <i>") == "&amp;&#35;60;b&amp;&#35;62; &#124; &lt;i&gt;"
    assert escape_markdown("a_b* [x](y)") == "a&#95;b&#42; &#91;x&#93;(y)"


def test_a_table_beyond_ascii_begins_with_the_mark_that_excel_reads_utf_8_by():
    assert spreadsheet_bytes("label\nangry\n") == b"label\nangry\n"
    assert spreadsheet_bytes("label\nغضب\n") == b"\xef\xbb\xbf" + "label\nغضب\n".encode()
    assert spreadsheet_bytes("caf\udce9") == b"\xef\xbb\xbfcaf\xe9"
