"""An opened sound file as mono samples by position, whatever its format's seeking is worth."""

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
from layerprobe.embed.audio.mp3 import Mp3Scan, scan_frames
from layerprobe.embed.audio.ogg import find_damage, spliced
from layerprobe.embed.audio.wav import closed, missing_bytes
from layerprobe.embed.manifest.clips import Clip

_SKIP = 1 << 18  # samples decoded at a time where they are only passed over or counted
_RUN_UP = 2  # seconds of MP3 decoded ahead of a place: more than the frames before it can reach into it
_MP3_FRAME = 1_152  # samples
_UNKNOWN = 1 << 62  # libsndfile gives a length near 2^63 to a FLAC stream whose header leaves it open


def clip_error(clip: Clip, what: str, *, do: str = "") -> ClipError:
    return ClipError(what, where=str(clip.path), do=do)


@contextmanager
def open_decoder(clip: Clip) -> Iterator[Decoder]:
    """The clip's file, opened by descriptor: libsndfile then goes by content, not by the name's ending."""
    try:
        status = clip.path.stat()
        if not stat.S_ISREG(status.st_mode):
            raise clip_error(clip, "is not a file")
        if status.st_size == 0:
            raise clip_error(clip, "empty (zero bytes)")
        with ExitStack() as open_files:
            raw = open_files.enter_context(clip.path.open("rb", buffering=0))
            file = open_files.enter_context(_Forward(raw.fileno(), closefd=False))
            if not file.frames and (whole := closed(raw)):
                file = open_files.enter_context(_Forward(whole))
            yield Decoder(clip, file, open_files)
    except OSError as error:
        raise clip_error(clip, f"cannot be read ({(error.strerror or str(error)).lower()})") from error
    except soundfile.LibsndfileError as error:
        raise clip_error(clip, f"not a sound file that can be read ({_reason(error)})") from error


class _Forward(soundfile.SoundFile):
    """A sound file read onward from where it is.

    After each read of a file that says it is seekable, soundfile seeks to where the read has just ended. In
    MP3 that drops the bits the next frame borrows from earlier ones, so that reading by blocks differs from
    reading at once by up to full scale; in FLAC it costs a search.
    """

    def seekable(self) -> bool:
        return False


class Decoder:
    """Mono samples of an opened file, by position.

    It goes on from where it is if it can, and keeps what it read last: windows that follow one another
    overlap by the reach of the resampling filter.
    """

    def __init__(self, clip: Clip, file: _Forward, open_files: ExitStack) -> None:
        self.clip, self.file = clip, file
        self._source = file  # what is decoded: the file, or a part of it
        self._part = open_files.enter_context(ExitStack())
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
        """Samples in the file. ClipError where some are missing, moved or out of reach, or there are none."""
        if lost := missing_bytes(self.clip.path):
            raise clip_error(self.clip, f"truncated: its header tells of {lost} more bytes than there are")
        walked = self._walked()
        if walked.fault is not None:
            again = "copy it again, or encode it again if this is all there is"
            raise clip_error(self.clip, walked.fault, do=again)
        length = self.file.frames
        if length > _UNKNOWN and self.file.format == "OGG":
            told = "an Ogg file of several streams, of which only the first could be read"
            raise clip_error(self.clip, told, do="decode it to WAV or FLAC first")
        if length > _UNKNOWN:
            while passed := len(self.file.read(_SKIP, dtype="float32")):
                self._at += passed
            length = self._at
        if (counted := walked.samples) is not None:
            if counted > length + _MP3_FRAME:
                share = f"{length} of {counted} samples can be read"
                told = f"an MP3 file of varying bit rate without a frame count: {share}"
                raise clip_error(self.clip, told, do="encode it again, as FLAC or WAV")
            length = min(length, counted)
        if length <= 0:
            raise clip_error(self.clip, "holds no samples (a header without data)")
        return length

    def _walked(self) -> Mp3Scan:
        """What a look at the whole file finds: libsndfile passes over what it cannot decode.

        Segments need it no less than whole files, as what is dropped ahead of them moves them.
        """
        if self.file.format not in ("MP3", "OGG"):
            return Mp3Scan(None, None)
        status = self.clip.path.stat()
        return _walk(self.clip.path, self.file.format, status.st_size, status.st_mtime_ns)

    def read(self, begin: int, count: int) -> np.ndarray:
        """(count,) float32 from sample `begin` on, not to be written to. ClipError where some are missing."""
        if not self._at - len(self._latest) <= begin <= self._at:
            self._move(begin)
        kept = self._latest[len(self._latest) - (self._at - begin) :]
        if count > len(kept):
            kept = np.concatenate([kept, self._decode(count - len(kept))])
        self._latest = kept
        samples = kept[:count]
        # np.minimum and np.maximum, unlike min and max, let no NaN go by.
        self._low = float(np.minimum(self._low, samples.min(initial=math.inf)))
        self._high = float(np.maximum(self._high, samples.max(initial=-math.inf)))
        return samples

    def _move(self, begin: int) -> None:
        ogg, near = self.file.format == "OGG", self._at <= begin <= self._at + _SKIP
        if ogg and self.file.subtype == "VORBIS" and not near and self._splice(begin):
            start = self._at
        elif ogg or not soundfile.SoundFile.seekable(self.file):
            # libsndfile's seeking in Ogg is not to be relied on (see `embed.audio.ogg`); in some WAV files, such
            # as GSM 6.10 of telephones, it has none.
            start = self._at if self._at <= begin else 0
        elif self.file.format == "MP3":
            # Frames borrow bits from earlier ones, so decoding must be well under way before `begin`.
            start = max(0, begin - _RUN_UP * self.file.samplerate)
        else:
            start = begin
        if start != self._at:
            self._source = self.file
            self._at = self.file.seek(start)
        while self._at < begin:
            self._decode(min(_SKIP, begin - self._at))
        self._latest = self._latest[:0]

    def _splice(self, begin: int) -> bool:
        """Decode from shortly before `begin` on, if that can be had."""
        self._part.close()
        self._source = self.file
        raw = self._part.enter_context(self.clip.path.open("rb"))
        part = spliced(raw, begin)
        if part is not None:
            source = self._part.enter_context(_Forward(part))
            first = part.first(self.file.frames - source.frames)
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
            told = f"truncated or damaged: decoding fails ({_reason(error)})"
            raise clip_error(self.clip, told) from error
        self._at += len(samples)
        if len(samples) < count:
            told = f"truncated: {self._at} of {self.file.frames} samples are there"
            raise clip_error(self.clip, told)
        channels = samples.shape[1]
        # Several times as fast as a mean over so short an axis.
        return samples[:, 0] if channels == 1 else np.einsum("tc->t", samples) / np.float32(channels)


@lru_cache(maxsize=256)
def _walk(path: Path, form: str, size: int, changed: int) -> Mp3Scan:
    """`Decoder._walked` of a file of this size that was last changed then: once for all its segments."""
    return scan_frames(path) if form == "MP3" else Mp3Scan(None, find_damage(path))


def _reason(error: soundfile.LibsndfileError) -> str:
    told = str(error.error_string).removeprefix("Error : ").rstrip(".")
    # It says so, too, of a file that it has opened and found no MP3 frame in.
    return "no frame of MP3 could be decoded" if told.startswith("File does not exist") else told
