"""Content keys of clips: what a store knows them by."""

from __future__ import annotations

import hashlib
from binascii import Error as HexError
from binascii import unhexlify
from collections.abc import Iterator, Sequence
from itertools import groupby
from pathlib import Path
from typing import Protocol

import numpy as np

from layerprobe.cache.identity.digests import DigestCache, FileStamp, file_digest, file_stamp

KEY_BYTES = 32  # of a clip's key, which is written as hex digits


class AudioSegment(Protocol):
    """A segment of a file: `start` and `end` in seconds, None for the file's own."""

    @property
    def path(self) -> Path: ...
    @property
    def start(self) -> float | None: ...
    @property
    def end(self) -> float | None: ...


def clip_key(digest: str, *, start: float | None, end: float | None) -> str:
    """A clip's key, 64 hex digits: its file's SHA-256, or for a segment (seconds) a hash of both."""
    if start is None and end is None:
        return digest
    begin = 0.0 if start is None else float(start)
    stop = "" if end is None else repr(float(end))
    return hashlib.sha256(f"{digest}|{begin!r}|{stop}".encode()).hexdigest()


def clip_keys(clips: Sequence[AudioSegment], cache: Path) -> list[str | OSError]:
    """Each clip's key, or why its file could not be read. File digests are saved in the cache."""
    keys: list[str | OSError] = [""] * len(clips)
    for index, key in iter_keys(clips, cache):
        keys[index] = key
    return keys


def iter_keys(clips: Sequence[AudioSegment], cache: Path) -> Iterator[tuple[int, str | OSError]]:
    """Each clip's index and key, as `clip_keys`; in the order of file names, so that nothing accumulates."""

    def file_name(index: int) -> str:
        return str(clips[index].path)

    order = sorted(range(len(clips)), key=file_name)
    files = (clips[next(group)].path for _, group in groupby(order, key=file_name))
    with DigestCache(cache) as digests:
        for digest, (_, group) in zip(digests.iter_hashes(files), groupby(order, key=file_name), strict=True):
            for index in group:
                start, end = clips[index].start, clips[index].end
                yield index, clip_key(digest, start=start, end=end) if isinstance(digest, str) else digest


def is_unchanged(clip: AudioSegment, key: str, before: FileStamp | None) -> bool:
    """Whether a clip still has this key. Reads the file only if its stamp differs from `before`."""
    if before is not None and file_stamp(clip.path) == before:
        return True
    digest = file_digest(clip.path)
    return isinstance(digest, str) and clip_key(digest, start=clip.start, end=clip.end) == key


def remembered_keys(clips: Sequence[AudioSegment], cache: Path) -> list[str | OSError]:
    """As `clip_keys`, but a deleted file keeps the key of its last known content."""
    keys = clip_keys(clips, cache)
    with DigestCache(cache) as digests:
        for index, (clip, key) in enumerate(zip(clips, keys, strict=True)):
            if isinstance(key, FileNotFoundError) and (digest := digests.last_known(clip.path)) is not None:
                keys[index] = clip_key(digest, start=clip.start, end=clip.end)
    return keys


def keys_to_digests(keys: Sequence[str] | np.ndarray) -> np.ndarray:
    """Keys of 64 hex digits → (N,) S32, half the memory. Raises binascii.Error for a malformed key."""
    text = np.array(keys, dtype="S") if len(keys) else np.empty(0, "S64")
    if text.dtype.itemsize != 64:
        raise HexError("a clip's key has 64 hex digits")
    return np.frombuffer(unhexlify(text.tobytes()), dtype="S32")


def digests_to_keys(digests: np.ndarray) -> list[str]:
    """(N,) S32 → keys of 64 hex digits."""
    text = digests.tobytes().hex()
    return [text[i : i + 64] for i in range(0, len(text), 64)]
