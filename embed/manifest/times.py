"""The times of segments: which columns of a table hold them, in which unit, and how a cell is read."""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Literal

from layerprobe.cache.common.text import format_list, shorten

Role = Literal["start", "end", "duration", "offset"]  # an offset is the end after an onset, else a start

_ROLES: dict[str, Role] = {
    **dict.fromkeys(("start", "begin", "onset", "from", "tmin", "xmin", "starttime", "begintime"), "start"),
    **dict.fromkeys(("end", "stop", "finish", "to", "tmax", "xmax", "endtime", "stoptime"), "end"),
    **dict.fromkeys(("duration", "dur"), "duration"),
    "offset": "offset",
}
_PER_SECOND = {
    **dict.fromkeys(("s", "sec", "secs", "second", "seconds"), 1),
    **dict.fromkeys(("ms", "msec", "msecs", "millisecond", "milliseconds"), 1_000),
    **dict.fromkeys(("us", "μs", "microsecond", "microseconds"), 1_000_000),
    **dict.fromkeys(("ns", "nanosecond", "nanoseconds"), 1_000_000_000),
}
_UNIT_NAMES = {1: "seconds", 1_000: "milliseconds", 1_000_000: "microseconds", 1_000_000_000: "nanoseconds"}
_FILLERS = {"time", "timestamp", "t", "segment", "seg", "clip", "utterance", "utt", "at", "in", "audio", "of"}
# Words in the names of columns that may hold times, in a unit or for a purpose that is not known.
_TIME_WORDS = {
    *_ROLES,
    *("time", "times", "timestamp", "timestamps", "timecode", "t", "starts", "ends", "started", "ended"),
    *("length", "len", "frame", "frames", "sample", "samples", "in", "out"),
    *("beginn", "anfang", "ende", "dauer", "début", "debut", "fin", "durée", "inicio", "início", "fim"),
}
_RANGE_WORDS = {"segment", "segments", "interval", "span", "turn"}  # which may hold both times in one cell
# ELAN's names for the formats of its times, which contain names of other units.
_FORMATS = {"hh:mm:ss.ms": "s", "ss.msec": "s"}

# Of pandas, `-1 days +23:59:59`; of Python, `0:00:01.5`; of subtitles, `00:00:01,500`; of players, `1:23.5`.
_CLOCK = r"\+?(?:(?:(\d+):)?(\d+):)([0-5]\d(?:[.,]\d+)?)"
_TIMEDELTA = re.compile(rf"(?:(-?\d+) days?,? ?)?(?:{_CLOCK})?")
_WITH_UNIT = re.compile(r"([+-]?[\d.,]+) ?([^\W\d_]+)")  # `1.5 s`, `1500ms`
_NUMBER_FIRST = re.compile(r"[\[(]?[+-]?[.,]?\d")
_RANGE = re.compile(r"[\[(]?\d[\d.:]* ?(?:-|–|,|;|to) ?\d[\d.:]*[\])]?")
_DECIMAL_COMMA = re.compile(r"[+-]?\d*,\d+")


@dataclass(frozen=True)
class TimeColumn:
    """A column of times. per_second: how many of its units make one second."""

    name: str
    per_second: int = 1

    def seconds(self, text: str, *, decimal_comma: bool) -> float | None:
        """Raises ValueError for a cell that is no time, is negative or is not finite."""
        return read_seconds(text, per_second=self.per_second, decimal_comma=decimal_comma)


@dataclass(frozen=True, kw_only=True)
class SegmentColumns:
    """The columns that cut segments out of files; all None where clips are complete files.

    notes: what the user should know about them, one line per note. decimal_comma: `1,5` is 1.5.
    """

    start: TimeColumn | None = None
    end: TimeColumn | None = None
    duration: TimeColumn | None = None
    decimal_comma: bool = False
    notes: tuple[str, ...] = ()

    @property
    def names(self) -> set[str]:
        return {column.name for column in (self.start, self.end, self.duration) if column is not None}

    def read(self, cells: Mapping[str, str]) -> tuple[float | None, float | None, list[str]]:
        """Start and end of one row's clip in seconds, and what is wrong with its cells."""
        if self.start is None and self.end is None and self.duration is None:
            return None, None, []
        faults: list[str] = []

        def read(column: TimeColumn | None) -> float | None:
            if column is None:
                return None
            try:
                return column.seconds(cells[column.name], decimal_comma=self.decimal_comma)
            except ValueError as error:
                faults.append(f"{column.name} {error}")
                return None

        start, end, duration = read(self.start), read(self.end), read(self.duration)
        if duration is not None and self.end is None:
            end = round((start or 0.0) + duration, 9)
        elif duration is not None and end is not None:
            start = round(end - duration, 9)
            if start < 0:
                faults.append(f"duration {duration:g} is longer than the time to its end {end:g}")
        if end is not None and end <= (start or 0.0):
            faults.append(f"end {end:g} is not after start {start or 0.0:g}")
        return (None if end is None and start == 0.0 else start), end, faults


def find_segments(columns: Mapping[str, Sequence[str]], *, decimal_comma: bool) -> SegmentColumns:
    """The columns of segments among those of a table: name -> cells.

    `start` and `end` are taken as they are. Other spellings (`begin`, `StopTime`, `offset` and `duration`,
    `end_ms`) are taken where they complete a pair; what is taken, and what looks like a time and is not, is
    noted. Columns under other spellings that hold no times are labels.
    """
    if "start" in columns and "end" in columns:
        return SegmentColumns(start=TimeColumn("start"), end=TimeColumn("end"), decimal_comma=decimal_comma)
    candidates: dict[Role, list[TimeColumn]] = {role: [] for role in ("start", "end", "duration", "offset")}
    for name in columns:
        if (known := time_role(name)) is None:
            continue
        role, per_second = known
        if name.casefold() in ("start", "end") or _holds_times(columns[name], decimal_comma=decimal_comma):
            candidates[role].append(TimeColumn(name, per_second))
    start, end, duration, offset = (_best(candidates[role]) for role in candidates)
    if offset is not None and end is None and start is not None and "onset" in start.name.casefold():
        end = offset
    elif offset is not None and start is None and (duration or end):
        start = offset
    if end is not None and start is not None:
        duration = None
    ended = end is not None and "end" in _words(end.name)
    if not (start and end) and not (duration and (start or ended)):
        # Half a pair counts only under its own name.
        start = start if start and start.name.casefold() == "start" else None
        end = end if end and end.name.casefold() == "end" and start is None else None
        duration = None
    found = SegmentColumns(start=start, end=end, duration=duration, decimal_comma=decimal_comma)
    return SegmentColumns(**{**vars(found), "notes": tuple(_notes(found, columns))})


def time_role(name: str) -> tuple[Role, int] | None:
    """What a column of times is by its name, and its units per second; None for other names."""
    words = _words(name)
    units = [word for word in words if word in _PER_SECOND]
    rest = [word for word in words if word not in _PER_SECOND and word not in _FILLERS]
    if len(rest) != 1 or len(units) > 1 or rest[0] not in _ROLES:
        return None
    return _ROLES[rest[0]], _PER_SECOND[units[0]] if units else 1


def may_be_time(name: str) -> bool:
    """Whether a column with this name may hold times of any kind."""
    return bool(_TIME_WORDS & set(_words(name)))


def may_be_range(name: str) -> bool:
    """Whether a column with this name may hold the start and end of segments in one cell."""
    return bool((_TIME_WORDS | _RANGE_WORDS) & set(_words(name)))


def read_seconds(text: str, *, per_second: int = 1, decimal_comma: bool = False) -> float | None:
    """The seconds of a number, of one with a unit (`15 ms`) or of a timedelta; None for an empty cell or NaT.

    per_second: how many units of a number without one make a second. Raises ValueError.
    """
    text = text.strip()
    if text.lower() in ("", "nan") or text == "NaT":
        return None
    if match := _TIMEDELTA.fullmatch(text):
        days, hours, minutes, rest = (float((number or "0").replace(",", ".")) for number in match.groups())
        seconds = round(days * 86_400 + hours * 3_600 + minutes * 60 + rest, 9)
    else:
        unit = _WITH_UNIT.fullmatch(text)
        number, per_second = (unit[1], _PER_SECOND.get(_letters(unit[2]), 0)) if unit else (text, per_second)
        number = number.replace(",", ".") if decimal_comma and _DECIMAL_COMMA.fullmatch(number) else number
        try:
            seconds = float("" if "_" in number or not per_second else number) / (per_second or 1)
        except ValueError:
            what = f"'{shorten(text)}' is neither seconds (1.5) nor a time (0 days 00:00:01.5)"
            raise ValueError(what) from None
    if not math.isfinite(seconds) or seconds < 0:
        raise ValueError(f"'{shorten(text)}' is {'negative' if seconds < 0 else 'not finite'}")
    return seconds


def _words(name: str) -> list[str]:
    """`StartTime`, `start_time`, `startms` and `Begin Time - ss.msec` in words."""
    for form, unit in _FORMATS.items():
        name = name.replace(form, unit)
    apart = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", unicodedata.normalize("NFKC", name))
    words = [_letters(word) for word in re.findall(r"[^\W\d_]+|\d+", apart)]
    return [part for word in words for part in _without_unit(word)]


def _letters(word: str) -> str:
    return unicodedata.normalize("NFKC", word).casefold()


def _without_unit(word: str) -> tuple[str, ...]:
    """A role and the unit that is written at its end, such as `startms`; other words as they are."""
    if word not in _ROLES:
        for unit in _PER_SECOND:
            if word.endswith(unit) and word.removesuffix(unit) in _ROLES:
                return word.removesuffix(unit), unit
    return (word,)


def _holds_times(cells: Sequence[str], *, decimal_comma: bool) -> bool:
    """Whether any cell is a time; the others are then faults."""
    for text in cells:
        with suppress(ValueError):
            if read_seconds(text, decimal_comma=decimal_comma) is not None:
                return True
    return False


def _looks_like_times(name: str, cells: Sequence[str]) -> bool:
    """Whether any cell begins with a number, or holds two where the name is not that of a time."""
    looks = _NUMBER_FIRST.match if may_be_time(name) else _RANGE.fullmatch
    return any(looks(text.strip()) for text in cells)


def _best(columns: Sequence[TimeColumn]) -> TimeColumn | None:
    """The column with the plainest name."""
    return min(columns, key=lambda column: (len(_words(column.name)), len(column.name)), default=None)


def _notes(found: SegmentColumns, columns: Mapping[str, Sequence[str]]) -> list[str]:
    parts = [
        f"'{column.name}' ({role}, {_UNIT_NAMES[column.per_second]})"
        for role in ("start", "end", "duration")
        if (column := getattr(found, role)) is not None
    ]
    notes = []
    if len(parts) == 2:
        notes.append(f"segments are cut by the columns {' and '.join(parts)}")
    elif parts:
        stretch = (
            "from there to the end of its file" if found.start else "from the start of its file to there"
        )
        notes.append(f"of segments, only the column {parts[0]} is known: each clip is cut {stretch}")
    unused = [
        name
        for name, cells in columns.items()
        if name not in found.names
        and (time_role(name) is not None or len(parts) < 2)
        and _looks_like_times(name, cells)
    ]
    if unused and not parts:
        notes.append(
            f"{_columns_named(unused)} numbers that may be times, but cuts no segments: complete files are "
            "used (segments need `start` and `end`, or `start` and `duration`, in seconds)"
        )
    elif unused:
        notes.append(f"{_columns_named(unused)} times, but cuts no segments")
    return notes


def _columns_named(names: Sequence[str]) -> str:
    listed = format_list([f"'{name}'" for name in names])
    return f"column {listed} holds" if len(names) == 1 else f"each of the columns {listed} holds"
