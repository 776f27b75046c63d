"""Tables as text: CSV, TSV and Parquet, each cell read exactly as written and written whole or not at all.

No data frame stands between the file and the reader, because a data frame guesses types: a label `01` would
come back as the number 1, and a column with one empty cell would turn 0 into 0.0.
"""

from __future__ import annotations

import csv
import io
import os
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from layerprobe.cache.common.disk import write_atomically
from layerprobe.cache.common.errors import InputError, ManifestError, Problem

DELIMITERS = {".csv": ",", ".tsv": "\t"}
PARQUET = (".parquet", ".pq")
SUFFIXES = (*DELIMITERS, *PARQUET)
_PARQUET_ROW_NAMES = "__index_level_"  # what pandas calls row names that have no name of their own

Cell = str | float | None


@dataclass(frozen=True)
class Table:
    """`rows[i][j]` is the text in row i of column `columns[j]`, '' where the cell is empty.

    A row that the file gives too many or too few cells keeps them; a blank line is a row without cells, so
    that row numbers stay those of the file.
    """

    columns: list[str]
    rows: list[list[str]]


def read_table(path: Path) -> Table:
    """Read a table by its extension. Raises ManifestError where there is none or it cannot be read."""
    suffix = path.suffix.lower()
    if path.is_dir():
        raise _fault(path, "is a folder, not a table", do="make a table of it with `manifest folder`")
    if not path.exists():
        raise _fault(path, "no such table")
    if suffix not in SUFFIXES:
        raise _fault(path, f"is no table that can be read ({suffix or 'no extension'})", do=_KINDS)
    try:
        return _read_parquet(path) if suffix in PARQUET else _read_text(path, DELIMITERS[suffix])
    except UnicodeDecodeError as error:
        raise _fault(path, f"is not UTF-8 text (byte {error.start})", do="save it as UTF-8") from error
    except (OSError, ValueError, NotImplementedError) as error:  # pyarrow's are of these kinds
        raise _fault(path, f"cannot be read ({error})") from error


def write_table(columns: Mapping[str, Sequence[Cell]], out: Path) -> None:
    """Write equally long columns of text or numbers; None is an empty cell. Raises InputError.

    The file appears whole or not at all.
    """
    suffix = out.suffix.lower()
    if suffix not in SUFFIXES:
        raise InputError(f"is no kind of table ({suffix or 'no extension'})", where=str(out), do=_KINDS)
    try:
        data = _parquet(columns) if suffix in PARQUET else _delimited(columns, DELIMITERS[suffix])
        out.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(out, data)
    except UnicodeEncodeError as error:
        told = f"{_not_unicode(columns)!r} is not Unicode"
        raise InputError(told, where=str(out), do="rename it") from error
    except OSError as error:
        raise InputError(f"cannot be written ({error.strerror or error})", where=str(out)) from error


_KINDS = f"use one of {', '.join(SUFFIXES)}"


def _fault(path: Path, what: str, *, do: str = "") -> ManifestError:
    return ManifestError(str(path), [Problem(None, what)], do=do)


def _read_text(path: Path, delimiter: str) -> Table:
    with path.open(encoding="utf-8-sig", newline="") as file:
        reader, rows, begun = csv.reader(file, delimiter=delimiter, strict=True), [], 1
        try:
            for row in reader:
                rows.append(row)
                begun = reader.line_num + 1
        except csv.Error as error:
            # Read on, a quote that is not closed would swallow all rows after it.
            told = "a quote is opened and never closed" if str(error) == "unexpected end of data" else error
            raise ValueError(f"{told}, in the row that begins on line {begun}") from error
    return Table(rows[0], rows[1:]) if rows else Table([], [])


def _delimited(columns: Mapping[str, Sequence[Cell]], delimiter: str) -> bytes:
    texts = [[_text(cell) for cell in cells] for cells in columns.values()]
    # A lone carriage return ends a line for the reader, but the writer does not count it as worth quoting.
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


def _parquet(columns: Mapping[str, Sequence[Cell]]) -> bytes:
    import pyarrow as pa
    import pyarrow.parquet as pq

    arrays = {}
    for name, cells in columns.items():
        number = any(isinstance(cell, float) for cell in cells)
        arrays[name] = pa.array(cells, type=pa.float64() if number else pa.string())
    file = io.BytesIO()
    pq.write_table(pa.table(arrays), file)
    return file.getvalue()


def _text(value: object) -> str:
    if value is None:
        return ""
    return value if isinstance(value, str) else str(value)


def _not_unicode(columns: Mapping[str, Sequence[Cell]]) -> str:
    """The first name or cell that holds half of a character, as file names that are not UTF-8 come."""
    texts = (_text(cell) for name, cells in columns.items() for cell in (name, *cells))
    return next(text for text in texts if any("\ud800" <= letter <= "\udfff" for letter in text))


class PathCells:
    """The places that path cells of the table `table` stand for. The table itself need not exist yet."""

    def __init__(self, table: Path) -> None:
        self._folder = table.parent
        self._absolute = Path(os.path.abspath(table.parent))  # noqa: PTH100 (keeps symbolic links, as the cells do)
        self._real = table.parent.resolve()

    @property
    def start(self) -> Path:
        """The folder that relative cells are relative to."""
        return self._real

    def file(self, cell: str) -> Path:
        """The file a path cell stands for."""
        if cell.startswith("../"):
            # `..` climbs out of the real folder, also where the way to the table is a symbolic link.
            return Path(os.path.normpath(self._real / cell))
        return self._folder / cell

    def cell(self, file: Path) -> str:
        """A path cell for a file: relative below the table's folder or the folder above it, else absolute."""
        absolute = Path(os.path.abspath(file))  # noqa: PTH100
        if absolute.is_relative_to(self._absolute):
            return absolute.relative_to(self._absolute).as_posix()
        above = self._absolute.parent
        climbable = self._absolute == self._real and above != above.parent
        if climbable and absolute.is_relative_to(above):
            return "../" + absolute.relative_to(above).as_posix()
        return absolute.as_posix()


def missing_files(files: Iterable[Path]) -> dict[Path, str]:
    """Those of `files` that are no files, each with what is wrong.

    Folders are listed once instead of asking for every file: on network storage that is what takes the time.
    """
    by_folder: dict[str, list[tuple[str, Path]]] = defaultdict(list)
    for file in files:
        folder, name = os.path.split(file)
        by_folder[folder].append((name, file))
    gone: dict[Path, str] = {}
    for folder, named in by_folder.items():
        listed = _listing(folder) if len(named) > 1 else frozenset()
        for name, file in named:
            # What the listing lacks is asked for by name: the file system may fold case or compose letters.
            if name not in listed and not file.is_file():
                gone[file] = f"'{file}' is a folder" if file.is_dir() else f"no such file: {file}"
    return gone


def _listing(folder: str) -> frozenset[str]:
    try:
        with os.scandir(folder or ".") as entries:
            return frozenset(entry.name for entry in entries if entry.is_file())
    except OSError:
        return frozenset()  # no folder, or one that may be entered but not listed: each file is asked for
