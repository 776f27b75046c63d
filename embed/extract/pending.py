"""Which clips of a table are not cached yet, and which of these can be decoded at all."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar, overload

import numpy as np

from layerprobe.cache.common.console import say, stage
from layerprobe.cache.common.errors import ClipError, StoreError
from layerprobe.cache.common.text import format_count
from layerprobe.cache.identity.digests import STAMP_BYTES, FileStamp
from layerprobe.cache.store import failures as failure_list
from layerprobe.cache.store.failures import Failure, FailureId
from layerprobe.cache.store.feature_store import FeatureStore
from layerprobe.cache.store.keys import KEY_BYTES, is_unchanged, iter_keys, known_keys
from layerprobe.embed.audio.decoding import Selection
from layerprobe.embed.audio.sound import AudioInfo, probe
from layerprobe.embed.config import EmbedConfig
from layerprobe.embed.manifest.clips import Clip, select_sound

PROBE_THREADS = 8  # headers read at a time: reading them waits for the disk
_EVERY = -1  # in an array of channels: the mean of all
PROBE_AHEAD = 512  # headers queued; a queued one needs more memory than everything else known of a clip
PROBE_SHARE = 16  # headers that a thread reads at a time: handing one over is more work than reading it

T = TypeVar("T")


class LazyRecords(Sequence[T]):
    """Objects made on access from the rows of an array.

    An object of a few numbers needs five times the memory of its row, and fragments the memory in which a
    model's tensors are allocated.
    """

    def __init__(self, rows: np.ndarray, make: Callable[[Any], T]) -> None:
        self._rows, self._make = rows, make

    def __len__(self) -> int:
        return len(self._rows)

    @overload
    def __getitem__(self, index: int) -> T: ...
    @overload
    def __getitem__(self, index: slice) -> list[T]: ...
    def __getitem__(self, index: int | slice) -> T | list[T]:
        if isinstance(index, slice):
            return [self._make(row) for row in self._rows[index]]
        return self._make(self._rows[index])


@dataclass(frozen=True, kw_only=True)
class PendingClips:
    """Clips to compute, one for each key, with what is known of each.

    stamps: of their files when these were hashed. copies: by index, other clips of the table with
    the same key, which share its result. table_size: clips in the table. cached: keys in the store, and
    cached_clips: the clips that have these. copy_count: clips with the key of an earlier, usable clip.
    failures: clips that failed before any audio was decoded.
    """

    clips: Sequence[Clip]
    keys: Sequence[str]
    audio: Sequence[AudioInfo]
    stamps: Sequence[FileStamp | None]
    copies: dict[int, list[Clip]]
    table_size: int
    cached: int
    cached_clips: list[Clip]
    copy_count: int
    failures: dict[FailureId, Failure]

    @cached_property
    def seconds(self) -> float:
        """Total length of the clips to compute."""
        return sum(info.seconds for info in self.audio)

    def samples(self) -> list[int]:
        """Length of each clip at 16 kHz."""
        return [info.samples for info in self.audio]

    def unchanged(self, index: int, *, seen: FileStamp | None = None) -> bool:
        """Whether a clip's file still has the content its key was computed from.

        seen: the file's stamp after its samples were read, if it was taken then.
        """
        stamp = self.stamps[index]
        if stamp is not None and seen == stamp:
            return True
        return is_unchanged(self.clips[index], self.keys[index], stamp)

    def with_copies(self, index: int) -> list[Clip]:
        """All clips of the table that share this clip's key."""
        return [self.clips[index], *self.copies.get(index, ())]

    def failed(self, index: int, error: ClipError) -> dict[FailureId, Failure]:
        """The failures to list when this clip fails during the run."""
        return _failures(self.with_copies(index), error, self.keys[index])


@stage("hash the files and read their headers")
def find_pending(clips: Sequence[Clip], store: FeatureStore | None, config: EmbedConfig) -> PendingClips:
    """Hash the files, look their keys up in the store, and read the headers of those it lacks.

    store: None if it does not exist yet. With `on_error="stop"`, raises the ClipError of the first unusable
    clip. Raises StoreError if the store's list of failures is damaged.
    """
    if store is not None:
        failure_list.read(store.folder)  # report a damaged list now, not after hours
    failures: dict[FailureId, Failure] = {}

    def fail(failed: Sequence[Clip], error: ClipError, key: str = "") -> None:
        if config.on_error == "stop":
            raise error
        failures.update(_failures(failed, error, key))

    digests, stamps, unreadable = _hash(clips, config.cache)
    if store is not None:
        for row, key in _stored_elsewhere(clips, store, unreadable, config.cache).items():
            digests[row] = bytes.fromhex(key)
            del unreadable[row]
    for row, cause in sorted(unreadable.items()):
        reason = (cause.strerror or str(cause)).lower()
        fail([clips[row]], ClipError(f"cannot be read ({reason})", where=str(clips[row].path)))
    readable = np.delete(np.arange(len(clips)), list(unreadable))
    _, first, inverse = np.unique(digests[readable], return_index=True, return_inverse=True)
    original = readable[first][inverse]  # for each readable clip, the first clip with its key
    copies: dict[int, list[Clip]] = {}
    is_copy = original != readable
    for row, copied in zip(readable[is_copy].tolist(), original[is_copy].tolist(), strict=True):
        copies.setdefault(copied, []).append(clips[row])
    originals = np.sort(readable[first])
    in_store = (
        store.contains_digests(digests[originals]) if store is not None else np.zeros(len(originals), bool)
    )
    missing = originals[~in_store]
    clips = select_sound(clips, channels=config.channels, track=config.track)
    infos = np.zeros((len(missing), 6), np.int64)
    usable = np.ones(len(missing), bool)
    for number, (row, info) in enumerate(zip(missing.tolist(), _probe_all(clips, missing), strict=True)):
        if isinstance(info, ClipError):
            fail([clips[row], *copies.pop(row, ())], info, _key(digests[row]))
            usable[number] = False
        else:
            channel = _EVERY if info.selection.channel is None else info.selection.channel
            infos[number] = info.rate, info.channels, info.begin, info.stop, channel, info.plain
    rows = missing[usable]

    def audio_info(row: np.ndarray) -> AudioInfo:
        rate, channels, begin, stop, channel, plain = row.tolist()
        selection = Selection(track=config.track, channel=None if channel == _EVERY else channel)
        return AudioInfo(
            rate=rate, channels=channels, begin=begin, stop=stop, selection=selection, plain=plain
        )

    return PendingClips(
        clips=LazyRecords(rows, clips.__getitem__),
        keys=LazyRecords(rows, lambda row: _key(digests[row])),
        audio=LazyRecords(infos[usable], audio_info),
        stamps=LazyRecords(rows, lambda row: _stamp(stamps[row])),
        copies={index: copies[row] for index, row in enumerate(rows.tolist()) if row in copies},
        table_size=len(clips),
        cached=int(in_store.sum()),
        cached_clips=[clip for row in originals[in_store] for clip in (clips[row], *copies.get(row, ()))],
        copy_count=sum(map(len, copies.values())),
        failures=failures,
    )


def _hash(clips: Sequence[Clip], cache: Path) -> tuple[np.ndarray, np.ndarray, dict[int, OSError]]:
    """Keys (N,) S32 and stamps (N,) S24 of the clips, and the error of each row that cannot be read."""
    digests = np.zeros(len(clips), f"S{KEY_BYTES}")
    stamps = np.zeros(len(clips), f"S{STAMP_BYTES}")
    unreadable: dict[int, OSError] = {}
    for row, key, stamp in iter_keys(clips, cache):
        if isinstance(key, str):
            digests[row] = bytes.fromhex(key)
            stamps[row] = stamp or b""
        else:
            unreadable[row] = key
    return digests, stamps, unreadable


def _stored_elsewhere(
    clips: Sequence[Clip], store: FeatureStore, unreadable: Mapping[int, OSError], cache: Path
) -> dict[int, str]:
    """Row → key of the clips whose file is not on this machine and whose states the store has."""
    if not any(isinstance(error, FileNotFoundError | NotADirectoryError) for error in unreadable.values()):
        return {}
    try:
        known = known_keys(clips, cache)
    except StoreError:  # several recordings could be meant: none is
        return {}
    keys = {row: key for row in known.elsewhere if isinstance(key := known.keys[row], str)}
    absent = set(store.missing(keys.values()))
    stored = {row: key for row, key in keys.items() if key not in absent}
    if stored:
        count = format_count(len(stored), "clip")
        say(f"note: the sound of {count} is not on this machine; the cache has their states")
    return stored


# numpy strips zero bytes at the end of byte strings; these two restore them.


def _key(digest: bytes) -> str:
    return digest.ljust(KEY_BYTES, b"\0").hex()


def _stamp(times: bytes) -> FileStamp | None:
    return times.ljust(STAMP_BYTES, b"\0") if times else None


def _failures(clips: Sequence[Clip], error: ClipError, key: str) -> dict[FailureId, Failure]:
    """The failure of the first clip, and of its copies: the reason may not be true of their files."""
    first, *others = clips
    reason = f"has the sound of {first.path}, which failed: {error.reason}"
    return {
        failure_list.failure_id(first): Failure(error.reason, key),
        **{failure_list.failure_id(clip): Failure(reason, key) for clip in others},
    }


def _probe_all(clips: Sequence[Clip], rows: Iterable[int]) -> Iterator[AudioInfo | ClipError]:
    remaining = iter(rows)
    with ThreadPoolExecutor(PROBE_THREADS) as pool:
        while ahead := [clips[row] for row in islice(remaining, PROBE_AHEAD)]:
            shares = [ahead[begin : begin + PROBE_SHARE] for begin in range(0, len(ahead), PROBE_SHARE)]
            for infos in pool.map(_probe, shares):
                yield from infos


def _probe(clips: Sequence[Clip]) -> list[AudioInfo | ClipError]:
    infos: list[AudioInfo | ClipError] = []
    for clip in clips:
        try:
            infos.append(probe(clip))
        except ClipError as error:
            infos.append(error)
    return infos
