"""Names from tables as text, in every format."""

from __future__ import annotations

import pytest

from layerprobe.classify.report.escape import isolated, latex, markdown, plotly, shorten
from layerprobe.classify.report.tables import Cell, Table, to_latex, to_markdown


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("\x1b[31mred", "\\x1b[31mred"),
        ("a\u202eb", "a\\u202eb"),
        ("a\nb\tc", "a\\nb\\tc"),
        ("فرح", "فرح"),
        ("می\u200cخواهم", "می\u200cخواهم"),
        ("\udcff.wav", "\\udcff.wav"),
    ],
)
def test_control_characters_are_shown_and_letters_stay(name, shown):
    assert shorten(name) == plotly(name) == shown


def test_names_from_right_to_left_leave_the_numbers_beside_them_in_place():
    """A minus sign after an Arabic word was shown behind its number."""
    assert isolated("غضب -16.8 <b>") == "<bdi>غضب</bdi> -16.8 &lt;b&gt;"
    assert isolated("حزن شديد: 3") == "<bdi>حزن شديد</bdi>: 3"
    assert isolated("می\u200cخواهم") == "<bdi>می\u200cخواهم</bdi>"
    assert isolated("anger: 3") == "anger: 3"


def test_tags_and_entities_are_text_in_plotly():
    assert plotly("<b>a</b> &amp; b") == "&lt;b&gt;a&lt;/b&gt; &amp;amp; b"


@pytest.mark.parametrize("character", '&%$#_{}~^\\<>|"')
def test_no_character_is_special_in_latex(character):
    escaped = latex(f"a{character}b")
    assert escaped != f"a{character}b"
    assert escaped.startswith("a")
    assert escaped.endswith("b")
    assert "\\" in escaped


@pytest.mark.parametrize("character", "\\`*_{}[]<>#|~!&$")
def test_no_character_is_special_in_markdown(character):
    assert markdown(f"a{character}b") == f"a\\{character}b"


def test_a_long_name_is_cut_for_figures():
    assert shorten("x" * 100, longest=10) == "x" * 9 + "…"
    assert shorten("short", longest=10) == "short"


def made_table() -> Table:
    rows: list[list[Cell]] = [["a & b", 1, 0.12345, None], ["x|y", 2, 0.5, None]]
    return Table(name="t", title="100 % of $x$", columns=("name_1", "clips", "UAR", "more"), rows=rows)


def test_a_latex_table_has_the_rules_of_booktabs_and_aligns_numbers():
    text = to_latex(made_table())
    assert r"\begin{tabular}{lrrl}" in text
    assert text.count(r"\toprule") == text.count(r"\midrule") == text.count(r"\bottomrule") == 1
    assert r"a \& b & 1 & 0.123 &  \\" in text
    assert r"\caption{100 \% of \$x\$}" in text
    assert r"name\_1 & clips & UAR & more \\" in text


def test_a_markdown_table_keeps_its_columns():
    lines = to_markdown(made_table()).splitlines()
    assert lines[1] == "| --- | ---: | ---: | --- |"
    assert lines[3] == r"| x\|y | 2 | 0.500 |  |"
    assert lines[2] == r"| a \& b | 1 | 0.123 |  |"
