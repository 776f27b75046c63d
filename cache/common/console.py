"""What every command prints with: tables or JSON on stdout, progress and remarks on stderr."""

from __future__ import annotations

import dataclasses
import json
import math
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

PLAIN_EVERY = 10.0  # seconds between lines of progress where stderr is no terminal


def say(text: str) -> None:
    """A remark for the person, on stderr."""
    print(text, file=sys.stderr, flush=True)


def print_json(value: object) -> None:
    """One JSON document on stdout; dataclasses become objects, paths text, NaN and infinity null."""
    print(json.dumps(_plain(value), indent=2, ensure_ascii=False, allow_nan=False))


def _plain(value: Any) -> Any:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: _plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {name: _plain(held) for name, held in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_plain(held) for held in value]
    if hasattr(value, "tolist"):  # numpy's scalars and arrays
        return _plain(value.tolist())
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return str(value) if isinstance(value, Path) else value


def print_table(rows: Sequence[Mapping[str, object]], *, title: str = "") -> None:
    """Rows with equal keys, as an aligned table on stdout; numbers to the right."""
    if title:
        print(title)
    if not rows:
        print("(nothing)")
        return
    names = list(rows[0])
    cells = [names, *([_cell(row[name]) for name in names] for row in rows)]
    widths = [max(len(line[i]) for line in cells) for i in range(len(names))]
    right = [all(isinstance(row[name], int | float) for row in rows) for name in names]
    for number, line in enumerate(cells):
        told = (c.rjust(w) if r else c.ljust(w) for c, w, r in zip(line, widths, right, strict=True))
        print("  ".join(told).rstrip())
        if number == 0:
            print("  ".join("-" * width for width in widths))


def _cell(value: object) -> str:
    if value is None:
        return ""
    return f"{value:.3f}" if isinstance(value, float) else str(value)


class ProgressLine:
    """Progress of one long job: a bar on a terminal, else a plain line every ten seconds and at the end."""

    def __init__(self, label: str) -> None:
        self._label = label
        self._told = time.monotonic()
        self._bar: Any = None
        self._task: Any = None
        self._last = ""
        if sys.stderr.isatty():
            from rich.console import Console
            from rich.progress import BarColumn, Progress, TextColumn

            self._bar = Progress(
                TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[told]}"),
                console=Console(stderr=True),
            )  # fmt: skip
            self._task = self._bar.add_task(label, total=1.0, told="")

    def update(self, share: float, told: str) -> None:
        """Show the share (0 to 1) that is done, and in words what matters."""
        self._last = told
        if self._bar is not None:
            self._bar.update(self._task, completed=share, told=told)
        elif time.monotonic() - self._told >= PLAIN_EVERY:
            self._told = time.monotonic()
            say(f"{self._label}: {told}")

    def start(self) -> None:
        """Begin to draw."""
        if self._bar is not None:
            self._bar.start()

    def close(self) -> None:
        """Leave the last state standing."""
        if self._bar is not None:
            self._bar.stop()
        elif self._last:
            say(f"{self._label}: {self._last}")


@contextmanager
def progress(label: str) -> Iterator[ProgressLine]:
    """A ProgressLine that is closed however the job ends."""
    line = ProgressLine(label)
    line.start()
    try:
        yield line
    finally:
        line.close()
