"""A table of text cells, and how readers report faults in one."""

from __future__ import annotations

import codecs
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from layerprobe.cache.common.errors import ManifestError, Problem
from layerprobe.cache.common.text import shorten


@dataclass(frozen=True)
class Table:
    """`rows[i][j]` is the text in row i of column `columns[j]`, '' where the cell is empty.

    A row may have too many or too few cells, as in the file; a blank line is a row without cells, so that row
    numbers are those of the file. notes: what the user should know about how it was read. decimal_comma:
    cells are not separated by commas, so a comma in a number is its decimal point. path_column: the column of
    paths where the format decides it. first_row: number of the first row in messages. place: the part of the
    file that was read, such as a sheet. folder: where relative paths start, if not in the file's folder.
    """

    columns: list[str]
    rows: list[list[str]]
    notes: tuple[str, ...] = field(default=(), compare=False)
    decimal_comma: bool = field(default=False, compare=False)
    path_column: str | None = field(default=None, compare=False)
    first_row: int = field(default=1, compare=False)
    place: str = field(default="", compare=False)
    folder: Path | None = field(default=None, compare=False)


def table_error(path: Path, what: str | Sequence[str], *, do: str = "") -> ManifestError:
    """The error of a table with one or more faults that concern no single row."""
    faults = [what] if isinstance(what, str) else what
    return ManifestError(str(path), [Problem(None, fault) for fault in faults], do=do)


def reason_of(error: Exception) -> str:
    """Why a file cannot be read, without the number and the path that the system adds."""
    return error.strerror if isinstance(error, OSError) and error.strerror else str(error)


def decode(data: bytes) -> tuple[str, str]:
    """The text of a file, and a note where its encoding is a guess. Raises ValueError."""
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return data.decode("utf-16"), ""
    try:
        return data.decode("utf-8-sig"), ""
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        if b"\0" in data:
            raise ValueError(f"line {line} is not text; save the table as UTF-8") from error
        try:
            text = data.decode("cp1252")
        except UnicodeDecodeError:
            raise ValueError(f"line {line} is not UTF-8; save the table as UTF-8") from error
        example = shorten(text.split("\n")[line - 1].strip())
        return text, f"is not UTF-8 and is read as Western European (cp1252); line {line}: '{example}'"


def cell_text(value: object) -> str:
    """The text of a cell; '' for None and NaN."""
    if isinstance(value, bool):
        return str(value)
    return "" if value is None or value != value else str(value)  # NaN differs from itself
