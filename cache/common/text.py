"""Numbers, durations and lists as text."""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path

MAX_LISTED = 3


def format_bytes(nbytes: float) -> str:
    """1500000000 → `1.5 GB`."""
    for unit in ("B", "kB", "MB", "GB", "TB"):
        if nbytes < 999.5 or unit == "TB":
            return f"{nbytes:.0f} {unit}" if unit == "B" else f"{nbytes:.3g} {unit}"
        nbytes /= 1000
    raise AssertionError("unreachable")


def format_duration(seconds: float) -> str:
    """3725 → `1:02:05`."""
    return str(timedelta(seconds=round(seconds)))


def format_interval(low: float | None, high: float | None) -> str:
    """`[0.412, 0.538]`; empty without an interval."""
    if low is None or high is None or math.isnan(low) or math.isnan(high):
        return ""
    return f"[{low:.3f}, {high:.3f}]"


def format_percent(share: float) -> str:
    """0.998 → `99.8 %`."""
    return f"{100 * share:.1f} %"


def format_list(items: Sequence[object], *, shown: int = MAX_LISTED) -> str:
    """`a, b, c and 2 more`."""
    more = f" and {len(items) - shown} more" if len(items) > shown else ""
    return ", ".join(map(str, items[:shown])) + more


def format_count(number: int, noun: str) -> str:
    """`1 clip`, `1,935 clips`."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def program() -> str:
    """What the user types before a command: `layerprobe` once installed, `python cli.py` in a checkout."""
    return "layerprobe" if Path(sys.argv[0]).name == "layerprobe" else "python cli.py"
