"""What the columns of a table mean: paths, speakers, ids, splits, segments and labels; and missing values."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from sys import intern

from layerprobe.cache.common.errors import ManifestError, Problem
from layerprobe.cache.common.text import format_count, format_list
from layerprobe.embed.manifest.readers.table import Table
from layerprobe.embed.manifest.times import SegmentColumns, find_segments, may_be_range

# The first of these that a table has is its column of paths, or of speakers, unless one is named. `file` is
# audformat's name, `file_name` Hugging Face's.
PATH_COLUMNS = ("path", "file", "file_name", "filename", "filepath", "file_path", "audio", "wav")
SPEAKER_COLUMNS = ("speaker", "speaker_id", "speakerid", "spk", "spk_id")
RESERVED = ("id", "path", "start", "end", "speaker", "split")  # columns with a meaning, so not label names

# Words in the names of columns that may hold the speakers.
_SPEAKER_WORDS = {"speaker", "subject", "actor", "participant", "talker", "person", "client"}
_OF_CHANNEL = re.compile(r"speaker_\d+")  # the speaker of one channel, with --channels each
# Texts that other programs write for a missing value: of any column, and of a label. A speaker may be called
# like one of the latter, and `none` may be a class.
_NAN = ("nan", "NaN")
_NOT_A_LABEL = (
    *("na", "n/a", "n.a.", "#n/a", "<na>", "null", "\\n"),
    *("#ref!", "#value!", "#div/0!", "#name?", "#num!", "#null!"),  # of a spreadsheet's formulas
)
_NOT_A_NAME = (*_NOT_A_LABEL, "none")  # `None` is Python's text for a missing value
_INVISIBLE = "\ufeff\u200b"  # byte order mark, zero-width space


@dataclass(frozen=True)
class Columns:
    """Which columns of a table hold what, by their names in `names`; None for columns that it lacks."""

    names: tuple[str, ...]
    path: str
    speaker: str | None
    id: str | None
    split: str | None
    segments: SegmentColumns
    labels: tuple[str, ...]
    notes: tuple[str, ...]

    @classmethod
    def find(cls, raw: Table, table: Path, *, path: str | None, speaker: str | None) -> Columns:
        """The columns, whatever the case of their names and the space around them.

        path, speaker: names that the user gave. Raises ManifestError.
        """
        names = [clean(name) for name in raw.columns]
        if not names:
            raise ManifestError(str(table), [Problem(None, "is empty")])
        listed = ", ".join(f"'{name}'" for name in names)
        repeated = [name for name in dict.fromkeys(names) if name and names.count(name) > 1]
        problems = [Problem(None, f"has more than one column '{name}'") for name in repeated]
        for given in (path, speaker):
            if given is not None and _first([given], names) is None:
                problems.append(Problem(None, f"has no column '{given}'; its columns are {listed}"))
        usual = PATH_COLUMNS if raw.path_column is None else [raw.path_column]
        found = _first(usual if path is None else [path], names)
        do = ""
        if found is None and path is None:
            problems.append(Problem(None, f"has no column of paths; its columns are {listed}"))
            do = f"call it '{PATH_COLUMNS[0]}' or name it with --path-column"
        if found is None or problems:
            raise ManifestError(str(table), problems, do=do)
        return cls._with_path(raw, names, found, speaker)

    @classmethod
    def _with_path(cls, raw: Table, names: list[str], path: str, speaker: str | None) -> Columns:
        full = [row for row in raw.rows if len(row) == len(names)]
        times = {
            name: [row[place] for row in full]
            for place, name in enumerate(names)
            if name != path and may_be_range(name)
        }
        segments = find_segments(times, decimal_comma=raw.decimal_comma)
        notes = [*raw.notes, *segments.notes]
        taken = {path, *segments.names, ""}
        others = [name for name in names if name not in taken]
        speakers = _first(SPEAKER_COLUMNS if speaker is None else [speaker], others)
        id, split = _first(["id"], others), _first(["split"], others)
        if id not in (None, "id") and len({row[names.index(id)] for row in full} - {""}) < len(full):
            notes.append(f"column '{id}' is a label, not the clips' names, because it repeats")
            id = None
        if speakers is None:
            named = [
                name
                for name in others
                if _SPEAKER_WORDS & set(re.findall(r"[a-z]+", name.casefold()))
                and not _OF_CHANNEL.fullmatch(name)
            ]
            notes += [
                f"'{name}' is a label; if it names speakers, add --speaker-column" for name in named[:1]
            ]
        renamed = [
            f"'{name}' as {role}"
            for name, role in ((id, "id"), (split, "split"), (speakers, "speaker"))
            if name is not None and name != role and name.casefold() == role
        ]
        if renamed:
            notes.append(f"read {' and '.join(renamed)}")
        labels = tuple(name for name in others if name not in (id, split, speakers))
        return cls(tuple(names), path, speakers, id, split, segments, labels, tuple(notes))


def clean(text: str) -> str:
    """A cell without the space around it, visible or not."""
    return text.strip().strip(_INVISIBLE).strip()


class Values:
    """Reads the cells of labels, speakers and splits, and counts the texts that stand for a missing value."""

    def __init__(self) -> None:
        self._missing: Counter[tuple[str, str]] = Counter()
        self._names: Counter[tuple[str, str]] = Counter()

    def read(self, column: str, cell: str, *, is_name: bool = False) -> str | None:
        """The text of a cell without the space around it; None where the value is missing.

        is_name: a speaker's name. Interned, because many rows hold the same text.
        """
        text = clean(cell)
        if not text:
            return None
        if text in _NAN or (not is_name and (text == "NAN" or text.lower() in _NOT_A_LABEL)):
            self._missing[column, text] += 1
            return None
        if is_name and text.lower() in _NOT_A_NAME:
            self._names[column, text] += 1
        return intern(text)

    def notes(self) -> list[str]:
        """One line each on texts that were read as missing, and on those that were not."""
        notes = []
        if self._missing:
            listed = format_list([_counted(entry) for entry in self._missing.items()])
            notes.append(f"read as missing: {listed}; write a value otherwise if it is one")
        if self._names:
            listed = format_list([_counted(entry) for entry in self._names.items()])
            notes.append(f"read as the name of a speaker: {listed}; leave the cell empty if none is known")
        return notes


def _counted(entry: tuple[tuple[str, str], int]) -> str:
    (column, text), count = entry
    return f"'{text}' in column '{column}' ({format_count(count, 'row')})"


def _first(wanted: Sequence[str], names: Sequence[str]) -> str | None:
    """The first of `wanted` among `names`: the exact name if there is one, else whatever case and spacing."""
    alike = {folded(name): name for name in reversed(names)}
    exact = next((name for name in wanted if name in names), None)
    return exact or next((alike[folded(name)] for name in wanted if folded(name) in alike), None)


def folded(name: str) -> str:
    """A column's name apart from case, space and hyphens."""
    return re.sub(r"[\s_-]+", "_", clean(name)).casefold()
