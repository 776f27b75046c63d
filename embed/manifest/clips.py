"""Tables of clips: read as a list of `Clip`, with all faulty rows reported at once, and written."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from sys import intern

from layerprobe.cache.common.errors import InputError, ManifestError, Problem
from layerprobe.embed.manifest.tables import Cell, PathCells, missing_files, read_table, write_table

# The first of these that a table has is its column of paths, or of speakers, unless one is named; case does
# not matter. `file` is audformat's name, `file_name` Hugging Face's.
PATH_COLUMNS = ("path", "file", "file_name", "filename", "filepath", "file_path", "audio", "wav")
SPEAKER_COLUMNS = ("speaker", "speaker_id")
RESERVED = ("id", "path", "start", "end", "speaker", "split")  # columns with a meaning, so not label names

# pandas' text of a timedelta, `0 days 00:00:01.500000` or `-1 days +23:59:59`, and Python's own, `0:00:01.5`.
_TIMEDELTA = re.compile(r"(?:(-?\d+) days?,? ?)?(?:\+?(\d+):(\d{2}):(\d{2}(?:\.\d+)?))?")

_NO_LABELS: Mapping[str, str] = {}


@dataclass(frozen=True, kw_only=True, slots=True)
class Clip:
    """One labelled stretch of speech.

    id: unique in its table; the path as the table writes it, with `#start-end` where a segment is given.
    file: path of the audio file, absolute or relative to the working folder. Text, because a `Path` object
        would make a table of 100,000 clips 40 % larger in memory; `path` makes one on request.
    start, end: seconds, or None for the file's own start and end.
    labels: every further column of the table, as text.
    """

    id: str
    file: str
    start: float | None = None
    end: float | None = None
    labels: Mapping[str, str] = field(default_factory=lambda: _NO_LABELS)
    speaker: str | None = None
    split: str | None = None

    @property
    def path(self) -> Path:
        return Path(self.file)


def read_manifest(
    table: Path,
    *,
    path_column: str | None = None,
    speaker_column: str | None = None,
    must_exist: bool = True,
) -> list[Clip]:
    """Read a table of clips: CSV, TSV or Parquet, also in the layouts of audformat and Hugging Face.

    Only a column of paths is required; relative paths are relative to the table. `start` and `end` (seconds,
    or timedeltas such as `0 days 00:00:01.5`) select a segment; one from 0 without an end is the complete
    file. `id`, `split` and the speaker's column are optional. Every other column with a name is a label, its
    text exactly as written; an empty or NaN cell is no label for that clip. No audio is opened.

    must_exist: report paths without a file. False leaves that to the reader of the audio, clip by clip, so
        that work continues without the missing clips.

    Raises ManifestError with all faults of the table.
    """
    raw = read_table(table)
    columns = _Columns.find(raw.columns, table, path=path_column, speaker=speaker_column)
    cells = PathCells(table)
    problems: list[Problem] = []
    clips: list[Clip] = []
    row_of_id: dict[str, int] = {}
    row_of_path: dict[Path, int] = {}
    for row, texts in enumerate(raw.rows, start=1):
        if not texts:
            continue
        if len(texts) != len(raw.columns):
            problems.append(Problem(row, f"has {len(texts)} cells, the header {len(raw.columns)}"))
            continue
        by_column = dict(zip(raw.columns, texts, strict=True))
        clip, faults = columns.clip(by_column, cells)
        if not faults and row_of_id.setdefault(clip.id, row) != row:
            faults.append(f"has the same clip or id as row {row_of_id[clip.id]}: '{clip.id}'")
        problems += [Problem(row, fault) for fault in faults]
        if must_exist and by_column[columns.path]:
            row_of_path.setdefault(clip.path, row)
        clips.append(clip)
    missing = missing_files(row_of_path)
    problems += [Problem(row_of_path[path], fault) for path, fault in missing.items()]
    do = f"relative paths start at {cells.base}" if missing else ""
    if not clips and not problems:
        problems = [Problem(None, "has a header but no rows")]
    if problems:
        raise ManifestError(str(table), sorted(problems, key=lambda p: p.row or 0), do=do)
    return clips


def write_manifest(clips: Sequence[Clip], out: Path) -> None:
    """Write clips as CSV, TSV or Parquet, so that `read_manifest` returns the same clips.

    Paths below the table's folder or its parent are relative to the table, so that the tree can be moved;
    others are absolute. The columns id, start, end and split are omitted where no clip needs them. An empty
    label and a missing one are the same. Raises InputError.
    """
    labels = list(dict.fromkeys(name for clip in clips for name in clip.labels))
    unusable = [name for name in labels if name in RESERVED or not name]
    if unusable:
        raise InputError(f"no label column can be called '{unusable[0]}'", where=str(out), do="rename it")
    if not clips:
        raise InputError("there are no clips to write", where=str(out))
    if len({clip.id for clip in clips}) != len(clips):
        raise InputError("two clips have the same id", where=str(out))
    cells = PathCells(out)
    paths = [cells.to_cell(clip.path) for clip in clips]
    columns: dict[str, Sequence[Cell]] = {}
    if any(c.id != _default_id(path, c.start, c.end) for c, path in zip(clips, paths, strict=True)):
        columns["id"] = [clip.id for clip in clips]
    columns["path"] = paths
    if any(clip.start is not None or clip.end is not None for clip in clips):
        columns["start"] = [None if clip.start is None else float(clip.start) for clip in clips]
        columns["end"] = [None if clip.end is None else float(clip.end) for clip in clips]
    columns["speaker"] = [clip.speaker for clip in clips]
    if any(clip.split is not None for clip in clips):
        columns["split"] = [clip.split for clip in clips]
    columns |= {name: [clip.labels.get(name) for clip in clips] for name in labels}
    write_table(columns, out)


@dataclass(frozen=True)
class _Columns:
    """Which columns of a table hold paths, speakers and labels. Columns in RESERVED cannot be renamed."""

    path: str
    speaker: str | None
    labels: tuple[str, ...]

    @classmethod
    def find(cls, names: list[str], table: Path, *, path: str | None, speaker: str | None) -> _Columns:
        if not names:
            raise ManifestError(str(table), [Problem(None, "is empty")])
        listed = ", ".join(f"'{name}'" for name in names)
        repeated = [name for name in dict.fromkeys(names) if name and names.count(name) > 1]
        problems = [Problem(None, f"has more than one column '{name}'") for name in repeated]
        for requested in (path, speaker):
            if requested is not None and requested not in names:
                problems.append(Problem(None, f"has no column '{requested}'; its columns are {listed}"))
        do = ""
        path = path or _first(PATH_COLUMNS, names)
        if path is None:
            problems.append(Problem(None, f"has no column of paths; its columns are {listed}"))
            other_delimiter = len(names) == 1 and (";" in names[0] or "\t" in names[0])
            do = (
                "separate its cells by commas"
                if other_delimiter
                else f"call it '{PATH_COLUMNS[0]}' or name it"
            )
        if path is None or problems:
            raise ManifestError(str(table), problems, do=do)
        speaker = speaker or _first(SPEAKER_COLUMNS, names)
        not_labels = {path, speaker, "id", "start", "end", "split", ""}
        return cls(path, speaker, tuple(name for name in names if name not in not_labels))

    def clip(self, texts: Mapping[str, str], cells: PathCells) -> tuple[Clip, list[str]]:
        """The clip of one row, and what is wrong with the row."""
        path, faults = texts[self.path], []
        if not path:
            faults.append("has no path")
        if "\0" in path:
            faults.append("path contains a zero byte, which no file name can")
        if texts.get("id") == "":
            faults.append("has no id")
        times: dict[str, float | None] = {"start": None, "end": None}
        for name in times:
            try:
                times[name] = _seconds(texts.get(name, ""))
            except ValueError as error:
                faults.append(f"{name} {error}")
        start, end = times["start"], times["end"]
        if end is not None and end <= (start or 0.0):
            faults.append(f"end {end:g} is not after start {start or 0.0:g}")
        if end is None and start == 0.0:
            start = None
        clip = Clip(
            id=texts.get("id", _default_id(path, start, end)),
            file=str(cells.to_file(path)),
            start=start,
            end=end,
            labels={name: text for name in self.labels if (text := _optional(texts[name])) is not None},
            speaker=None if self.speaker is None else _optional(texts[self.speaker]),
            split=_optional(texts.get("split", "")),
        )
        return clip, faults


def _first(wanted: Sequence[str], names: Sequence[str]) -> str | None:
    """The first of `wanted` among `names`: the exact name if there is one, else in another case."""
    folded = {name.strip().casefold(): name for name in reversed(names)}
    exact = next((name for name in wanted if name in names), None)
    return exact or next((folded[name] for name in wanted if name in folded), None)


def _default_id(cell: str, start: float | None, end: float | None) -> str:
    if start is None and end is None:
        return cell
    return f"{cell}#{'' if start is None else start}-{'' if end is None else end}"


def _optional(text: str) -> str | None:
    """The text of a cell, None if it is empty or NaN. Interned, because many rows hold the same text."""
    return None if text.lower() in ("", "nan") else intern(text)


def _seconds(text: str) -> float | None:
    """Seconds of a number or a timedelta; None for an empty cell or NaT. Raises ValueError."""
    text = text.strip()
    if text.lower() in ("", "nan") or text == "NaT":
        return None
    if match := _TIMEDELTA.fullmatch(text):
        days, hours, minutes, rest = (float(number or 0) for number in match.groups())
        seconds = round(days * 86_400 + hours * 3_600 + minutes * 60 + rest, 9)
    else:
        try:
            seconds = float(text)
        except ValueError:
            raise ValueError(f"'{text}' is neither seconds (1.5) nor a time (0 days 00:00:01.5)") from None
    if not math.isfinite(seconds) or seconds < 0:
        raise ValueError(f"'{text}' is {'negative' if seconds < 0 else 'not finite'}")
    return seconds
