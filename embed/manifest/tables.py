"""Tables as text: CSV, TSV and Parquet, each cell read exactly as written, and paths in their cells.

Tables are not read through a data frame, because a data frame guesses types: a label `01` would become the
number 1, and a column with one empty cell would turn 0 into 0.0.
"""

from __future__ import annotations

import csv
import io
import os
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from layerprobe.cache.common.disk import write_atomically
from layerprobe.cache.common.errors import InputError, ManifestError, Problem

DELIMITERS = {".csv": ",", ".tsv": "\t"}
PARQUET = (".parquet", ".pq")
SUFFIXES = (*DELIMITERS, *PARQUET)
_USE_KNOWN_SUFFIX = f"use one of {', '.join(SUFFIXES)}"
_PARQUET_ROW_NAMES = "__index_level_"  # what pandas calls row names that have no name of their own

Cell = str | float | None


@dataclass(frozen=True)
class Table:
    """`rows[i][j]` is the text in row i of column `columns[j]`, '' where the cell is empty.

    A row may have too many or too few cells, as in the file; a blank line is a row without cells, so that row
    numbers are those of the file.
    """

    columns: list[str]
    rows: list[list[str]]


def read_table(path: Path) -> Table:
    """Read a table by its extension. Raises ManifestError where it is missing or cannot be read."""
    suffix = path.suffix.lower()
    if path.is_dir():
        raise _error(path, "is a folder, not a table", do="make a table of it with `manifest folder`")
    if not path.exists():
        raise _error(path, "no such table")
    if suffix not in SUFFIXES:
        what = f"is not a table that can be read ({suffix or 'no extension'})"
        raise _error(path, what, do=_USE_KNOWN_SUFFIX)
    try:
        return _read_parquet(path) if suffix in PARQUET else _read_text(path, DELIMITERS[suffix])
    except UnicodeDecodeError as error:
        raise _error(path, f"is not UTF-8 text (byte {error.start})", do="save it as UTF-8") from error
    except (OSError, ValueError, NotImplementedError) as error:  # pyarrow's are of these kinds
        raise _error(path, f"cannot be read ({error})") from error


def write_table(columns: Mapping[str, Sequence[Cell]], out: Path) -> None:
    """Write equally long columns of text or numbers; None is an empty cell. Raises InputError.

    An existing table is replaced at once, or stays as it is if writing fails.
    """
    suffix = out.suffix.lower()
    if suffix not in SUFFIXES:
        what = f"is not a kind of table ({suffix or 'no extension'})"
        raise InputError(what, where=str(out), do=_USE_KNOWN_SUFFIX)
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
    with path.open(encoding="utf-8-sig", newline="") as file:
        reader, rows, line = csv.reader(file, delimiter=delimiter, strict=True), [], 1
        try:
            for row in reader:
                rows.append(row)
                line = reader.line_num + 1
        except csv.Error as error:
            # Read leniently, a quote that is not closed would swallow all rows after it.
            unclosed = str(error) == "unexpected end of data"
            what = "a quote is opened and never closed" if unclosed else str(error)
            raise ValueError(f"{what}, in the row that begins on line {line}") from error
    return Table(rows[0], rows[1:]) if rows else Table([], [])


def _text_bytes(columns: Mapping[str, Sequence[Cell]], delimiter: str) -> bytes:
    texts = [[_text(cell) for cell in cells] for cells in columns.values()]
    # The reader ends a line at a lone carriage return, but the writer does not quote a cell that has one.
    returns = any("\r" in text for column in [list(columns), *texts] for text in column)
    file = io.StringIO()
    writer = csv.writer(
        file,
        delimiter=delimiter,
        lineterminator="\n",
        quoting=csv.QUOTE_ALL if returns else csv.QUOTE_MINIMAL,
    )
    writer.writerow(columns)
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
        elif pa.types.is_nested(kind) or pa.types.is_binary(kind) or pa.types.is_large_binary(kind):
            raise ValueError(f"column '{name}' holds {kind}, not text or numbers; leave that column out")
        else:
            values = cells.to_pylist()
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


def _text(value: object) -> str:
    return "" if value is None else str(value)


def _not_unicode(columns: Mapping[str, Sequence[Cell]]) -> str:
    """The first name or cell with a lone surrogate, to which Python decodes file names that are not UTF-8."""
    texts = (_text(cell) for name, cells in columns.items() for cell in (name, *cells))
    return next(text for text in texts if any("\ud800" <= letter <= "\udfff" for letter in text))


class PathCells:
    """Paths in a table, which need not exist yet; relative paths are relative to the table's folder."""

    def __init__(self, table: Path) -> None:
        self._folder = table.parent
        self._absolute = Path(os.path.abspath(table.parent))  # noqa: PTH100 (keeps symbolic links)
        self.base = table.parent.resolve()

    def to_file(self, cell: str) -> Path:
        """The file that a cell names."""
        if cell.startswith("../"):
            # `..` is the parent of the real folder, even if the path to the table is a symbolic link.
            return Path(os.path.normpath(self.base / cell))
        return self._folder / cell

    def to_cell(self, file: Path) -> str:
        """A file as a cell: relative if below the table's folder or that folder's parent, else absolute."""
        absolute = Path(os.path.abspath(file))  # noqa: PTH100
        if absolute.is_relative_to(self._absolute):
            return absolute.relative_to(self._absolute).as_posix()
        parent = self._absolute.parent
        not_linked = self._absolute == self.base and parent != parent.parent
        if not_linked and absolute.is_relative_to(parent):
            return "../" + absolute.relative_to(parent).as_posix()
        return absolute.as_posix()


def missing_files(files: Iterable[Path]) -> dict[Path, str]:
    """Those of `files` that are not files, each with the reason.

    Folders are listed once instead of testing every file, which is slow on network storage.
    """
    files = list(files)
    listed: set[str] = set()
    for folder, count in Counter(os.path.dirname(file) for file in files).items():  # noqa: PTH120
        # A folder may be entered but not listed, and the file system may fold case or compose letters: files
        # that are not listed are tested.
        if count > 1:
            with suppress(OSError), os.scandir(folder or ".") as entries:
                listed.update(str(Path(folder, entry.name)) for entry in entries if entry.is_file())
    return {
        file: f"'{file}' is a folder" if file.is_dir() else f"no such file: {file}"
        for file in files
        if str(file) not in listed and not file.is_file()
    }
