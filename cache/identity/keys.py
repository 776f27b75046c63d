"""Clips of a table → the keys that a store knows them by."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from itertools import groupby
from pathlib import Path
from typing import Protocol

from layerprobe.cache.identity.digests import DigestCache, FileStamp, file_digest, file_stamp

KEY_BYTES = 32  # of a clip's key, which is written as hex digits


class AudioSegment(Protocol):
    """A stretch of a file: `start` and `end` in seconds, None for the file's own."""

    @property
    def path(self) -> Path: ...
    @property
    def start(self) -> float | None: ...
    @property
    def end(self) -> float | None: ...


def clip_keys(clips: Sequence[AudioSegment], cache: Path) -> list[str | OSError]:
    """Each clip's key, or why its file could not be read; hashes are remembered in the cache."""
    keys: list[str | OSError] = [""] * len(clips)
    for place, key in iter_keys(clips, cache):
        keys[place] = key
    return keys


def iter_keys(clips: Sequence[AudioSegment], cache: Path) -> Iterator[tuple[int, str | OSError]]:
    """The same one by one, each with its clip's place; in the order of files, so that none are held."""

    def named(place: int) -> str:
        return str(clips[place].path)

    order = sorted(range(len(clips)), key=named)
    files = (clips[next(same)].path for _, same in groupby(order, key=named))
    with DigestCache(cache) as digests:
        for digest, (_, same) in zip(digests.iter_hashes(files), groupby(order, key=named), strict=True):
            for place in same:
                start, end = clips[place].start, clips[place].end
                yield place, clip_key(digest, start=start, end=end) if isinstance(digest, str) else digest


def is_unchanged(clip: AudioSegment, key: str, before: FileStamp | None) -> bool:
    """Whether a clip's file holds what its key says. Reads it only if its stamp is not that of `before`."""
    if before is not None and file_stamp(clip.path) == before:
        return True
    digest = file_digest(clip.path)
    return isinstance(digest, str) and clip_key(digest, start=clip.start, end=clip.end) == key


def remembered_keys(clips: Sequence[AudioSegment], cache: Path) -> list[str | OSError]:
    """As `clip_keys`; a file that is gone by now is known by what it held when it was last seen."""
    keys = clip_keys(clips, cache)
    with DigestCache(cache) as digests:
        for number, (clip, key) in enumerate(zip(clips, keys, strict=True)):
            if isinstance(key, FileNotFoundError) and (digest := digests.last_known(clip.path)) is not None:
                keys[number] = clip_key(digest, start=clip.start, end=clip.end)
    return keys


def clip_key(digest: str, *, start: float | None, end: float | None) -> str:
    """64 hex digits for a clip: its file's SHA-256, or with a segment (seconds) a hash of both."""
    if start is None and end is None:
        return digest
    begin = 0.0 if start is None else float(start)
    stop = "" if end is None else repr(float(end))
    return hashlib.sha256(f"{digest}|{begin!r}|{stop}".encode()).hexdigest()
