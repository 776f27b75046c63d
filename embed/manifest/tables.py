"""Tables as text: CSV, TSV, JSON lines and Parquet, each cell read exactly as written.

Tables are not read through a data frame, because a data frame guesses types: a label `01` would become the
number 1, and a column with one empty cell would turn 0 into 0.0.
"""

from __future__ import annotations

import codecs
import csv
import io
import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from layerprobe.cache.common.disk import write_atomically
from layerprobe.cache.common.errors import InputError, ManifestError, Problem
from layerprobe.cache.common.text import guard_cell, shorten, unguard_cell

DELIMITERS = {".csv": ",", ".tsv": "\t"}
PARQUET = (".parquet", ".pq")
SUFFIXES = (*DELIMITERS, *PARQUET)  # that can be written
JSON_LINES = (".jsonl", ".ndjson")
TEXT = (*DELIMITERS, ".txt")
ANNOTATIONS = (".textgrid", ".eaf", ".trs", ".lab", ".ctm", ".rttm", ".srt", ".vtt")
_OTHER_DELIMITERS = ",;\t|"
_PARQUET_ROW_NAMES = "__index_level_"  # what pandas calls row names that have no name of their own

Cell = str | float | None


@dataclass(frozen=True)
class Table:
    """`rows[i][j]` is the text in row i of column `columns[j]`, '' where the cell is empty.

    A row may have too many or too few cells, as in the file; a blank line is a row without cells, so that row
    numbers are those of the file. notes: what the user should know about how it was read. decimal_comma:
    cells are not separated by commas, so a comma in a number is its decimal point.
    """

    columns: list[str]
    rows: list[list[str]]
    notes: tuple[str, ...] = field(default=(), compare=False)
    decimal_comma: bool = field(default=False, compare=False)


def read_table(path: Path) -> Table:
    """Read a table by its extension, in the encoding and with the delimiter that it has.

    Raises ManifestError where it is missing or cannot be read.
    """
    suffix = path.suffix.lower()
    if path.is_dir():
        raise _error(path, "is a folder, not a table", do="make a table of it with `manifest folder`")
    if not path.exists():
        raise _error(path, "no such table")
    try:
        if suffix in PARQUET:
            return _read_parquet(path)
        if suffix in JSON_LINES:
            return _read_json_lines(path)
        if suffix in TEXT:
            return _read_text(path, DELIMITERS.get(suffix, "\t"))
    except (OSError, ValueError, NotImplementedError) as error:  # pyarrow's are of these kinds
        raise _error(path, f"cannot be read ({error})") from error
    if suffix in ANNOTATIONS:
        do = "write its segments as a table with the columns path, start, end and the label"
        raise _error(path, f"is an annotation file ({suffix}), not a table", do=do)
    what = f"is not a table that can be read ({suffix or 'no extension'})"
    raise _error(path, what, do=f"use one of {', '.join((*SUFFIXES, *JSON_LINES))}")


def write_table(columns: Mapping[str, Sequence[Cell]], out: Path) -> None:
    """Write equally long columns of text or numbers; None is an empty cell. Raises InputError.

    An existing table is replaced at once, or stays as it is if writing fails.
    """
    suffix = out.suffix.lower()
    if suffix not in SUFFIXES:
        what = f"is not a kind of table ({suffix or 'no extension'})"
        raise InputError(what, where=str(out), do=f"use one of {', '.join(SUFFIXES)}")
    try:
        data = _parquet_bytes(columns) if suffix in PARQUET else _text_bytes(columns, DELIMITERS[suffix])
        out.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(out, data)
    except UnicodeEncodeError as error:
        what = f"{_not_unicode(columns)!r} is not Unicode"
        raise InputError(what, where=str(out), do="rename it") from error
    except OSError as error:
        raise InputError(f"cannot be written ({error.strerror or error})", where=str(out)) from error


def _error(path: Path, what: str, *, do: str = "") -> ManifestError:
    return ManifestError(str(path), [Problem(None, what)], do=do)


def _read_text(path: Path, delimiter: str) -> Table:
    text, note = _decode(path.read_bytes())
    if text.startswith("sep=") and len(first := text.partition("\n")[0].strip()) == 5:
        delimiter, text = first[4], text.partition("\n")[2]  # Excel's
    else:
        delimiter = _delimiter(text, delimiter)
    reader, rows, line = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True), [], 1
    try:
        for row in reader:
            rows.append([unguard_cell(cell) if cell[:1] == "'" else cell for cell in row])
            line = reader.line_num + 1
    except csv.Error as error:
        # Read leniently, a quote that is not closed would swallow all rows after it.
        unclosed = str(error) == "unexpected end of data"
        what = "a quote is opened and never closed" if unclosed else str(error)
        raise ValueError(f"{what}, in the row that begins on line {line}") from error
    header, *others = rows or [[]]
    return Table(header, others, notes=(note,) if note else (), decimal_comma=delimiter != ",")


def _decode(data: bytes) -> tuple[str, str]:
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


def _delimiter(text: str, usual: str) -> str:
    """The usual delimiter if the header has it, else the one that gives the header the most columns."""
    counts = dict.fromkeys(usual + _OTHER_DELIMITERS, 1)
    for mark in counts:
        with suppress(csv.Error):  # which is reported when the rows are read
            counts[mark] = len(
                next(csv.reader(io.StringIO(text, newline=""), delimiter=mark, strict=True), [])
            )
    return usual if counts[usual] > 1 else max(counts, key=counts.__getitem__)


def _read_json_lines(path: Path) -> Table:
    """One object a line; numbers are read as they are written, and null is an empty cell."""
    text, note = _decode(path.read_bytes())
    rows: list[dict[str, Any]] = []
    for number, line in enumerate(text.split("\n"), start=1):
        try:
            row = json.loads(line, parse_int=str, parse_float=str) if line.strip() else {}
        except ValueError as error:
            raise ValueError(f"line {number} is not JSON: {error}") from error
        if not isinstance(row, dict):
            raise ValueError(f"line {number} is no JSON object")
        nested = [name for name, value in row.items() if isinstance(value, dict | list)]
        if nested:
            raise ValueError(f"line {number}: '{nested[0]}' holds a list or an object, not text or a number")
        rows.append(row)
    columns = list(dict.fromkeys(name for row in rows for name in row))
    cells = [[_text(row.get(name)) for name in columns] if row else [] for row in rows]
    return Table(columns, cells, notes=(note,) if note else ())


def _text_bytes(columns: Mapping[str, Sequence[Cell]], delimiter: str) -> bytes:
    texts = [[guard_cell(_text(cell)) for cell in cells] for cells in columns.values()]
    names = list(map(guard_cell, columns))
    # The reader ends a line at a lone carriage return, but the writer does not quote a cell that has one.
    returns = any("\r" in text for column in [names, *texts] for text in column)
    file = io.StringIO()
    writer = csv.writer(
        file,
        delimiter=delimiter,
        lineterminator="\n",
        quoting=csv.QUOTE_ALL if returns else csv.QUOTE_MINIMAL,
    )
    writer.writerow(names)
    writer.writerows(zip(*texts, strict=True))
    return file.getvalue().encode()


def _read_parquet(path: Path) -> Table:
    import pyarrow as pa
    import pyarrow.parquet as pq

    table = pq.read_table(path)
    names: list[str] = []
    columns: list[list[str]] = []
    for name in table.column_names:
        cells, kind = table[name], table[name].type
        if name.startswith(_PARQUET_ROW_NAMES):
            continue
        if pa.types.is_duration(kind):
            nanoseconds = cells.cast(pa.duration("ns")).cast(pa.int64()).to_pylist()
            values: list[Any] = [None if v is None else v / 1e9 for v in nanoseconds]
        elif pa.types.is_nested(kind):
            raise ValueError(f"column '{name}' holds {kind}, not text or numbers; leave that column out")
        else:
            values = cells.to_pylist()
        if any(isinstance(value, bytes) for value in values):
            values = _decoded(name, values)
        names.append(name)
        columns.append([_text(value) for value in values])
    return Table(names, [list(row) for row in zip(*columns, strict=True)])


def _parquet_bytes(columns: Mapping[str, Sequence[Cell]]) -> bytes:
    import pyarrow as pa
    import pyarrow.parquet as pq

    arrays = {}
    for name, cells in columns.items():
        is_number = any(isinstance(cell, float) for cell in cells)
        arrays[name] = pa.array(cells, type=pa.float64() if is_number else pa.string())
    file = io.BytesIO()
    pq.write_table(pa.table(arrays), file)
    return file.getvalue()


def _decoded(name: str, values: Sequence[bytes | None]) -> list[str | None]:
    """Text that a writer stored as bytes. Raises ValueError for other bytes, such as sound."""
    try:
        return [None if value is None else value.decode() for value in values]
    except UnicodeDecodeError as error:
        raise ValueError(
            f"column '{name}' holds bytes, not text or numbers; leave that column out"
        ) from error


def _text(value: object) -> str:
    """The text of a cell; '' for None and NaN."""
    if isinstance(value, bool):
        return str(value)
    return "" if value is None or value != value else str(value)  # NaN differs from itself


def _not_unicode(columns: Mapping[str, Sequence[Cell]]) -> str:
    """The first name or cell with a lone surrogate, to which Python decodes file names that are not UTF-8."""
    texts = (_text(cell) for name, cells in columns.items() for cell in (name, *cells))
    return next(text for text in texts if any("\ud800" <= letter <= "\udfff" for letter in text))
