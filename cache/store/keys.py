"""Content keys of clips: what a store knows them by."""

from __future__ import annotations

import hashlib
import os
from binascii import Error as HexError
from binascii import unhexlify
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np

from layerprobe.cache.common.text import format_count
from layerprobe.cache.identity.digests import DigestCache
from layerprobe.cache.identity.hashing import FileStamp, Look, file_digest, file_stamp
from layerprobe.cache.identity.moved_files import find_former_folder, relative_path

KEY_BYTES = 32  # of a clip's key, which is written as hex digits
CHANNEL_MARK = "#channel"  # before its number in the id of a clip that is one channel of a recording


class AudioSegment(Protocol):
    """A segment of a file: `start` and `end` in seconds, None for the file's own.

    own_channel: which channel of the file it is, where each is a clip of its own; else None.
    """

    @property
    def path(self) -> Path: ...
    @property
    def start(self) -> float | None: ...
    @property
    def end(self) -> float | None: ...
    @property
    def own_channel(self) -> int | None: ...


class NamedClip(AudioSegment, Protocol):
    """A clip of a table, with its name there: by default the path as the table writes it."""

    @property
    def id(self) -> str: ...


def clip_key(digest: str, *, start: float | None, end: float | None, own_channel: int | None = None) -> str:
    """A clip's key, 64 hex digits: its file's SHA-256, or for a segment (seconds) a hash of both.

    own_channel: of a clip that is one channel of the file.
    """
    key = digest
    if start is not None or end is not None:
        begin = 0.0 if start is None else float(start)
        stop = "" if end is None else repr(float(end))
        key = hashlib.sha256(f"{digest}|{begin!r}|{stop}".encode()).hexdigest()
    return key if own_channel is None else channel_key(key, own_channel)


def channel_key(key: str, channel: int) -> str:
    """The key of one channel of the recording or segment with this key."""
    return hashlib.sha256(f"{key}|channel {channel}".encode()).hexdigest()


def _key(digest: str, clip: AudioSegment) -> str:
    return clip_key(digest, start=clip.start, end=clip.end, own_channel=clip.own_channel)


def clip_keys(clips: Sequence[AudioSegment], cache: Path) -> list[str | OSError]:
    """Each clip's key, or why its file could not be read. File digests are saved in the cache."""
    keys: list[str | OSError] = [""] * len(clips)
    for clip in iter_keys(clips, cache):
        keys[clip.row] = clip.key
    return keys


class KeyedClip(NamedTuple):
    """A clip's row in its table and its key, or why it has none.

    stamp: of its file when it was hashed. seen: what `look` returned for the file; None if it was not hashed.
    """

    row: int
    key: str | OSError
    stamp: FileStamp | None
    seen: Any = None


def iter_keys(clips: Sequence[AudioSegment], cache: Path, *, look: Look | None = None) -> Iterator[KeyedClip]:
    """Each clip with its key, as `clip_keys`; in the order of file names, so that nothing accumulates.

    look: called with each file that is hashed, while it is open.
    """
    names = [str(clip.path) for clip in clips]
    order = sorted(range(len(clips)), key=names.__getitem__)
    files = (name for name, _ in groupby(order, key=names.__getitem__))
    with DigestCache(cache) as digests:
        groups = groupby(order, key=names.__getitem__)
        hashes = digests.iter_hashes(files, look=look)
        for (digest, stamp, seen), (_, group) in zip(hashes, groups, strict=True):
            for index in group:
                key = _key(digest, clips[index]) if isinstance(digest, str) else digest
                yield KeyedClip(index, key, stamp, seen)


def is_unchanged(clip: AudioSegment, key: str, before: FileStamp | None) -> bool:
    """Whether a clip still has this key. Reads the file only if its stamp differs from `before`."""
    if before is not None and file_stamp(clip.path) == before:
        return True
    digest = file_digest(clip.path)
    return isinstance(digest, str) and _key(digest, clip) == key


@dataclass(frozen=True)
class KnownKeys:
    """Keys of a table's clips, also of those whose audio is elsewhere.

    keys: each clip's key, or why it is not known. elsewhere: clip → the path under which the cache knows its
    file, which is not on this machine. note: one line on these clips; empty if there are none. all_elsewhere:
    whether no file of the table is on this machine.
    """

    keys: list[str | OSError]
    elsewhere: Mapping[int, Path]
    note: str = ""
    all_elsewhere: bool = False


def known_keys(clips: Sequence[NamedClip], cache: Path) -> KnownKeys:
    """As `clip_keys`, but a file that is not on this machine has the key of its last known content.

    It is known by its path; or, where table and cache came from another machine, by the table's relative
    path below the folder in which the cache saw all of these files. Raises StoreError where several
    recordings could be meant.
    """
    keys = clip_keys(clips, cache)
    absent = [i for i, key in enumerate(keys) if isinstance(key, FileNotFoundError | NotADirectoryError)]
    if not absent:
        return KnownKeys(keys, {})
    with DigestCache(cache) as digests:
        known = {i: digest for i in absent if (digest := digests.last_known(clips[i].path)) is not None}
        elsewhere = {i: clips[i].path for i in known}
        names = _relative_paths(clips)
        moved = {i: names[i] for i in absent if i not in known}
        present = set(range(len(clips))) - set(absent) if moved else ()
        here = {names[i]: digests.last_known(clips[i].path) or "" for i in present}
        former = find_former_folder(moved.values(), here=here, known=digests.all_known()) if moved else None
    if former is not None:
        elsewhere |= {i: former.folder / name for i, name in moved.items()}
        known |= {i: former.digests[name] for i, name in moved.items() if name in former.digests}
    for i, digest in known.items():
        keys[i] = _key(digest, clips[i])
    place = f"the same paths below {former.folder}" if former is not None else "their paths"
    count = format_count(len(known), "clip")
    note = f"the audio of {count} is not on this machine and was not read; the cache knows it by {place}"
    return KnownKeys(keys, elsewhere, note if known else "", bool(known) and len(absent) == len(clips))


def _is_whole(clip: AudioSegment) -> bool:
    return clip.start is None and clip.end is None


def _relative_paths(clips: Sequence[NamedClip]) -> list[str]:
    """Paths below the folder where the table's relative paths begin; else below the folder of all files."""
    files = [clip.path.absolute() for clip in clips]
    ids = [clip.id if clip.own_channel is None else clip.id.rpartition(CHANNEL_MARK)[0] for clip in clips]
    cells = [id if _is_whole(clip) else id.rpartition("#")[0] for clip, id in zip(clips, ids, strict=True)]
    names = [relative_path(file, cell) for file, cell in zip(files, cells, strict=True)]
    if None in names:
        folder = os.path.commonpath([os.path.normpath(file.parent) for file in files])
        return [os.path.relpath(file, folder) for file in files]
    return [name for name in names if name is not None]


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
