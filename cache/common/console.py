"""Output of every command: tables or JSON on stdout; progress, notes and errors on stderr.

`--quiet` leaves results and errors; `--verbose` adds settings and the duration of each stage.

Names and labels come from files that others made: control characters in them are printed as escapes.
"""

from __future__ import annotations

import dataclasses
import json
import math
import shutil
import sys
import textwrap
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stdout
from enum import IntEnum
from itertools import zip_longest
from pathlib import Path
from typing import Any, TextIO, cast

from layerprobe.cache.common.notebook import NotebookBar, in_notebook
from layerprobe.cache.common.text import UNPRINTABLE, printable

PLAIN_EVERY = 10.0  # seconds between lines of progress where stderr is not a terminal


class Verbosity(IntEnum):
    """How much a command prints on stderr."""

    QUIET = 0  # errors
    NORMAL = 1  # and notes and progress
    VERBOSE = 2  # and settings and durations


_verbosity = Verbosity.NORMAL


def set_verbosity(verbosity: Verbosity) -> None:
    """Set how much the rest of this process prints on stderr."""
    global _verbosity
    _verbosity = verbosity


def is_quiet() -> bool:
    """Whether notes and progress are left out."""
    return _verbosity == Verbosity.QUIET


def is_verbose() -> bool:
    """Whether settings and durations are printed."""
    return _verbosity == Verbosity.VERBOSE


def say(line: str) -> None:
    """Print a note for the user on stderr, unless `--quiet` is given."""
    if not is_quiet():
        say_error(line)


def say_error(*lines: str) -> None:
    """Print an error, or what could not be used, on stderr, with `--quiet` too.

    A line end inside of a line, as in the name of a file, is printed as an escape.
    """
    print(*map(printable, lines), sep="\n", file=sys.stderr, flush=True)


def say_detail(text: str) -> None:
    """Print a line on stderr if `--verbose` is given."""
    if is_verbose():
        say_error(text)


@contextmanager
def stage(name: str) -> Iterator[None]:
    """With `--verbose`, print how long the block, or each call of the decorated function, took."""
    began = time.perf_counter()
    yield
    say_detail(f"{name}: {time.perf_counter() - began:.1f} s")


@contextmanager
def escaped_stdout() -> Iterator[None]:
    """Print control characters as escapes while the block runs; line ends and tabs stay."""
    with redirect_stdout(cast("TextIO", _EscapedStream(sys.stdout))):
        yield


class _EscapedStream:
    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        self._stream.write(printable(text, keep="\n\t"))
        return len(text)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def print_json(value: object) -> None:
    """Print one JSON document on stdout; dataclasses become objects, paths text, NaN and infinity null."""
    text = json.dumps(_to_json(value), indent=2, ensure_ascii=False, allow_nan=False)
    print(UNPRINTABLE.sub(lambda match: "\n" if match[0] == "\n" else f"\\u{ord(match[0]):04x}", text))


def _to_json(value: Any) -> Any:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: _to_json(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {name: _to_json(item) for name, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_to_json(item) for item in value]
    if hasattr(value, "tolist"):  # NumPy scalars and arrays
        return _to_json(value.tolist())
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return str(value) if isinstance(value, Path) else value


def print_table(rows: Sequence[Mapping[str, object]], *, title: str = "") -> None:
    """Print rows with equal keys as an aligned table on stdout; numbers are aligned to the right.

    On a terminal that is too narrow, cells continue on further lines, broken between words; where single
    words are too wide for that, each row becomes a list of `name  value`.
    """
    if title:
        print(title)
    if not rows:
        print("(nothing)")
        return
    names = list(rows[0])
    lines = [[printable(name) for name in names], *([_cell(row[name]) for name in names] for row in rows)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    right = [all(isinstance(row[name], int | float) for row in rows) for name in names]
    if sys.stdout.isatty():
        fitting = _fit(widths, lines, room=shutil.get_terminal_size().columns)
        if fitting is None:
            _print_lists(lines)
            return
        widths = fitting
    for line in (lines[0], ["-" * width for width in widths], *lines[1:]):
        wrapped = [
            textwrap.wrap(cell, width, break_on_hyphens=False) if len(cell) > width else [cell]
            for cell, width in zip(line, widths, strict=True)
        ]
        for parts in zip_longest(*wrapped, fillvalue=""):
            cells = (c.rjust(w) if r else c.ljust(w) for c, w, r in zip(parts, widths, right, strict=True))
            print("  ".join(cells).rstrip())


def _fit(widths: Sequence[int], lines: Sequence[Sequence[str]], *, room: int) -> list[int] | None:
    """Widths of columns that fit into `room`, none below its longest word; None if there are none."""
    columns = zip(*lines, strict=True)
    least = [max(len(word) for cell in column for word in [*cell.split(), ""]) for column in columns]
    fitting = list(widths)
    while sum(fitting) + 2 * (len(fitting) - 1) > room:
        slack = [width if width > low else 0 for width, low in zip(fitting, least, strict=True)]
        if not any(slack):
            return None
        fitting[slack.index(max(slack))] -= 1
    return fitting


def _print_lists(lines: Sequence[Sequence[str]]) -> None:
    width = max(map(len, lines[0]))
    for number, line in enumerate(lines[1:]):
        if number:
            print()
        for name, cell in zip(lines[0], line, strict=True):
            if cell:
                print(f"{name.ljust(width)}  {cell}")


def _cell(value: object) -> str:
    if value is None:
        return ""
    return f"{value:.3f}" if isinstance(value, float) else printable(str(value))


class ProgressLine:
    """Progress of a long job: a bar on a terminal or in a notebook, else a line every ten seconds."""

    def __init__(self, label: str) -> None:
        self._label = label
        self._printed_at = time.monotonic()
        self._last = ""
        self._bar: Any = None
        if is_quiet():
            return
        if in_notebook():
            self._bar = NotebookBar(printable(label))
        elif sys.stderr.isatty():
            from rich.console import Console
            from rich.progress import BarColumn, Progress, TextColumn

            # Without markup: a name such as `[red]` is printed as it is.
            name = TextColumn("{task.description}", markup=False)
            state = TextColumn("{task.fields[status]}", markup=False)
            bar = Progress(name, BarColumn(), state, console=Console(stderr=True))
            task = bar.add_task(printable(label), total=1.0, status="")
            bar.start()
            self._bar = _TerminalBar(bar, task)

    def update(self, share: float, status: str) -> None:
        """Show the share (0 to 1) that is done, and a status text."""
        self._last = status
        if self._bar is not None:
            self._bar.update(share, printable(status))
        elif time.monotonic() - self._printed_at >= PLAIN_EVERY:
            self._printed_at = time.monotonic()
            say(f"{self._label}: {status}")

    def close(self) -> None:
        """Stop drawing and leave the last status visible."""
        if self._bar is not None:
            self._bar.stop()
        elif self._last:
            say(f"{self._label}: {self._last}")


class _TerminalBar:
    """rich's progress display with a single bar."""

    def __init__(self, bar: Any, task: Any) -> None:
        self._display, self._task = bar, task

    def update(self, share: float, status: str) -> None:
        self._display.update(self._task, completed=share, status=status)

    def stop(self) -> None:
        self._display.stop()


@contextmanager
def progress(label: str) -> Iterator[ProgressLine]:
    """A ProgressLine that is closed however the job ends."""
    line = ProgressLine(label)
    try:
        yield line
    finally:
        line.close()
