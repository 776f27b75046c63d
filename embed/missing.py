"""Which clips of a table a store lacks, and which of these can be heard at all."""

from __future__ import annotations

from collections.abc import Sequence
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


@dataclass(frozen=True, kw_only=True)
class Todo:
    """Clips to compute, with their keys and sounds, one for each key.

    stamps: of their files, from before these were hashed.
    ids: the names in failures.csv of all clips with that key: a copy of a clip shares its fate.
    clips_asked: of the whole table. cached: keys that are held. copies: clips whose key an earlier one has.
    failures: what failed before any sound was decoded. succeeded: names of the clips that are held.
    """

    clips: list[Clip]
    keys: list[str]
    sounds: list[audio.Sound]
    stamps: list[Stamp | None]
    ids: list[list[FailureId]]
    clips_asked: int
    cached: int
    copies: int
    failures: dict[FailureId, Failure]
    succeeded: list[FailureId]

    @property
    def seconds(self) -> float:
        return sum(sound.seconds for sound in self.sounds)

    def unchanged(self, index: int) -> bool:
        """Whether a clip's file holds what it held when it was hashed: else its states are another key's."""
        return still_holds(self.clips[index], self.keys[index], self.stamps[index])


def find_missing(clips: Sequence[Clip], store: FeatureStore | None, config: EmbedConfig) -> Todo:
    """Hash the files, ask the store, and read the headers of those it lacks.

    No store holds nothing. Raises the ClipError of the first unusable clip with `on_error="stop"`.
    """
    failures: dict[FailureId, Failure] = {}

    def fail(ids: Sequence[FailureId], error: ClipError, key: str = "") -> None:
        if config.on_error == "stop":
            raise error
        failures.update(dict.fromkeys(ids, Failure(error.reason, key)))

    stamps = {path: stamp(path) for path in {clip.path for clip in clips}}
    first: dict[str, Clip] = {}
    ids: dict[str, list[FailureId]] = {}
    for clip, key in zip(clips, clip_keys(clips, config.cache), strict=True):
        if isinstance(key, OSError):
            told = (key.strerror or str(key)).lower()
            fail([failure_list.name(clip)], ClipError(f"cannot be read ({told})", where=str(clip.path)))
            continue
        first.setdefault(key, clip)
        ids.setdefault(key, []).append(failure_list.name(clip))
    missing = store.missing(first) if store else list(first)
    held = set(first) - set(missing)
    keys, sounds = [], []
    with ThreadPoolExecutor(PROBING) as pool:
        for key, sound in zip(missing, pool.map(_probe, (first[key] for key in missing)), strict=True):
            if isinstance(sound, ClipError):
                fail(ids[key], sound, key)
            else:
                keys.append(key)
                sounds.append(sound)
    return Todo(
        clips=[first[key] for key in keys],
        keys=keys,
        sounds=sounds,
        stamps=[stamps[first[key].path] for key in keys],
        ids=[ids[key] for key in keys],
        clips_asked=len(clips),
        cached=len(held),
        copies=sum(map(len, ids.values())) - len(ids),
        failures=failures,
        succeeded=[name for key in held for name in ids[key]],
    )


def _probe(clip: Clip) -> audio.Sound | ClipError:
    try:
        return audio.probe(clip)
    except ClipError as error:
        return error
