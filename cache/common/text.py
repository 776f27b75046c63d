"""Numbers, durations and lists as text; text that is safe on a terminal and in a spreadsheet."""

from __future__ import annotations

import codecs
import html
import math
import re
import sys
import unicodedata
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path

MAX_LISTED = 3
MAX_SHOWN = 60  # letters of a value in a message

# Control characters (C0, DEL, C1), line separators, characters that reverse the direction of a line, and the
# lone surrogates to which Python decodes file names that are not UTF-8.
UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
# A cell that a spreadsheet would run as a formula, after any apostrophes (OWASP, "CSV Injection").
_FORMULA = re.compile(r"'*[=+\-@\t\r\n\uff1d\uff0b\uff0d\uff20]")
_URLS: dict[str, str] = {}  # folder → the URL that it stands for
_NOT_LOCAL = r"(?!/?[^\s;,'\"]*\.(?:csv|db)\b)"
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")


def first_line(error: BaseException) -> str:
    """What an error of a library says first, or its type."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]


def format_bytes(nbytes: float) -> str:
    """1500000000 → `1.5 GB`."""
    for unit in ("B", "kB", "MB", "GB", "TB"):
        if nbytes < 999.5 or unit == "TB":
            return f"{nbytes:.0f} {unit}" if unit == "B" else f"{nbytes:.3g} {unit}"
        nbytes /= 1000
    raise AssertionError("unreachable")


def format_duration(seconds: float) -> str:
    """3725 → `1:02:05`."""
    return str(timedelta(seconds=round(seconds)))


def format_interval(low: float | None, high: float | None) -> str:
    """`[0.412, 0.538]`; empty without an interval."""
    if low is None or high is None or math.isnan(low) or math.isnan(high):
        return ""
    return f"[{low:.3f}, {high:.3f}]"


def format_percent(share: float) -> str:
    """0.998 → `99.8 %`."""
    return f"{100 * share:.1f} %"


def format_list(items: Sequence[object], *, shown: int = MAX_LISTED) -> str:
    """`a, b, c and 2 more`."""
    more = f" and {len(items) - shown} more" if len(items) > shown else ""
    return ", ".join(map(str, items[:shown])) + more


def format_count(number: int, noun: str) -> str:
    """`1 clip`, `1,935 clips`."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def shorten(text: str) -> str:
    """The beginning of a long text."""
    return text if len(text) <= MAX_SHOWN else f"{text[:MAX_SHOWN]}… ({len(text):,} letters)"


def printable(text: str, *, keep: str = "") -> str:
    """Control characters, except those in `keep`, as escapes (`\\x1b`), so that a terminal is safe.

    Folders that stand for a URL (`show_as`) are written as that URL.
    """
    return UNPRINTABLE.sub(
        lambda match: match[0] if match[0] in keep else match[0].encode("unicode_escape").decode(),
        shown(text),
    )


def show_as(folder: Path | str, url: str) -> None:
    """Let this process print the URL where a text has the folder that stands for it."""
    _URLS[str(folder)] = url


def shown(text: str) -> str:
    """A text with URLs in place of folders that stand for them; files that are only local stay."""
    for folder, url in _URLS.items():
        if folder in text:
            text = re.sub(re.escape(folder) + _NOT_LOCAL, lambda _, url=url: url, text)  # type: ignore[misc]
    return text


def visible(text: str) -> str:
    """Text as it is printed: composed, without letters that have no width, and with single spaces."""
    if not text.isascii():
        composed = unicodedata.normalize("NFKC", text)
        text = "".join(letter for letter in composed if unicodedata.category(letter) != "Cf")
    return " ".join(text.split())


def guard_cell(text: str) -> str:
    """A cell of a CSV file with an apostrophe in front if a spreadsheet would run it as a formula.

    Numbers stay as they are. `unguard_cell` gives the text back.
    """
    return f"'{text}" if _FORMULA.match(text) and not _NUMBER.fullmatch(text) else text


def spreadsheet_bytes(text: str) -> bytes:
    """A table for people as UTF-8, with a byte order mark if it has letters beyond ASCII.

    Excel reads a CSV file without the mark in the system's 8-bit encoding, and shows `غضب` as `ØºØ¶Ø¨`. A
    table in ASCII needs none. pandas, polars and this project's readers skip the mark. Bytes of file names
    that are not UTF-8 stay as they are.
    """
    data = text.encode("utf-8", "surrogateescape")
    return data if text.isascii() else codecs.BOM_UTF8 + data


def unguard_cell(text: str) -> str:
    """The text that `guard_cell`, or a spreadsheet, wrote with an apostrophe in front."""
    return text[1:] if text[:1] == "'" and _FORMULA.match(text) else text


def escape_markdown(text: str) -> str:
    """Text of a user as Markdown that shows it and nothing else, also in a table."""
    special = {ord(character): f"&#{ord(character)};" for character in "\\`*_[]|#~"}
    return html.escape(text.translate(special), quote=False).replace("&amp;#", "&#")


def program() -> str:
    """What the user types before a command: `layerprobe` once installed, `python cli.py` in a checkout."""
    return "layerprobe" if Path(sys.argv[0]).name == "layerprobe" else "python cli.py"
