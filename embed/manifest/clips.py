"""Tables of clips: read as a list of `Clip`, with all faulty rows reported at once, and written."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from layerprobe.cache.common.console import say
from layerprobe.cache.common.errors import InputError, ManifestError, Problem
from layerprobe.cache.identity.extraction import EACH_CHANNEL
from layerprobe.embed.config import ALL_CHANNELS, FIRST_TRACK
from layerprobe.embed.manifest.columns import RESERVED, Columns, Values, clean
from layerprobe.embed.manifest.paths import PathCells, path_fault
from layerprobe.embed.manifest.tables import Cell, read_table, write_table
from layerprobe.embed.manifest.times import may_be_time

_NO_LABELS: Mapping[str, str] = {}


@dataclass(frozen=True, kw_only=True, slots=True)
class Clip:
    """One labelled stretch of speech.

    id: unique in its table; the path as the table writes it, with `#start-end` where a segment is given.
    file: path of the audio file, absolute or relative to the working folder. Text, because a `Path` object
        would make a table of 100,000 clips 40 % larger in memory; `path` makes one on request.
    start, end: seconds, or None for the file's own start and end.
    labels: every further column of the table, as text.
    track, channel: what is read of the file: an audio track, from 1, and a channel of it, from 0; None is the
        mean of all. Options choose them, not the table.
    own_channel: of a clip that is one channel of its file, with `--channels each`; it is part of its key.
    """

    id: str
    file: str
    start: float | None = None
    end: float | None = None
    labels: Mapping[str, str] = field(default_factory=lambda: _NO_LABELS)
    speaker: str | None = None
    split: str | None = None
    track: int = FIRST_TRACK
    channel: int | None = None
    own_channel: int | None = None

    @property
    def path(self) -> Path:
        return Path(self.file)


def read_manifest(
    table: Path,
    *,
    path_column: str | None = None,
    speaker_column: str | None = None,
    must_exist: bool = True,
    note: Callable[[str], None] = say,
) -> list[Clip]:
    """Read a table of clips: a file or folder of any format that `tables.read_table` knows.

    Only a column of paths is required; relative paths are relative to the table. `start` and `end` (seconds,
    or timedeltas such as `0 days 00:00:01.5`) select a segment; one from 0 without an end is the complete
    file. `id`, `split` and the speaker's column are optional. Every other column with a name is a label. The
    space around a cell does not count, and an empty cell is no label for that clip. No audio is opened.

    must_exist: report paths without a file. False leaves that to the reader of the audio, clip by clip, so
        that work continues without the missing clips.
    note: is called with each line about what was not read literally: columns and files under other names,
        texts that stand for a missing value, a guessed encoding.

    Raises ManifestError with all faults of the table.
    """
    raw = read_table(table)
    columns = Columns.find(raw, table, path=path_column, speaker=speaker_column)
    reader = _RowReader(columns, PathCells(table, folder=raw.folder))
    problems: list[Problem] = []
    clips: list[Clip] = []
    row_of_id: dict[str, int] = {}
    missing: dict[str, int] = {}  # cells without a file, and the first row of each
    for row, texts in enumerate(raw.rows, start=raw.first_row):
        if not texts:
            continue
        if len(texts) != len(columns.names):
            problems.append(Problem(row, f"has {len(texts)} cells, the header {len(columns.names)}"))
            continue
        clip, cell, faults = reader.clip(dict(zip(columns.names, texts, strict=True)))
        if not faults and row_of_id.setdefault(clip.id, row) != row:
            faults.append(f"has the same clip or id as row {row_of_id[clip.id]}: '{clip.id}'")
        problems += [Problem(row, fault) for fault in faults]
        if cell is not None:
            missing.setdefault(cell, row)
        clips.append(clip)
    if must_exist:
        problems += [Problem(row, reader.cells.reason(cell)) for cell, row in missing.items()]
    if not clips and not problems:
        problems = [Problem(None, "has a header but no rows")]
    if problems:
        do = f"relative paths start at {reader.cells.base}" if must_exist and missing else ""
        where = f"{table} ({raw.place})" if raw.place else str(table)
        raise ManifestError(where, sorted(problems, key=lambda p: p.row or 0), do=do)
    for line in [*columns.notes, *reader.values.notes(), *reader.cells.notes()]:
        note(f"note: {table.name}: {line}")
    return clips


def select_sound(clips: Sequence[Clip], *, channels: str, track: int) -> Sequence[Clip]:
    """The clips, to be read from these channels of this track.

    channels: `mean`, a number, or `each`, where each clip knows its own.
    """
    if channels in (ALL_CHANNELS, EACH_CHANNEL) and track == FIRST_TRACK:
        return clips
    channel = int(channels) if channels.isdecimal() else None
    return [replace(clip, track=track, channel=channel) for clip in clips]


def write_manifest(clips: Sequence[Clip], out: Path) -> None:
    """Write clips as CSV, TSV or Parquet, so that `read_manifest` returns the same clips.

    Paths below the table's folder or its parent are relative to the table, so that the tree can be moved;
    others are absolute. The columns id, start, end and split are omitted where no clip needs them. An empty
    label and a missing one are the same. Raises InputError.
    """
    labels = list(dict.fromkeys(name for clip in clips for name in clip.labels))
    unusable = [name for name in labels if clean(name).casefold() in (*RESERVED, "")]
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
    # With these two columns, no label is taken for a time.
    if any(clip.start is not None or clip.end is not None for clip in clips) or any(map(may_be_time, labels)):
        columns["start"] = [None if clip.start is None else float(clip.start) for clip in clips]
        columns["end"] = [None if clip.end is None else float(clip.end) for clip in clips]
    columns["speaker"] = [clip.speaker for clip in clips]
    if any(clip.split is not None for clip in clips):
        columns["split"] = [clip.split for clip in clips]
    columns |= {name: [clip.labels.get(name) for clip in clips] for name in labels}
    write_table(columns, out)


class _RowReader:
    """Makes the clips of a table's rows, and collects what the user should know about cells and files."""

    def __init__(self, columns: Columns, cells: PathCells) -> None:
        self._columns = columns
        self.cells = cells
        self.values = Values()

    def clip(self, texts: Mapping[str, str]) -> tuple[Clip, str | None, list[str]]:
        """The clip of one row, its path if there is no such file, and what is wrong with the row."""
        columns, path = self._columns, texts[self._columns.path]
        start, end, faults = columns.segments.read(texts)
        exists = True
        if fault := path_fault(path):
            faults.append(fault)
        else:
            path, exists = self.cells.find(path)
        id = _default_id(path, start, end) if columns.id is None else clean(texts[columns.id])
        if not id and columns.id is not None:
            faults.append("has no id")
        read = self.values.read
        labels = {name: text for name in columns.labels if (text := read(name, texts[name])) is not None}
        speaker, split = columns.speaker, columns.split
        clip = Clip(
            id=id,
            file=self.cells.file_name(path),
            start=start,
            end=end,
            labels=labels,
            speaker=None if speaker is None else read(speaker, texts[speaker], is_name=True),
            split=None if split is None else read(split, texts[split]),
        )
        return clip, None if exists else path, faults


def _default_id(cell: str, start: float | None, end: float | None) -> str:
    if start is None and end is None:
        return cell
    return f"{cell}#{'' if start is None else start}-{'' if end is None else end}"
