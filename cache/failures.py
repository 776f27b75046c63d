"""Clips that could not be embedded: FOLDER/failures.csv, a line each with the reason."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping
from pathlib import Path

from cache.durable import locked, replace_text
from cache.errors import StoreError

NAME = "failures.csv"
LOCK = ".failures.lock"
COLUMNS = ["path", "start", "end", "reason"]

FailureId = tuple[str, float | None, float | None]  # absolute path; start and end in seconds


def read(folder: Path) -> dict[FailureId, str]:
    """Each failed clip and the reason; empty where nothing has failed. StoreError for a damaged table."""
    table = folder / NAME
    try:
        text = table.read_bytes().decode("utf-8", "surrogateescape")
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise StoreError(f"cannot be read ({error.strerror})", where=str(table)) from error
    try:
        header, *rows = csv.reader(io.StringIO(text, newline=""), strict=True)
        if header != COLUMNS:
            raise ValueError(f"its columns are {', '.join(header)}")
        return {(path, _seconds(start), _seconds(end)): reason for path, start, end, reason in rows}
    except (csv.Error, ValueError) as error:
        raise StoreError(f"not a table of failures ({error})", where=str(table), do="delete it") from error


def update(folder: Path, *, failed: Mapping[FailureId, str], succeeded: Iterable[FailureId]) -> None:
    """Add and replace failures, and forget those that have succeeded since; atomic among many processes.

    Raises StoreError where the table cannot be written.
    """
    try:
        with locked(folder / LOCK):
            before = read(folder)
            gone = set(succeeded) - failed.keys()
            after = {i: reason for i, reason in {**before, **failed}.items() if i not in gone}
            if after != before:
                replace_text(folder / NAME, _text(after))
    except OSError as error:
        raise StoreError(f"cannot be written ({error.strerror})", where=str(folder / NAME)) from error


def _text(failures: Mapping[FailureId, str]) -> str:
    out = io.StringIO(newline="")
    writer = csv.writer(out)
    writer.writerow(COLUMNS)
    for path, start, end in sorted(failures, key=lambda clip: (clip[0], clip[1] or 0.0, clip[2] or 0.0)):
        segment = ["" if second is None else repr(second) for second in (start, end)]
        writer.writerow([path, *segment, failures[path, start, end]])
    return out.getvalue()


def _seconds(text: str) -> float | None:
    return float(text) if text else None
