"""Clips of a table → the keys that a store knows them by."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from cache.digests import Digests, Stamp, file_digest, stamp
from cache.identity import clip_key


class Located(Protocol):
    """A stretch of a file: `start` and `end` in seconds, None for the file's own."""

    @property
    def path(self) -> Path: ...
    @property
    def start(self) -> float | None: ...
    @property
    def end(self) -> float | None: ...


def clip_keys(clips: Sequence[Located], cache: Path) -> list[str | OSError]:
    """Each clip's key, or why its file could not be read; hashes are remembered in the cache."""
    with Digests(cache) as digests:
        known = digests.of(sorted({clip.path for clip in clips}))
    keys: list[str | OSError] = []
    for clip in clips:
        digest = known[clip.path]
        if isinstance(digest, str):
            digest = clip_key(digest, start=clip.start, end=clip.end)
        keys.append(digest)
    return keys


def still_holds(clip: Located, key: str, before: Stamp | None) -> bool:
    """Whether a clip's file holds what its key says. Reads it only if its stamp is not that of `before`."""
    if before is not None and stamp(clip.path) == before:
        return True
    digest = file_digest(clip.path)
    return isinstance(digest, str) and clip_key(digest, start=clip.start, end=clip.end) == key


def remembered_keys(clips: Sequence[Located], cache: Path) -> list[str | OSError]:
    """As `clip_keys`; a file that is gone by now is known by what it held when it was last seen."""
    keys = clip_keys(clips, cache)
    with Digests(cache) as digests:
        for number, (clip, key) in enumerate(zip(clips, keys, strict=True)):
            if isinstance(key, FileNotFoundError) and (digest := digests.last(clip.path)) is not None:
                keys[number] = clip_key(digest, start=clip.start, end=clip.end)
    return keys
