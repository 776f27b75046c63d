"""Which clips of a table a store lacks, and which of these can be heard at all."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from cache.errors import ClipError
from cache.failures import FailureId
from cache.keys import clip_keys
from cache.store import FeatureStore
from embed import audio
from embed.config import EmbedConfig
from embed.manifest import Clip


@dataclass(frozen=True, kw_only=True)
class Todo:
    """Clips to compute, with their keys and sounds; what failed before any sound was decoded."""

    clips: list[Clip]
    keys: list[str]
    sounds: list[audio.Sound]
    cached: int
    copies: int
    failures: dict[FailureId, str]
    succeeded: list[FailureId]

    @property
    def seconds(self) -> float:
        return sum(sound.seconds for sound in self.sounds)


def failure_id(clip: Clip) -> FailureId:
    """How a clip is named in failures.csv."""
    return str(clip.path.resolve()), clip.start, clip.end


def find_missing(clips: Sequence[Clip], store: FeatureStore | None, config: EmbedConfig) -> Todo:
    """Hash the files, ask the store, and read the headers of those it lacks; ClipError if asked to stop.

    No store holds nothing.
    """
    failures: dict[FailureId, str] = {}

    def fail(clip: Clip, error: ClipError) -> None:
        if config.on_error == "stop":
            raise error
        failures[failure_id(clip)] = error.reason

    first: dict[str, Clip] = {}
    copies = 0
    for clip, key in zip(clips, clip_keys(clips, config.cache), strict=True):
        if isinstance(key, OSError):
            told = (key.strerror or str(key)).lower()
            fail(clip, ClipError(f"cannot be read ({told})", where=str(clip.path)))
            continue
        copies += key in first
        first.setdefault(key, clip)
    missing = store.missing(first) if store else list(first)
    held = set(first) - set(missing)

    def probe(key: str) -> audio.Sound | ClipError:
        try:
            return audio.probe(first[key])
        except ClipError as error:
            return error

    keys, sounds = [], []
    with ThreadPoolExecutor(8) as pool:
        for key, sound in zip(missing, pool.map(probe, missing), strict=True):
            if isinstance(sound, ClipError):
                fail(first[key], sound)
            else:
                keys.append(key)
                sounds.append(sound)
    return Todo(
        clips=[first[key] for key in keys],
        keys=keys,
        sounds=sounds,
        cached=len(held),
        copies=copies,
        failures=failures,
        succeeded=[failure_id(first[key]) for key in held],
    )
