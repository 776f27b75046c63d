"""Praat's TextGrid files, by praatio."""

from __future__ import annotations

from pathlib import Path

from layerprobe.cache.common.errors import InputError
from layerprobe.cache.common.text import shorten
from layerprobe.embed.manifest.annotations.tiers import Annotation, Interval, Tier


def read_textgrid(path: Path) -> Annotation:
    """The interval tiers of a TextGrid of any of Praat's formats; tiers of points have none.

    Raises ValueError for a file that cannot be read, InputError without praatio.
    """
    try:
        from praatio import textgrid
    except ImportError as error:
        do = "pip install 'layerprobe[annotations]'"
        raise InputError("TextGrid files need praatio", where=str(path), do=do) from error
    try:
        grid = textgrid.openTextgrid(
            str(path), includeEmptyIntervals=True, reportingMode="silence", duplicateNamesMode="rename"
        )
    except OSError:
        raise
    except Exception as error:  # praatio finds faults as they come: IndexError, ValueError, its own
        reason = shorten(" ".join(str(error).split())) or type(error).__name__
        raise ValueError(f"is no TextGrid that can be read ({reason})") from error
    return Annotation(
        tiers=[
            Tier(
                name=tier.name,
                intervals=[
                    Interval(float(entry.start), float(entry.end), entry.label.strip())
                    for entry in tier.entries
                ]
                if isinstance(tier, textgrid.IntervalTier)
                else [],
            )
            for tier in grid.tiers
        ]
    )
