"""Spreadsheets: .xlsx, .xlsm, .xls and .ods, by python-calamine."""

from __future__ import annotations

from datetime import date, datetime, time, timedelta
from pathlib import Path
from typing import Any

from layerprobe.cache.common.errors import InputError
from layerprobe.cache.common.text import format_list, shorten
from layerprobe.embed.manifest.readers.table import Table

SPREADSHEETS = (".xlsx", ".xlsm", ".xls", ".ods")
EXTRA = "spreadsheets"


def read_spreadsheet(path: Path, sheet: str | None) -> Table:
    """Read a sheet, by default the first visible one with cells. The first row with cells is the header.

    Numbers are written as in the sheet (1, not 1.0), dates as ISO 8601. Rows have the sheet's own numbers.
    Raises ValueError for a file that cannot be read, InputError without python-calamine.
    """
    try:
        from python_calamine import CalamineError, CalamineWorkbook
    except ImportError as error:
        do = f"pip install 'layerprobe[{EXTRA}]', or save the table as CSV"
        raise InputError("spreadsheets need python-calamine", where=str(path), do=do) from error
    try:
        with path.open("rb") as file:
            return _read(CalamineWorkbook.from_filelike(file), sheet)
    except CalamineError as error:
        raise ValueError(shorten(" ".join(str(error).split()))) from error
    except BaseException as error:
        if type(error).__name__ != "PanicException":  # how a fault in calamine, which is in Rust, arrives
            raise
        raise ValueError("it is damaged") from error


def _read(book: Any, wanted: str | None) -> Table:
    from python_calamine import SheetVisibleEnum

    visible = [s.name for s in book.sheets_metadata if s.visible == SheetVisibleEnum.Visible]
    listed = format_list([f"'{name}'" for name in book.sheet_names])
    if wanted is not None and wanted not in book.sheet_names:
        raise ValueError(f"it has no sheet '{wanted}'; its sheets are {listed}")
    notes: list[str] = []
    for name in [wanted] if wanted is not None else visible or book.sheet_names:
        sheet = book.get_sheet_by_name(name)
        rows = [[_text(cell) for cell in row] for row in sheet.to_python(skip_empty_area=True)]
        blank = next((number for number, row in enumerate(rows) if any(row)), None)
        if blank is not None:
            break
    else:
        return Table([], [])
    if wanted is None and len(visible) > 1:
        notes.append(f"sheet '{name}' is read, of {listed}; write FILE#SHEET for another")
    first = (sheet.start or (0, 0))[0] + blank + 1  # the header's number in the sheet
    merged = [area for area in sheet.merged_cell_ranges or () if area[1][0] >= first]
    if merged:
        area = ":".join(_cell_name(*corner) for corner in merged[0])
        notes.append(f"has merged cells ({area}): the first of them has the value, the others are empty")
    header, *others = rows[blank:]
    while header and not header[-1] and not any(row[len(header) - 1] for row in others):
        header.pop()
        for row in others:
            row.pop()
    return Table(
        header,
        [row if any(row) else [] for row in others],
        notes=tuple(notes),
        decimal_comma=True,  # of cells of text
        first_row=first + 1,
        place=f"sheet '{name}'",
    )


def _text(value: object) -> str:
    if isinstance(value, bool):
        return str(value).upper()
    if isinstance(value, float):
        return str(int(value)) if value.is_integer() and abs(value) < 1e15 else repr(value)
    if isinstance(value, datetime):
        return value.isoformat(sep=" ")
    if isinstance(value, date | time):
        return value.isoformat()
    if isinstance(value, timedelta):
        return f"{value.total_seconds():.9f}".rstrip("0").rstrip(".")
    return str(value)


def _cell_name(row: int, column: int) -> str:
    """`A1` for (0, 0)."""
    letters = ""
    column += 1
    while column:
        column, letter = divmod(column - 1, 26)
        letters = chr(ord("A") + letter) + letters
    return f"{letters}{row + 1}"
