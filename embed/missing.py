"""Which clips of a table a store lacks, and which of these can be heard at all."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from cache import failures as failure_list
from cache.digests import Stamp, stamp
from cache.errors import ClipError
from cache.failures import Failure, FailureId
from cache.keys import clip_keys, still_holds
from cache.store import FeatureStore
from embed import audio
from embed.config import EmbedConfig
from embed.manifest import Clip

PROBING = 8  # headers read at a time: what is waited for is the disk
AHEAD = 512  # headers that wait to be read; each takes more memory than all else that is known of a clip


@dataclass(frozen=True, kw_only=True)
class Todo:
    """Clips to compute, with their keys and sounds, one for each key.

    stamps: of their files, from before these were hashed. repeats: by place, the clips of the table that have
    the same key as a clip here: they share its fate. clips_asked: of the whole table. cached: keys that are
    held. copies: clips whose key an earlier one has, that has not failed. failures: what failed before any
    sound was decoded. held: the clips that are in the store.
    """

    clips: list[Clip]
    keys: list[str]
    sounds: list[audio.Sound]
    stamps: list[Stamp | None]
    repeats: dict[int, list[Clip]]
    clips_asked: int
    cached: int
    copies: int
    failures: dict[FailureId, Failure]
    held: list[Clip]

    @property
    def seconds(self) -> float:
        return sum(sound.seconds for sound in self.sounds)

    def unchanged(self, index: int) -> bool:
        """Whether a clip's file holds what it held when it was hashed: else its states are another key's."""
        return still_holds(self.clips[index], self.keys[index], self.stamps[index])

    def named(self, index: int) -> list[Clip]:
        """All clips of the table that a clip here stands for."""
        return [self.clips[index], *self.repeats.get(index, ())]

    def failed(self, index: int, error: ClipError) -> dict[FailureId, Failure]:
        """What to list where a clip fails after all."""
        return _failed(self.named(index), error, self.keys[index])


def find_missing(clips: Sequence[Clip], store: FeatureStore | None, config: EmbedConfig) -> Todo:
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

    stamps = {path: stamp(path) for path in {clip.path for clip in clips}}
    first: dict[str, Clip] = {}
    repeats: dict[str, list[Clip]] = {}
    for clip, key in zip(clips, clip_keys(clips, config.cache), strict=True):
        if isinstance(key, OSError):
            told = (key.strerror or str(key)).lower()
            fail([clip], ClipError(f"cannot be read ({told})", where=str(clip.path)))
        elif first.setdefault(key, clip) is not clip:
            repeats.setdefault(key, []).append(clip)
    missing = store.missing(first) if store else list(first)
    held = set(first).difference(missing)
    keys, sounds = [], []
    for key, sound in zip(missing, _probed([first[key] for key in missing]), strict=True):
        if isinstance(sound, ClipError):
            fail([first[key], *repeats.pop(key, ())], sound, key)
        else:
            keys.append(key)
            sounds.append(sound)
    return Todo(
        clips=[first[key] for key in keys],
        keys=keys,
        sounds=sounds,
        stamps=[stamps[first[key].path] for key in keys],
        repeats={index: repeats[key] for index, key in enumerate(keys) if key in repeats},
        clips_asked=len(clips),
        cached=len(held),
        copies=sum(map(len, repeats.values())),
        failures=failures,
        held=[clip for key in held for clip in (first[key], *repeats.get(key, ()))],
    )


def _failed(clips: Sequence[Clip], error: ClipError, key: str) -> dict[FailureId, Failure]:
    """The first of clips with the same sound has failed. What it failed by need not be true of the others."""
    first, *others = clips
    told = f"has the sound of {first.path}, which failed: {error.reason}"
    return {
        failure_list.name(first): Failure(error.reason, key),
        **{failure_list.name(clip): Failure(told, key) for clip in others},
    }


def _probed(clips: Sequence[Clip]) -> Iterator[audio.Sound | ClipError]:
    with ThreadPoolExecutor(PROBING) as pool:
        for begin in range(0, len(clips), AHEAD):
            yield from pool.map(_probe, clips[begin : begin + AHEAD])


def _probe(clip: Clip) -> audio.Sound | ClipError:
    try:
        return audio.probe(clip)
    except ClipError as error:
        return error
