"""Clips that could not be embedded: FOLDER/failures.csv, a line each with the reason."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from layerprobe.cache.common.disk import locked, write_atomically
from layerprobe.cache.common.errors import StoreError
from layerprobe.cache.identity.keys import AudioSegment

FILE_NAME = "failures.csv"
LOCK = ".failures.lock"
COLUMNS = ["path", "start", "end", "reason", "key"]
BEFORE_KEYS = COLUMNS[:4]  # as written by versions that did not know of keys yet

FailureId = tuple[str, float | None, float | None]  # absolute path, links as they are; start, end in seconds


@dataclass(frozen=True)
class Failure:
    """Why a clip failed.

    key: the store's name for the clip as it was then; "" where its file could not be read.
    """

    reason: str
    key: str = ""


def failure_id(clip: AudioSegment) -> FailureId:
    """How a clip is listed: by its table's path, not by what a link leads to."""
    return os.path.abspath(clip.path), clip.start, clip.end  # noqa: PTH100 (keeps symbolic links)


def read(folder: Path) -> dict[FailureId, Failure]:
    """Each failed clip and why; empty where nothing has failed. StoreError for a damaged table."""
    table = folder / FILE_NAME
    try:
        text = table.read_bytes().decode("utf-8", "surrogateescape")
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise StoreError(f"cannot be read ({error.strerror})", where=str(table)) from error
    try:
        header, *rows = csv.reader(io.StringIO(text or "\n", newline=""), strict=True)
        if header not in (COLUMNS, BEFORE_KEYS):
            raise ValueError(f"its columns are {', '.join(header)}")
        if any(len(row) != len(header) for row in rows):
            raise ValueError("a line has cells too many or too few")
        return {
            (path, _seconds(start), _seconds(end)): Failure(reason, *key)
            for path, start, end, reason, *key in rows
        }
    except (csv.Error, ValueError) as error:
        raise StoreError(f"not a table of failures ({error})", where=str(table), do="delete it") from error


def reasons(folder: Path, clips: Sequence[AudioSegment], keys: Sequence[str | OSError]) -> list[str | None]:
    """Why each of these clips, which the store does not hold, failed; None where that is not known.

    keys: of the clips as they are now, as `cache.identity.keys.clip_keys` gives them. A file that was changed since
    it failed has not failed; one that cannot be read now is known by its name.
    """
    listed = read(folder)
    by_key = {failure.key: failure.reason for failure in listed.values() if failure.key}
    found: list[str | None] = []
    for clip, key in zip(clips, keys, strict=True):
        if isinstance(key, str):
            found.append(by_key.get(key))
        else:
            named = listed.get(failure_id(clip))
            found.append(None if named is None else named.reason)
    return found


def update(folder: Path, *, failed: Mapping[FailureId, Failure], succeeded: Sequence[AudioSegment]) -> None:
    """Add and replace failures, and forget the clips that have succeeded since; atomic among many processes.

    Where that changes nothing, nothing is written. Raises StoreError where the table cannot be written.
    """

    def changed(before: Mapping[FailureId, Failure]) -> dict[FailureId, Failure]:
        gone = before.keys() & map(failure_id, succeeded) if before else set()
        return {**{id: failure for id, failure in before.items() if id not in gone}, **failed}

    _change(folder, changed)


def remove(folder: Path, ids: Collection[FailureId]) -> None:
    """Take these out of the table. Raises StoreError as `update`."""
    _change(folder, lambda before: {id: failure for id, failure in before.items() if id not in ids})


def _change(folder: Path, changed: Callable[[Mapping[FailureId, Failure]], dict[FailureId, Failure]]) -> None:
    before = read(folder)
    if changed(before) == before:
        return
    try:
        with locked(folder / LOCK):
            write_atomically(folder / FILE_NAME, _text(changed(read(folder))))
    except OSError as error:
        raise StoreError(f"cannot be written ({error.strerror})", where=str(folder / FILE_NAME)) from error


def unreferenced(
    folder: Path, *, keys: Collection[str], names: Collection[FailureId]
) -> tuple[FailureId, ...]:
    """The listed clips that are neither among `keys` nor among `names`."""
    listed = read(folder).items()
    return tuple(id for id, failure in listed if failure.key not in keys and id not in names)


def _text(failures: Mapping[FailureId, Failure]) -> str:
    out = io.StringIO(newline="")
    writer = csv.writer(out)
    writer.writerow(COLUMNS)
    for path, start, end in sorted(failures, key=lambda clip: (clip[0], clip[1] or 0.0, clip[2] or 0.0)):
        segment = ["" if second is None else repr(second) for second in (start, end)]
        failure = failures[path, start, end]
        writer.writerow([path, *segment, failure.reason, failure.key])
    return out.getvalue()


def _seconds(text: str) -> float | None:
    return float(text) if text else None
