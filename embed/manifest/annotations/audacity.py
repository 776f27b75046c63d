"""Audacity's label files: start, end and text in each line, separated by tabs."""

from __future__ import annotations

from pathlib import Path

from layerprobe.embed.manifest.annotations.tiers import Annotation, Interval, Tier
from layerprobe.embed.manifest.readers.table import decode
from layerprobe.embed.manifest.times import read_seconds


def read_audacity(path: Path) -> Annotation:
    """The one tier of a label file. Lines of frequencies, which begin with a backslash, are left out.

    Raises ValueError for any other line.
    """
    intervals = []
    for number, line in enumerate(decode(path.read_bytes())[0].splitlines(), start=1):
        if not line.strip() or line.startswith("\\"):
            continue
        start, end, *text = line.split("\t", 2) if line.count("\t") else ("", "")
        try:
            times = [read_seconds(cell, decimal_comma=True) for cell in (start, end)]
        except ValueError:
            times = [None]
        if None in times:
            raise ValueError(f"line {number} is no label of Audacity: start, end and text, separated by tabs")
        first, last = (float(time or 0.0) for time in times)
        intervals.append(Interval(first, last, "".join(text).strip()))
    return Annotation(tiers=[Tier(name=None, intervals=intervals)])
