"""Mono samples of a sound file by position, at the file's own rate."""

from __future__ import annotations

import math
import os
import stat
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import BinaryIO

import numpy as np

from layerprobe.cache.common.errors import ClipError
from layerprobe.cache.remote.audio import available
from layerprobe.embed.audio import scratch
from layerprobe.embed.audio.containers import Inspection, inspect
from layerprobe.embed.audio.downmix import Downmix
from layerprobe.embed.audio.sources import DecodingError, FFmpegSource, Source, TrackError, open_source
from layerprobe.embed.manifest.clips import Clip

_SKIP = 1 << 18  # samples decoded at a time where they are only passed over or counted
_BLOCK = 1 << 15  # samples decoded and mixed at a time, so that all channels stay in the processor's cache
FAR = 10  # seconds ahead of a position from where on the file's decoded samples are worth the scratch space
_MISSING = 4_096  # samples by which a header may exceed what there is: two frames of any codec
_SHARE = 10  # part of its samples that a header may leave out, as some programs do
_UNKNOWN = 1 << 62  # libsndfile gives a length near 2^63 to a stream whose header leaves it open
_REPAIR = "copy it again, or encode it again if this is all there is"
_DENSEST = 8_192  # samples that a byte of any codec can hold, silence apart


@dataclass(frozen=True, kw_only=True)
class Selection:
    """What to read of a file: an audio track, from 1, and its channel, from 0; None for the mean of all."""

    track: int = 1
    channel: int | None = None


DEFAULT = Selection()


def selection_of(clip: Clip) -> Selection:
    channel = clip.channel if clip.own_channel is None else clip.own_channel
    return Selection(track=clip.track, channel=channel)


def clip_error(clip: Clip, what: str, *, do: str = "") -> ClipError:
    return ClipError(what, where=clip.file, do=do)


@contextmanager
def open_decoder(clip: Clip, selection: Selection | None = None) -> Iterator[Decoder]:
    """Open the clip's file, whatever its name's extension. Raises ClipError.

    selection: instead of the clip's own.
    """
    selection = selection or selection_of(clip)
    try:
        with ExitStack() as open_files:
            open_files.enter_context(available(clip.file))
            status = clip.path.stat()
            if not stat.S_ISREG(status.st_mode):
                raise clip_error(clip, "is not a file")
            if status.st_size == 0:
                raise clip_error(clip, "empty (zero bytes)")
            inspection = inspect(clip.path)
            raw = open_files.enter_context(clip.path.open("rb", buffering=0))
            source = open_source(raw, inspection, track=selection.track, open_files=open_files)
            yield Decoder(clip, raw, source, inspection, selection)
    except OSError as error:
        raise clip_error(clip, f"cannot be read ({(error.strerror or str(error)).lower()})") from error
    except TrackError as error:
        raise clip_error(clip, str(error)) from error
    except DecodingError as error:
        if (damage := inspection.findings.damage) is not None:
            raise clip_error(clip, damage, do=_REPAIR) from error
        raise clip_error(clip, f"not a sound file that can be read ({error})") from error


class Decoder:
    """Mono samples of an opened file, by position.

    Decoding continues from the current position where possible, and the samples read last stay in memory:
    consecutive windows overlap by the reach of the resampling filter.
    """

    def __init__(
        self, clip: Clip, raw: BinaryIO, source: Source, inspection: Inspection, selection: Selection
    ) -> None:
        self.clip = clip
        self.rate, self.channels, self.encoding = source.rate, source.channels, source.encoding
        self._raw, self._source, self._inspection, self._selection = raw, source, inspection, selection
        self._downmix = Downmix(source.channels, selection.channel)
        self._low, self._high = math.inf, -math.inf  # of the samples read so far
        self._at = 0  # the file's position, where `_latest` ends
        self._latest = np.empty(0, np.float32)

    @property
    def space(self) -> int:
        """Bytes of scratch space that a segment far from the file's start takes. Raises as `length`."""
        return 0 if self._source.exact else scratch.space_of(self.length(), self.channels)

    @property
    def finite(self) -> bool:
        """No sample read so far was NaN or infinite."""
        return math.isfinite(self._low) and math.isfinite(self._high)

    @property
    def constant(self) -> bool:
        """All samples read so far were the same."""
        return self._low == self._high

    @property
    def cancelled(self) -> float:
        """Decibels by which averaging the channels read so far has lowered their level."""
        return self._downmix.loss

    def length(self) -> int:
        """Samples in the file. Raises ClipError if some are missing or out of place, or there are none."""
        # Damage also concerns segments far from it: what a decoder drops ahead of them moves them.
        if (damage := self._inspection.findings.damage) is not None:
            raise clip_error(self.clip, damage, do=_REPAIR)
        if (channel := self._selection.channel) is not None and channel >= self.channels:
            what = f"has no channel {channel}: it has {self.channels}, counted from 0"
            raise clip_error(self.clip, what, do="choose another with --channels")
        size = os.fstat(self._raw.fileno()).st_size
        length = self._source.frames
        if length is None or length > _UNKNOWN:
            length = self._inspection.findings.samples or self._counted()
        elif length > _DENSEST * size:
            what = f"damaged: its header declares {length} samples, more than {size} bytes can hold"
            raise clip_error(self.clip, what)
        if length <= 0:
            raise clip_error(self.clip, "holds no samples (a header without data)")
        return length

    def read(self, begin: int, count: int) -> np.ndarray:
        """Read (count,) float32 from sample `begin` on, channels mixed; not to be written to.

        Raises ClipError where samples are missing.
        """
        if not self._at - len(self._latest) <= begin <= self._at:
            self._move(begin)
        latest = self._latest[len(self._latest) - (self._at - begin) :]
        if count > len(latest):
            more = self._decode(count - len(latest), measure=True)
            latest = np.concatenate([latest, more]) if len(latest) else more
        self._latest = latest
        samples = latest[:count]
        # np.minimum and np.maximum, unlike min and max, propagate NaN.
        self._low = float(np.minimum(self._low, samples.min(initial=math.inf)))
        self._high = float(np.maximum(self._high, samples.max(initial=-math.inf)))
        return samples

    def _move(self, begin: int) -> None:
        start = self._at if self._at <= begin else 0
        if not self._source.exact and begin - start > FAR * self.rate:
            self._use_scratch()
            start = 0
        if self._source.exact:
            start = begin
        if start != self._at:
            self._source.seek(start)
            self._at = start
        while self._at < begin:
            self._decode(min(_SKIP, begin - self._at))
        self._latest = self._latest[:0]

    def _use_scratch(self) -> None:
        """Continue with the file's decoded samples, if there is space for them."""
        status = os.fstat(self._raw.fileno())
        key = self.clip.path, status.st_size, status.st_mtime_ns, self._selection.track

        def restarted() -> Source:
            self._source.seek(0)
            return self._source

        try:
            decoded = scratch.current().decoded(key, restarted)
        except DecodingError as error:
            raise self._failed(error) from error
        self._at = 0
        if decoded is None:
            self._source.seek(0)
        else:
            self._source = decoded

    def _decode(self, count: int, *, measure: bool = False) -> np.ndarray:
        """The next `count` samples, channels mixed; measure: they belong to the clip."""
        if self.channels == 1:
            return self._next(count)[:, 0]
        wave = np.empty(count, np.float32)
        for begin in range(0, count, _BLOCK):
            block = wave[begin : begin + _BLOCK]
            self._downmix.mix(self._next(len(block)), block, measure=measure)
        return wave

    def _next(self, count: int) -> np.ndarray:
        """(count, C) float32: the source's next samples. Raises ClipError where there are fewer."""
        try:
            samples = self._source.read(count)
        except DecodingError as error:
            raise self._failed(error) from error
        self._at += len(samples)
        if len(samples) < count:
            frames = self._source.frames
            total = "" if frames in (None, self._at) else f" of {frames}"
            raise clip_error(self.clip, f"truncated: {self._at}{total} samples can be read")
        return samples

    def _failed(self, error: DecodingError) -> ClipError:
        return clip_error(self.clip, f"truncated or damaged: decoding fails ({error})")

    def _counted(self) -> int:
        """Samples by decoding all of them, without those of the last frame that the header leaves out."""
        status = os.fstat(self._raw.fileno())
        track = self._selection.track
        try:
            total, declared = _count(self.clip.path, track, status.st_size, status.st_mtime_ns)
        except DecodingError as error:
            raise self._failed(error) from error
        if declared is not None and total < declared - _MISSING:
            raise clip_error(self.clip, f"truncated or damaged: {total} of {declared} samples can be read")
        if declared is not None and total > declared + max(_MISSING, declared // _SHARE):
            what = f"damaged: its header declares {declared} samples, and {total} can be read"
            raise clip_error(self.clip, what, do=_REPAIR)
        return total if declared is None else min(total, declared)


@lru_cache(maxsize=256)
def _count(path: Path, track: int, size: int, modified: int) -> tuple[int, int | None]:
    """Samples of a track, and what the file's header declares. size, modified: keys of the cache."""
    with ExitStack() as open_files:
        raw = open_files.enter_context(path.open("rb", buffering=0))
        source = open_source(raw, inspect(path), track=track, open_files=open_files)
        total = 0
        while count := len(source.read(_SKIP)):
            total += count
        return total, source.declared if isinstance(source, FFmpegSource) else None
