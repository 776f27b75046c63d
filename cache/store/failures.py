"""Clips that could not be embedded: FOLDER/failures.csv, one row per clip with the reason."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from layerprobe.cache.common.disk import locked, write_atomically
from layerprobe.cache.common.errors import StoreError
from layerprobe.cache.common.text import guard_cell, unguard_cell
from layerprobe.cache.remote.audio import audio_url
from layerprobe.cache.store.keys import CHANNEL_MARK, AudioSegment

FILE_NAME = "failures.csv"
LOCK = ".failures.lock"
COLUMNS = ["path", "start", "end", "reason", "key"]
COLUMNS_WITHOUT_KEY = COLUMNS[:4]  # written by versions before the key was recorded

FailureId = tuple[
    str, float | None, float | None
]  # absolute path or URL, links not resolved; start, end in seconds


@dataclass(frozen=True)
class Failure:
    """Why a clip failed.

    key: the clip's content key at that time; "" where its file could not be read.
    """

    reason: str
    key: str = ""


Failures = Mapping[FailureId, Failure]


def failure_id(clip: AudioSegment, path: Path | None = None) -> FailureId:
    """How a clip is listed: by the path in its table (or `path`), not by the target of a link.

    One channel of a file is listed as `PATH#channel0`.
    """
    channel = "" if clip.own_channel is None else f"{CHANNEL_MARK}{clip.own_channel}"
    named = path or clip.path
    file = audio_url(named) or os.path.abspath(named)  # noqa: PTH100 (keeps symbolic links)
    return file + channel, clip.start, clip.end


def read(folder: Path) -> dict[FailureId, Failure]:
    """Each failed clip and why; empty without failures. Raises StoreError for a damaged table."""
    table = folder / FILE_NAME
    try:
        text = table.read_bytes().decode("utf-8", "surrogateescape")
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise StoreError(f"cannot be read ({error.strerror})", where=str(table)) from error
    try:
        header, *rows = csv.reader(io.StringIO(text or "\n", newline=""), strict=True)
        if header not in (COLUMNS, COLUMNS_WITHOUT_KEY):
            raise ValueError(f"its columns are {', '.join(header)}")
        if any(len(row) != len(header) for row in rows):
            raise ValueError("a line has too many or too few cells")
        return {
            (unguard_cell(path), _seconds(start), _seconds(end)): Failure(unguard_cell(reason), *key)
            for path, start, end, reason, *key in rows
        }
    except (csv.Error, ValueError) as error:
        raise StoreError(f"not a table of failures ({error})", where=str(table), do="delete it") from error


def reasons(
    folder: Path,
    clips: Sequence[AudioSegment],
    keys: Sequence[str | OSError],
    *,
    elsewhere: Mapping[int, Path] = MappingProxyType({}),
) -> list[str | None]:
    """Why each of these clips, which the store does not contain, failed; None where that is unknown.

    keys: the current keys, from `cache.store.keys`. A file that changed since it failed has not failed; one
    that cannot be read now is looked up by its path, or by its former path in `elsewhere` (clip → path).
    """
    failures = read(folder)
    by_key = {failure.key: failure for failure in failures.values() if failure.key}
    matches = (
        by_key.get(key) if isinstance(key, str) else failures.get(failure_id(clip, elsewhere.get(number)))
        for number, (clip, key) in enumerate(zip(clips, keys, strict=True))
    )
    return [None if failure is None else failure.reason for failure in matches]


def update(folder: Path, *, failed: Failures, succeeded: Sequence[AudioSegment]) -> None:
    """Add and replace failures, and remove clips that have succeeded since; atomic among many processes.

    Writes nothing if nothing changes. Raises StoreError where the table cannot be written.
    """

    def updated(before: Failures) -> dict[FailureId, Failure]:
        resolved = set(map(failure_id, succeeded)) if before else set()
        return {**{id: failure for id, failure in before.items() if id not in resolved}, **failed}

    _change(folder, updated)


def remove(folder: Path, ids: Collection[FailureId]) -> None:
    """Remove these clips from the table. Raises StoreError as `update` does."""
    _change(folder, lambda before: {id: failure for id, failure in before.items() if id not in ids})


def unreferenced(
    folder: Path, *, keys: Collection[str], names: Collection[FailureId]
) -> tuple[FailureId, ...]:
    """The listed clips that are neither among `keys` nor among `names`."""
    failures = read(folder).items()
    return tuple(id for id, failure in failures if failure.key not in keys and id not in names)


def _change(folder: Path, changed: Callable[[Failures], dict[FailureId, Failure]]) -> None:
    before = read(folder)
    if changed(before) == before:
        return
    try:
        with locked(folder / LOCK):
            write_atomically(folder / FILE_NAME, _to_csv(changed(read(folder))))
    except OSError as error:
        raise StoreError(f"cannot be written ({error.strerror})", where=str(folder / FILE_NAME)) from error


def _to_csv(failures: Failures) -> str:
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    writer.writerow(COLUMNS)
    for path, start, end in sorted(failures, key=lambda id: (id[0], id[1] or 0.0, id[2] or 0.0)):
        segment = ["" if second is None else repr(second) for second in (start, end)]
        failure = failures[path, start, end]
        writer.writerow([guard_cell(path), *segment, guard_cell(failure.reason), failure.key])
    return text.getvalue()


def _seconds(text: str) -> float | None:
    return float(text) if text else None
