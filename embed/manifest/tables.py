"""Tables as text: read from files and folders of many formats, and written as CSV, TSV and Parquet.

Each cell is read exactly as written. Tables are not read through a data frame, because a data frame guesses
types: a label `01` would become the number 1, and a column with one empty cell would turn 0 into 0.0.
"""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from layerprobe.cache.common.disk import write_atomically
from layerprobe.cache.common.errors import InputError, ManifestError
from layerprobe.cache.common.text import guard_cell, spreadsheet_bytes
from layerprobe.embed.manifest.readers.arrow import read_parquet
from layerprobe.embed.manifest.readers.audformat import read_audformat
from layerprobe.embed.manifest.readers.datasets import find_parquet, read_datasets, read_parquet_folder
from layerprobe.embed.manifest.readers.json_lines import read_json_lines
from layerprobe.embed.manifest.readers.kaldi import read_kaldi
from layerprobe.embed.manifest.readers.lhotse import find_recordings, read_lhotse
from layerprobe.embed.manifest.readers.spreadsheet import SPREADSHEETS, read_spreadsheet
from layerprobe.embed.manifest.readers.table import Table, cell_text, reason_of, table_error
from layerprobe.embed.manifest.readers.text import read_text

DELIMITERS = {".csv": ",", ".tsv": "\t"}
PARQUET = (".parquet", ".pq")
SUFFIXES = (*DELIMITERS, *PARQUET)  # that can be written
JSON_LINES = (".jsonl", ".ndjson")
READABLE = (*SUFFIXES, *JSON_LINES, *SPREADSHEETS, ".txt")
ANNOTATIONS = (".textgrid", ".eaf", ".trs", ".lab", ".ctm", ".rttm", ".srt", ".vtt")

Cell = str | float | None


def read_table(path: Path) -> Table:
    """Read a table by its extension, or a folder by what is in it.

    path: `FILE#PART` names a sheet of a spreadsheet or a table of an audformat database. Raises ManifestError
    where it is missing or cannot be read, InputError where an optional package is.
    """
    path, part = _split_part(path)
    if not path.exists():
        raise table_error(path, "no such table")
    if not (path.is_file() or path.is_dir()):
        raise table_error(path, "is a pipe or a device, not a file", do="save the table in a file")
    folder = path if path.is_dir() else path.parent if path.name in _HEADERS else None
    suffix = path.suffix.lower()
    if folder is None and suffix not in READABLE:
        raise _unreadable(path, suffix)
    try:
        if folder is not None:
            return replace(_read_folder(folder, part), folder=folder)
        if suffix in SPREADSHEETS:
            return read_spreadsheet(path, part)
        if part is not None:
            raise ValueError(f"it has no sheet '{part}': only spreadsheets and databases have several tables")
        if suffix in PARQUET:
            return read_parquet(path)
        if suffix in JSON_LINES:
            return read_json_lines(path)
        return read_text(path, DELIMITERS.get(suffix, "\t"))
    except (OSError, ValueError, NotImplementedError) as error:
        raise table_error(path, f"cannot be read ({reason_of(error)})") from error


def is_table(path: Path) -> bool:
    """Whether a path is that of a table: a file by its extension, or a folder by what is in it."""
    path, _ = _split_part(path)
    if path.is_dir():
        return _kind_of(path) is not None
    return path.suffix.lower() in READABLE or path.name in _HEADERS


def _split_part(path: Path) -> tuple[Path, str | None]:
    """`FILE#PART` in its two parts, unless there is a file with that name."""
    name, mark, part = path.name.rpartition("#")
    if mark and name and part and not os.path.lexists(path) and path.with_name(name).exists():
        return path.with_name(name), part
    return path, None


def _kind_of(folder: Path) -> Callable[[Path, str | None], Table] | None:
    """The reader of a folder, by a file that every folder of its kind has."""
    for name, read in _HEADERS.items():
        if (folder / name).is_file():
            return read
    if find_recordings(folder):
        return lambda folder, _: read_lhotse(folder)
    return (lambda folder, _: read_parquet_folder(folder)) if find_parquet(folder) else None


def _read_folder(folder: Path, part: str | None) -> Table:
    if (read := _kind_of(folder)) is None:
        raise table_error(folder, "is a folder, not a table", do="make a table of it with `manifest folder`")
    if part is not None and read is not read_audformat:
        raise ValueError(f"it has no table '{part}': of folders, only audformat databases have several")
    return read(folder, part)


# What a folder of each kind contains; the file itself may be named, too.
_HEADERS: dict[str, Callable[[Path, str | None], Table]] = {
    "db.yaml": read_audformat,
    "dataset_dict.json": lambda folder, _: read_datasets(folder),
    "state.json": lambda folder, _: read_datasets(folder),
    "wav.scp": lambda folder, _: read_kaldi(folder),
}


def _unreadable(path: Path, suffix: str) -> ManifestError:
    if suffix in ANNOTATIONS:
        do = "write its segments as a table with the columns path, start, end and the label"
        if suffix in (".textgrid", ".eaf"):
            do = "make a table of it with `manifest annotations`"
        return table_error(path, f"is an annotation file ({suffix}), not a table", do=do)
    what = f"is not a table that can be read ({suffix or 'no extension'})"
    return table_error(path, what, do=f"use one of {', '.join(READABLE)}")


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


def _text_bytes(columns: Mapping[str, Sequence[Cell]], delimiter: str) -> bytes:
    texts = [[guard_cell(cell_text(cell)) for cell in cells] for cells in columns.values()]
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
    file.getvalue().encode()  # raises for names that are not UTF-8
    return spreadsheet_bytes(file.getvalue())


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


def _not_unicode(columns: Mapping[str, Sequence[Cell]]) -> str:
    """The first name or cell with a lone surrogate, to which Python decodes file names that are not UTF-8."""
    texts = (cell_text(cell) for name, cells in columns.items() for cell in (name, *cells))
    return next(text for text in texts if any("\ud800" <= letter <= "\udfff" for letter in text))
