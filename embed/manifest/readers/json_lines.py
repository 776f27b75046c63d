"""JSON lines: one object per line."""

from __future__ import annotations

import gzip
import json
import zlib
from pathlib import Path
from typing import Any

from layerprobe.cache.common.text import format_list
from layerprobe.embed.manifest.readers.table import Table, cell_text, decode

_NUMBERS_AS_WRITTEN = {"parse_int": str, "parse_float": str, "parse_constant": lambda name: None}


def read_json_lines(path: Path) -> Table:
    """Numbers are read as they are written, and null is an empty cell. Raises ValueError.

    Columns of lists and objects are left out, with a note, apart from `{"path": …}`, as Hugging Face writes
    the file of a recording.
    """
    rows, note = json_objects(path, _NUMBERS_AS_WRITTEN)
    columns = list(dict.fromkeys(name for row in rows for name in row))
    nested = []
    for name in columns:
        values = [row[name] for row in rows if isinstance(row.get(name), dict | list)]
        if all(isinstance(value, dict) and isinstance(value.get("path"), str) for value in values):
            continue
        nested.append(name)
    notes = [note] if note else []
    if nested:
        notes.append(nested_note(nested))
    columns = [name for name in columns if name not in nested]
    cells = [[_text(row.get(name)) for name in columns] if row else [] for row in rows]
    return Table(columns, cells, notes=tuple(notes))


def json_objects(path: Path, options: dict[str, Any] | None = None) -> tuple[list[dict[str, Any]], str]:
    """The object of each line, {} for a blank one; and a note on the encoding. Gzipped files are unpacked.

    Raises ValueError that names the line.
    """
    data = path.read_bytes()
    if data.startswith(b"\x1f\x8b"):
        try:
            data = gzip.decompress(data)
        except (EOFError, zlib.error) as error:
            raise ValueError(f"its compressed data are damaged: {error}") from error
    text, note = decode(data)
    rows: list[dict[str, Any]] = []
    for number, line in enumerate(text.split("\n"), start=1):
        try:
            row = json.loads(line, **(options or {})) if line.strip() else {}
        except RecursionError:
            raise ValueError(f"line {number} is nested too deeply") from None
        except ValueError as error:
            raise ValueError(f"line {number} is not JSON: {error}") from error
        if not isinstance(row, dict):
            raise ValueError(f"line {number} is no JSON object")
        rows.append(row)
    return rows, note


def nested_note(columns: list[str]) -> str:
    """The note on columns that hold neither text nor numbers."""
    listed = format_list([f"'{name}'" for name in columns])
    return f"left out: {listed}, which hold{'s' * (len(columns) == 1)} neither text nor numbers"


def _text(value: Any) -> str:
    return value["path"] if isinstance(value, dict) else cell_text(value)
