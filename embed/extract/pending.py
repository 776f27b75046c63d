"""Which clips of a table are not cached yet, and which of these can be decoded at all."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from layerprobe.cache.common.console import say, stage
from layerprobe.cache.common.errors import ClipError, StoreError
from layerprobe.cache.common.text import format_count
from layerprobe.cache.identity.hashing import STAMP_BYTES, FileStamp
from layerprobe.cache.store import failures as failure_list
from layerprobe.cache.store.failures import Failure, FailureId
from layerprobe.cache.store.feature_store import FeatureStore
from layerprobe.cache.store.keys import KEY_BYTES, is_unchanged, iter_keys, known_keys
from layerprobe.embed.audio import pcm
from layerprobe.embed.audio.headers import ClipAudio, LazyRecords, read_headers
from layerprobe.embed.config import EmbedConfig
from layerprobe.embed.manifest.clips import Clip, select_sound


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
    audio: ClipAudio
    stamps: Sequence[FileStamp | None]
    copies: dict[int, list[Clip]]
    table_size: int
    cached: int
    cached_clips: list[Clip]
    copy_count: int
    failures: dict[FailureId, Failure]

    @cached_property
    def audio_seconds(self) -> np.ndarray:
        """(N,) float64: the length of each clip."""
        return self.audio.seconds

    @cached_property
    def seconds(self) -> float:
        """Total length of the clips to compute."""
        return float(sum(self.audio_seconds.tolist()))

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

    digests, stamps, headers, unreadable = _hash(clips, config.cache)
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
    infos, faults = read_headers(clips, missing, headers)
    usable = np.ones(len(missing), bool)
    for number, fault in faults:
        row = int(missing[number])
        fail([clips[row], *copies.pop(row, ())], fault, _key(digests[row]))
        usable[number] = False
    rows = missing[usable]
    return PendingClips(
        clips=LazyRecords(rows, clips.__getitem__),
        keys=LazyRecords(rows, lambda row: _key(digests[row])),
        audio=ClipAudio(infos[usable], track=config.track),
        stamps=LazyRecords(rows, lambda row: _stamp(stamps[row])),
        copies={index: copies[row] for index, row in enumerate(rows.tolist()) if row in copies},
        table_size=len(clips),
        cached=int(in_store.sum()),
        cached_clips=[clip for row in originals[in_store] for clip in (clips[row], *copies.get(row, ()))],
        copy_count=sum(map(len, copies.values())),
        failures=failures,
    )


def _hash(
    clips: Sequence[Clip], cache: Path
) -> tuple[np.ndarray, np.ndarray, np.ndarray, dict[int, OSError]]:
    """Keys (N,) S32, stamps (N,) S24 and headers (N, 2), and the error of each row that cannot be read.

    A header is that of a plain file, as `pcm.PlainFile`; zeros if the file is another, or was not read.
    """
    digests = np.zeros(len(clips), f"S{KEY_BYTES}")
    stamps = np.zeros(len(clips), f"S{STAMP_BYTES}")
    headers = np.zeros((len(clips), 2), np.int64)
    unreadable: dict[int, OSError] = {}
    for row, key, stamp, plain in iter_keys(clips, cache, look=pcm.plain_header):
        if isinstance(key, str):
            digests[row] = bytes.fromhex(key)
            stamps[row] = stamp or b""
            if plain is not None:
                headers[row] = plain.begin, plain.samples
        else:
            unreadable[row] = key
    return digests, stamps, headers, unreadable


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
