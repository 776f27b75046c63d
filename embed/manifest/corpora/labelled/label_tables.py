"""What readers of corpora with label files share: rows of a table, recordings by name, what is missing."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath

from layerprobe.cache.common.errors import InputError
from layerprobe.cache.common.text import format_count, format_list
from layerprobe.embed.manifest.audio_files import AudioFiles
from layerprobe.embed.manifest.tables import read_table

OWN_FOLDER = "give the corpus's own folder"


def paths_by_stem(audio: AudioFiles) -> dict[str, list[PurePosixPath]]:
    """The audio files of each name without suffix."""
    names: dict[str, list[PurePosixPath]] = defaultdict(list)
    for path in audio.paths:
        names[path.stem].append(path)
    return dict(names)


def read_rows(
    table: Path, columns: Sequence[str], *, numbers: Sequence[str] = ()
) -> Iterator[dict[str, str]]:
    """Rows as name → cell without the space around it; cells that a row lacks are empty.

    numbers: columns that must hold whole numbers. Raises InputError where one of the columns is missing or
    holds something else, and ManifestError for a table that cannot be read.
    """
    raw = read_table(table)
    names = [name.strip() for name in raw.columns]
    if absent := [name for name in columns if name not in names]:
        what = f"looked for the columns {', '.join(absent)}, found {format_list(names, shown=8) or 'nothing'}"
        raise InputError(what, where=str(table))
    for row, cells in enumerate(raw.rows, start=raw.first_row):
        if not cells:
            continue
        named = dict.fromkeys(names, "") | dict(zip(names, map(str.strip, cells), strict=False))
        for name in numbers:
            if not (named[name].isascii() and named[name].isdecimal()):
                raise InputError(f"row {row}: {name} '{named[name]}' is no number", where=str(table))
        yield named


def missing_notes(names: Sequence[str]) -> list[str]:
    """A note on recordings that a label file lists and the folder lacks."""
    return [f"{format_count(len(names), 'recording')} listed, but not found: {format_list(names)}"] * bool(
        names
    )


def unlabelled_notes(count: int) -> list[str]:
    """A note on clips whose raters did not agree on an emotion."""
    return [f"{format_count(count, 'clip')} without an agreed emotion: the label is empty"] * bool(count)


def tables_found(folder: Path) -> str:
    """The tables of a folder, for a message about one that was looked for."""
    return format_list(sorted(path.relative_to(folder) for path in folder.rglob("*.csv"))) or "no .csv file"
