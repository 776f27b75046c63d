"""Which clips of a table a store lacks, and which of these can be heard at all."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from pathlib import Path

import numpy as np

from layerprobe.cache.common.errors import ClipError
from layerprobe.cache.identity.digests import STAMP_BYTES, FileStamp, file_stamp
from layerprobe.cache.identity.keys import KEY_BYTES, is_unchanged, iter_keys
from layerprobe.cache.store import failures as failure_list
from layerprobe.cache.store.failures import Failure, FailureId
from layerprobe.cache.store.feature_store import FeatureStore
from layerprobe.embed.audio import sound as audio
from layerprobe.embed.config import EmbedConfig
from layerprobe.embed.extract.columnar import Numbers, Records
from layerprobe.embed.manifest.clips import Clip

PROBING = 8  # headers read at a time: what is waited for is the disk
AHEAD = 512  # headers that wait to be read; each takes more memory than all else that is known of a clip


@dataclass(frozen=True, kw_only=True)
class PendingClips:
    """Clips to compute, with their keys and sounds, one for each key.

    stamps: of their files, from before these were hashed. repeats: by place, the clips of the table that have
    the same key as a clip here: they share its fate. clips_asked: of the whole table. cached: keys that are
    held. copies: clips whose key an earlier one has, that has not failed. failures: what failed before any
    sound was decoded. held: the clips that are in the store.
    """

    clips: Sequence[Clip]
    keys: Sequence[str]
    sounds: Sequence[audio.AudioInfo]
    stamps: Sequence[FileStamp | None]
    repeats: dict[int, list[Clip]]
    clips_asked: int
    cached: int
    copies: int
    failures: dict[FailureId, Failure]
    held: list[Clip]

    @cached_property
    def seconds(self) -> float:
        return sum(sound.seconds for sound in self.sounds)

    def unchanged(self, index: int) -> bool:
        """Whether a clip's file holds what it held when it was hashed: else its states are another key's."""
        return is_unchanged(self.clips[index], self.keys[index], self.stamps[index])

    def named(self, index: int) -> list[Clip]:
        """All clips of the table that a clip here stands for."""
        return [self.clips[index], *self.repeats.get(index, ())]

    def failed(self, index: int, error: ClipError) -> dict[FailureId, Failure]:
        """What to list where a clip fails after all."""
        return _failed(self.named(index), error, self.keys[index])


def find_pending(clips: Sequence[Clip], store: FeatureStore | None, config: EmbedConfig) -> PendingClips:
    """Hash the files, ask the store, and read the headers of those it lacks.

    No store holds nothing. Raises the ClipError of the first unusable clip with `on_error="stop"`.
    """
    if store:
        failure_list.read(store.folder)  # a damaged one is told now, not after hours
    failures: dict[FailureId, Failure] = {}

    def fail(failed: Sequence[Clip], error: ClipError, key: str = "") -> None:
        if config.on_error == "stop":
            raise error
        failures.update(_failed(failed, error, key))

    stamps = np.zeros(len(clips), f"S{STAMP_BYTES}")
    for place, clip in enumerate(clips):
        stamps[place] = file_stamp(clip.path) or b""
    digests, unreadable = _digests(clips, config.cache)
    for place, cause in sorted(unreadable.items()):
        told = (cause.strerror or str(cause)).lower()
        fail([clips[place]], ClipError(f"cannot be read ({told})", where=str(clips[place].path)))
    readable = np.delete(np.arange(len(clips)), list(unreadable))
    _, first, same = np.unique(digests[readable], return_index=True, return_inverse=True)
    repeats: dict[int, list[Clip]] = {}  # by the place of the first clip with that sound
    of = readable[first][same]
    for copy, original in zip(readable[of != readable].tolist(), of[of != readable].tolist(), strict=True):
        repeats.setdefault(original, []).append(clips[copy])
    originals = np.sort(readable[first])
    held = store.holds(digests[originals]) if store is not None else np.zeros(len(originals), bool)
    missing = originals[~held]
    sounds = Numbers(audio.AudioInfo, most=len(missing))
    usable = np.zeros(len(missing), bool)
    probing = zip(missing.tolist(), _probed(clips[place] for place in missing), strict=True)
    for number, (place, sound) in enumerate(probing):
        if isinstance(sound, ClipError):
            fail([clips[place], *repeats.pop(place, ())], sound, _key(digests[place]))
        else:
            sounds.append(sound)
            usable[number] = True
    kept = missing[usable]
    return PendingClips(
        clips=Records(kept, clips.__getitem__),
        keys=Records(kept, lambda place: _key(digests[place])),
        sounds=sounds,
        stamps=Records(kept, lambda place: _stamp(stamps[place])),
        repeats={index: repeats[place] for index, place in enumerate(kept.tolist()) if place in repeats},
        clips_asked=len(clips),
        cached=int(held.sum()),
        copies=sum(map(len, repeats.values())),
        failures=failures,
        held=[clip for place in originals[held] for clip in (clips[place], *repeats.get(place, ()))],
    )


def _digests(clips: Sequence[Clip], cache: Path) -> tuple[np.ndarray, dict[int, OSError]]:
    """(N,) S32: the bytes of each clip's key; and by place why a clip's file could not be read."""
    digests = np.zeros(len(clips), f"S{KEY_BYTES}")
    unreadable: dict[int, OSError] = {}
    for place, key in iter_keys(clips, cache):
        if isinstance(key, str):
            digests[place] = bytes.fromhex(key)
        else:
            unreadable[place] = key
    return digests, unreadable


# numpy takes zeros at the end of bytes for padding.


def _key(digest: bytes) -> str:
    return digest.ljust(KEY_BYTES, b"\0").hex()


def _stamp(times: bytes) -> FileStamp | None:
    return times.ljust(STAMP_BYTES, b"\0") if times else None


def _failed(clips: Sequence[Clip], error: ClipError, key: str) -> dict[FailureId, Failure]:
    """The first of clips with the same sound has failed. What it failed by need not be true of the others."""
    first, *others = clips
    told = f"has the sound of {first.path}, which failed: {error.reason}"
    return {
        failure_list.failure_id(first): Failure(error.reason, key),
        **{failure_list.failure_id(clip): Failure(told, key) for clip in others},
    }


def _probed(clips: Iterable[Clip]) -> Iterator[audio.AudioInfo | ClipError]:
    left = iter(clips)
    with ThreadPoolExecutor(PROBING) as pool:
        while some := list(islice(left, AHEAD)):
            yield from pool.map(_probe, some)


def _probe(clip: Clip) -> audio.AudioInfo | ClipError:
    try:
        return audio.probe(clip)
    except ClipError as error:
        return error
