"""Databases of audformat: a folder with `db.yaml` and a file for each table.

Read without the package audformat, which constructs any object that a header names and prefers pickled copies
of tables: both would run code from a downloaded database.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from layerprobe.cache.common.text import format_list
from layerprobe.embed.manifest.readers.arrow import read_columns
from layerprobe.embed.manifest.readers.embedded import EmbeddedSound
from layerprobe.embed.manifest.readers.table import Table, cell_text
from layerprobe.embed.manifest.readers.text import read_text

_HEADER = "db.yaml"
_INDEX = ("file", "start", "end")
_TARGET = "emotion"  # the tables with this column have the clips, unless another is named

Segment = tuple[str, str, str]  # the cells of the index


def read_audformat(folder: Path, wanted: str | None = None) -> Table:
    """The clips of the tables with a column `emotion`, or of the table `wanted`, else of the first table.

    Other tables add their columns: of complete files to all segments of a file, of segments to the same
    segments. Attributes that a scheme has for its labels, such as a speaker's gender, become columns. Raises
    ValueError.
    """
    header = _header(folder / _HEADER)
    tables = {
        name: entry
        for name, entry in _mapping(header, "tables").items()
        if isinstance(entry, dict) and entry.get("type") in ("filewise", "segmented")
    }
    if wanted is not None and wanted not in tables:
        raise ValueError(f"it has no table '{wanted}'; its tables are {format_list(list(tables))}")
    if not tables:
        raise ValueError(f"{_HEADER} has no table of files or segments")
    with_target = [name for name, entry in tables.items() if _TARGET in _mapping(entry, "columns")]
    main = [wanted] if wanted is not None else with_target or list(tables)[:1]
    clips: dict[Segment, dict[str, str]] = {}
    for name in main:
        split = _split(header, tables[name])
        for segment, cells in _rows(folder, name):
            row = clips.setdefault(segment, {})
            _add(row, {**cells, **split})
    unused = [name for name in tables if name not in main and not _join(clips, _rows(folder, name))]
    _add_attributes(clips.values(), header, tables)
    columns = list(dict.fromkeys(name for row in clips.values() for name in row))
    rows = [[*segment, *(row.get(name, "") for name in columns)] for segment, row in clips.items()]
    notes = []
    if len(tables) > len(main) or len(main) > 1:
        others = f"; not used: {format_list(unused)} (write FOLDER#TABLE for another)" if unused else ""
        notes.append(f"its clips are those of {format_list(main)}{others}")
    return Table([*_INDEX, *columns], rows, notes=tuple(notes), path_column="file")


def _header(path: Path) -> dict[str, Any]:
    import yaml

    try:
        header = yaml.load(path.read_bytes(), Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise ValueError(f"{path.name} is not YAML: {' '.join(str(error).split())}") from error
    if not isinstance(header, dict):
        raise ValueError(f"{path.name} is no header of a database")
    return header


def _mapping(entry: Mapping[str, Any], name: str) -> dict[str, Any]:
    value = entry.get(name)
    return {str(key): item for key, item in value.items()} if isinstance(value, dict) else {}


def _split(header: Mapping[str, Any], table: Mapping[str, Any]) -> dict[str, str]:
    """The split of all clips of a table, as `train`, `dev` or `test`."""
    id = table.get("split_id")
    entry = _mapping(header, "splits").get(str(id))
    kind = entry.get("type") if isinstance(entry, dict) else None
    return {} if id is None else {"split": str(kind or id)}


def _rows(folder: Path, name: str) -> list[tuple[Segment, dict[str, str]]]:
    """The rows of a table by segment. Raises ValueError."""
    parquet, text = folder / f"db.{name}.parquet", folder / f"db.{name}.csv"
    if parquet.is_file():
        table = read_columns([parquet], EmbeddedSound(folder), arrow=False)
    elif text.is_file():
        table = read_text(text, ",")
    elif (folder / f"db.{name}.pkl").exists():
        what = f"table '{name}' is there as a pickle alone, which may run code and is not read"
        raise ValueError(f"{what}; save it as Parquet or CSV")
    else:
        raise ValueError(f"table '{name}' has no file {parquet.name} or {text.name}")
    if "file" not in table.columns:
        raise ValueError(f"table '{name}' has no column 'file'")
    rows = []
    for number, row in enumerate(table.rows, start=1):
        if len(row) != len(table.columns):
            raise ValueError(f"table '{name}', row {number}: has {len(row)} cells, not {len(table.columns)}")
        cells = dict(zip(table.columns, row, strict=True))
        file, start, end = (cells.pop(column, "") for column in _INDEX)
        rows.append(((file, start, end), cells))
    return rows


def _join(clips: Mapping[Segment, dict[str, str]], rows: Sequence[tuple[Segment, dict[str, str]]]) -> bool:
    """Add the columns of another table to the clips; False if it has no clip in common with them."""
    segments = dict(rows)
    used = False
    for segment, row in clips.items():
        for key in (segment, (segment[0], "", "")):
            if (cells := segments.get(key)) is not None:
                _add(row, cells)
                used = True
    return used


def _add(row: dict[str, str], cells: Mapping[str, str]) -> None:
    for name, value in cells.items():
        if not row.get(name):
            row[name] = value


def _add_attributes(
    rows: Sequence[dict[str, str]] | Any, header: Mapping[str, Any], tables: Mapping[str, Any]
) -> None:
    """Columns for what a scheme says of each label: `labels: {"3": {gender: female, age: 31}}`."""
    schemes = _mapping(header, "schemes")
    for table in tables.values():
        for column, entry in _mapping(table, "columns").items():
            scheme = schemes.get(str(entry.get("scheme_id"))) if isinstance(entry, dict) else None
            labels = _mapping(scheme, "labels") if isinstance(scheme, dict) else {}
            for row in rows:
                attributes = labels.get(row.get(column, ""))
                if isinstance(attributes, dict):
                    _add(row, {str(name): cell_text(value) for name, value in attributes.items()})
