"""Mono samples of a sound file by position, at the file's own rate, decoded by libsndfile."""

from __future__ import annotations

import math
import stat
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import lru_cache
from pathlib import Path

import numpy as np
import soundfile

from layerprobe.cache.common.errors import ClipError
from layerprobe.embed.audio import mp3, ogg, wav
from layerprobe.embed.audio.libsndfile import ForwardSoundFile, vorbis_tail, with_wav_lengths
from layerprobe.embed.manifest.clips import Clip

_SKIP = 1 << 18  # samples decoded at a time where they are only passed over or counted
_MP3_RUN_UP = 2  # seconds of MP3 decoded ahead of a position: more than frames before it can reach into it
_MP3_FRAME = 1_152  # samples
_UNKNOWN = 1 << 62  # libsndfile gives a length near 2^63 to a FLAC stream whose header leaves it open


def clip_error(clip: Clip, what: str, *, do: str = "") -> ClipError:
    return ClipError(what, where=clip.file, do=do)


@contextmanager
def open_decoder(clip: Clip) -> Iterator[Decoder]:
    """Open the clip's file, whatever its name's extension. Raises ClipError."""
    try:
        status = clip.path.stat()
        if not stat.S_ISREG(status.st_mode):
            raise clip_error(clip, "is not a file")
        if status.st_size == 0:
            raise clip_error(clip, "empty (zero bytes)")
        with ExitStack() as open_files:
            raw = open_files.enter_context(clip.path.open("rb", buffering=0))
            # Opened by descriptor, libsndfile detects the format from the content, not from the name.
            file = open_files.enter_context(ForwardSoundFile(raw.fileno(), closefd=False))
            if not file.frames and (complete := with_wav_lengths(raw)):
                file = open_files.enter_context(ForwardSoundFile(complete))
            yield Decoder(clip, file, open_files)
    except OSError as error:
        raise clip_error(clip, f"cannot be read ({(error.strerror or str(error)).lower()})") from error
    except soundfile.LibsndfileError as error:
        raise clip_error(clip, f"not a sound file that can be read ({_reason(error)})") from error


class Decoder:
    """Mono samples of an opened file, by position.

    Decoding continues from the current position where possible, and the samples read last stay in memory:
    consecutive windows overlap by the reach of the resampling filter.
    """

    def __init__(self, clip: Clip, file: ForwardSoundFile, open_files: ExitStack) -> None:
        self.clip, self.file = clip, file
        self._source = file  # what is decoded: the file, or its tail
        self._tail = open_files.enter_context(ExitStack())
        self._low, self._high = math.inf, -math.inf  # of the samples read so far
        self._at = 0  # the file's position, where `_latest` ends
        self._latest = np.empty(0, np.float32)

    @property
    def finite(self) -> bool:
        """No sample read so far was NaN or infinite."""
        return math.isfinite(self._low) and math.isfinite(self._high)

    @property
    def constant(self) -> bool:
        """All samples read so far were the same."""
        return self._low == self._high

    def length(self) -> int:
        """Samples in the file. Raises ClipError if some are missing or out of place, or there are none."""
        status = self.clip.path.stat()
        # Damage also concerns segments far from it: what libsndfile drops ahead of them moves them.
        damage, counted = _scan(self.clip.path, self.file.format, status.st_size, status.st_mtime_ns)
        if damage is not None:
            do = "copy it again, or encode it again if this is all there is"
            raise clip_error(self.clip, damage, do=do)
        length = self.file.frames
        if length > _UNKNOWN and self.file.format == "OGG":
            what = "an Ogg file of several streams, of which only the first could be read"
            raise clip_error(self.clip, what, do="decode it to WAV or FLAC first")
        if length > _UNKNOWN:
            while skipped := len(self.file.read(_SKIP, dtype="float32")):
                self._at += skipped
            length = self._at
        if counted is not None:
            if counted > length + _MP3_FRAME:
                share = f"{length} of {counted} samples can be read"
                what = f"an MP3 file of variable bit rate without a frame count: {share}"
                raise clip_error(self.clip, what, do="encode it again, as FLAC or WAV")
            length = min(length, counted)
        if length <= 0:
            raise clip_error(self.clip, "holds no samples (a header without data)")
        return length

    def read(self, begin: int, count: int) -> np.ndarray:
        """Read (count,) float32 from sample `begin` on, channels averaged; not to be written to.

        Raises ClipError where samples are missing.
        """
        if not self._at - len(self._latest) <= begin <= self._at:
            self._move(begin)
        latest = self._latest[len(self._latest) - (self._at - begin) :]
        if count > len(latest):
            latest = np.concatenate([latest, self._decode(count - len(latest))])
        self._latest = latest
        samples = latest[:count]
        # np.minimum and np.maximum, unlike min and max, propagate NaN.
        self._low = float(np.minimum(self._low, samples.min(initial=math.inf)))
        self._high = float(np.maximum(self._high, samples.max(initial=-math.inf)))
        return samples

    def _move(self, begin: int) -> None:
        is_ogg, near = self.file.format == "OGG", self._at <= begin <= self._at + _SKIP
        if is_ogg and self.file.subtype == "VORBIS" and not near and self._open_tail(begin):
            start = self._at
        elif is_ogg or not soundfile.SoundFile.seekable(self.file):
            # libsndfile's seeking in Ogg is unreliable; in some WAV files, such as GSM 6.10, it has none.
            start = self._at if self._at <= begin else 0
        elif self.file.format == "MP3":
            # Frames borrow bits from earlier ones, so decoding must be well under way before `begin`.
            start = max(0, begin - _MP3_RUN_UP * self.file.samplerate)
        else:
            start = begin
        if start != self._at:
            self._source = self.file
            self._at = self.file.seek(start)
        while self._at < begin:
            self._decode(min(_SKIP, begin - self._at))
        self._latest = self._latest[:0]

    def _open_tail(self, begin: int) -> bool:
        """Decode a Vorbis file from shortly before `begin` on, if possible; else from its start."""
        self._tail.close()
        self._source = self.file
        raw = self._tail.enter_context(self.clip.path.open("rb"))
        tail = vorbis_tail(raw, begin)
        if tail is not None:
            source = self._tail.enter_context(ForwardSoundFile(tail))
            first = tail.first_sample(self.file.frames - source.frames)
            if first is not None and first <= begin:
                self._source, self._at = source, first
                return True
        self._at = self.file.seek(0)
        return False

    def _decode(self, count: int) -> np.ndarray:
        """The next `count` samples, channels averaged."""
        try:
            samples = self._source.read(count, dtype="float32", always_2d=True)
        except soundfile.LibsndfileError as error:
            what = f"truncated or damaged: decoding fails ({_reason(error)})"
            raise clip_error(self.clip, what) from error
        self._at += len(samples)
        if len(samples) < count:
            what = f"truncated: {self._at} of {self.file.frames} samples can be read"
            raise clip_error(self.clip, what)
        channels = samples.shape[1]
        # Several times as fast as a mean over so short an axis.
        return samples[:, 0] if channels == 1 else np.einsum("tc->t", samples) / np.float32(channels)


@lru_cache(maxsize=256)
def _scan(path: Path, container: str, size: int, modified: int) -> tuple[str | None, int | None]:
    """What is wrong with a file, and its samples where it is MP3 without a frame count.

    size, modified: keys of the cache, so that a file is scanned once for all its segments until it changes.
    """
    if container == "MP3":
        frames = mp3.scan_frames(path)
        return frames.damage, frames.samples
    return (ogg if container == "OGG" else wav).find_damage(path), None


def _reason(error: soundfile.LibsndfileError) -> str:
    text = str(error.error_string).removeprefix("Error : ").rstrip(".")
    # libsndfile's message for a file that it opened without finding an MP3 frame in it.
    return "no MP3 frame could be decoded" if text.startswith("File does not exist") else text
