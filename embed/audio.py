"""Sound files as 16 kHz mono: header, decoding, normalisation.

WAV (8 to 32 bit, float), FLAC, OGG and MP3 through libsndfile; integer samples are scaled to [-1, 1) (16 bit:
divided by 32,768), channels are averaged. Every fault of a file is a ClipError whose reason a person can act
on. All functions may be called from several threads at once, best from those of `decoders`.
"""

from __future__ import annotations

import math
import stat
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import soundfile
import torch

from cache.errors import ClipError
from embed.headers import missing_bytes, uncounted_mp3_samples
from embed.manifest import Clip
from embed.resampling import resampler

RATE = 16_000  # samples a second every model here hears
MIN_SAMPLES = 400  # at RATE: the 25 ms that one frame of the models' front ends spans

_LOWEST_RATE, _HIGHEST_RATE = 1_000, 768_000  # Hz
_ROUNDING = 0.005  # seconds a segment's end may exceed its file: labels are rounded, files are not
_BLOCK = 30 * RATE  # samples at RATE decoded at a time where a whole clip is streamed
_SKIP = 1 << 18  # samples decoded at a time where they are only passed over or counted
_RUN_UP = 2  # seconds of MP3 decoded ahead of a place: more than the frames before it can reach into it
_MP3_FRAME = 1_152  # samples
_UNKNOWN = 1 << 62  # libsndfile gives a length near 2^63 to a FLAC stream whose header leaves it open


@dataclass(frozen=True, kw_only=True)
class Sound:
    """What a file's header and a clip's segment say; `begin` and `stop` in the file's own samples."""

    rate: int
    channels: int
    begin: int
    stop: int

    @property
    def samples(self) -> int:
        """Samples at RATE after resampling."""
        return -(-(self.stop - self.begin) * RATE // self.rate)

    @property
    def seconds(self) -> float:
        return (self.stop - self.begin) / self.rate


@dataclass(frozen=True, kw_only=True)
class Moments:
    """Of a clip's samples at RATE; `constant` where its file holds a single value throughout."""

    count: int
    mean: float
    variance: float  # the population's
    finite: bool
    constant: bool

    def check(self, clip: Clip) -> None:
        """ClipError as `check` raises it for samples."""
        _judge(clip, count=self.count, finite=self.finite, constant=self.constant)


def decoders(workers: int) -> ThreadPoolExecutor:
    """Threads to decode in, each of which keeps torch's arithmetic to one core.

    One clip is too little work to share among cores, and the decoding threads already keep all of them busy.
    The thread that calls this keeps its own setting.
    """
    return ThreadPoolExecutor(workers, "decoder", initializer=torch.set_num_threads, initargs=(1,))


def probe(clip: Clip) -> Sound:
    """Read the header alone. Raises ClipError where the file or the clip's segment cannot be used."""
    with _open(clip) as decoder:
        rate, length = decoder.file.samplerate, decoder.length()
        if not _LOWEST_RATE <= rate <= _HIGHEST_RATE:
            raise _fault(clip, f"sample rate of {rate} Hz", do="resample the file first")
        lasts = f"but the file lasts {length / rate:.3f} s"
        begin, stop = 0, length
        if clip.start is not None:
            begin = round(clip.start * rate)
            if not 0 <= begin < length:
                raise _fault(clip, f"starts at {clip.start:g} s, {lasts}")
        if clip.end is not None:
            stop = min(round(clip.end * rate), length)
            if clip.end > length / rate + _ROUNDING:
                raise _fault(clip, f"ends at {clip.end:g} s, {lasts}")
            if stop <= begin:
                raise _fault(clip, f"ends at {clip.end:g} s, not after its start at {clip.start or 0:g} s")
        sound = Sound(rate=rate, channels=decoder.file.channels, begin=begin, stop=stop)
        _judge(clip, count=sound.samples)
        return sound


def read(clip: Clip, sound: Sound, *, begin: int = 0, stop: int | None = None) -> np.ndarray:
    """Decode `begin` to `stop` (samples at RATE, counted from the segment's start): (stop - begin,) float32.

    A window of a long clip is the same slice of the whole clip's samples to float rounding. What lies before
    and after the segment in its file is not heard, as if the segment had been cut out into a file of its own.
    Raises ClipError where the file cannot be decoded or, read whole, holds a single value throughout.
    """
    stop = sound.samples if stop is None else stop
    with _open(clip) as decoder:
        wave = _window(decoder, sound, begin, stop)
        if stop - begin == sound.samples:
            # Judged here, on the file's own samples: resampling gives a constant clip edges that vary.
            _judge(clip, count=len(wave), constant=decoder.low == decoder.high)
    return wave


def read_windows(clip: Clip, sound: Sound, spans: Sequence[tuple[int, int]]) -> Iterator[np.ndarray]:
    """What `read` gives for each (begin, stop) of a long clip in turn, from a file opened once.

    Takes time in proportion to the clip's length in every format, where single reads of an Ogg file each
    decode it from its start.
    """
    with _open(clip) as decoder:
        for begin, stop in spans:
            yield _window(decoder, sound, begin, stop)


def moments(clip: Clip, sound: Sound) -> Moments:
    """Stream the whole clip in blocks, in bounded memory. Raises ClipError where it cannot be decoded.

    Blocks are merged as in Chan, Golub and LeVeque (1979), in float64.
    """
    count, mean, squares = 0, 0.0, 0.0
    with _open(clip) as decoder:
        for begin in range(0, sound.samples, _BLOCK):
            wave = _window(decoder, sound, begin, min(begin + _BLOCK, sound.samples)).astype(np.float64)
            total = count + len(wave)
            block_mean = float(wave.mean())
            wave -= block_mean
            apart = block_mean - mean
            squares += float(np.square(wave, out=wave).sum()) + apart**2 * count * len(wave) / total
            mean += apart * len(wave) / total
            count = total
        low, high = decoder.low, decoder.high
    finite = math.isfinite(low) and math.isfinite(high)
    return Moments(count=count, mean=mean, variance=squares / count, finite=finite, constant=low == high)


def check(wave: np.ndarray, clip: Clip) -> None:
    """ClipError where a clip's samples at RATE are too few, not finite or all the same."""
    low, high = (float(wave.min()), float(wave.max())) if len(wave) else (0.0, 0.0)
    _judge(clip, count=len(wave), finite=math.isfinite(low) and math.isfinite(high), constant=low == high)


def normalise(wave: np.ndarray, mean: float, variance: float) -> np.ndarray:
    """(x - mean) / sqrt(variance + 1e-7) in float32, as Wav2Vec2FeatureExtractor of transformers does it."""
    return (wave - np.float32(mean)) / np.float32(math.sqrt(variance + 1e-7))


def _fault(clip: Clip, what: str, *, do: str = "") -> ClipError:
    return ClipError(what, where=str(clip.path), do=do)


def _reason(error: soundfile.LibsndfileError) -> str:
    return str(error.error_string).removeprefix("Error : ").rstrip(".")


def _judge(clip: Clip, *, count: int, finite: bool = True, constant: bool = False) -> None:
    if count < MIN_SAMPLES:
        lasts, least = count / RATE * 1000, MIN_SAMPLES / RATE * 1000
        raise _fault(clip, f"too short: lasts {lasts:.1f} ms, a model needs {least:g} ms")
    if not finite:
        raise _fault(clip, "holds NaN or infinite samples")
    if constant:
        raise _fault(clip, "silent: every sample has the same value")


def _window(decoder: _Decoder, sound: Sound, begin: int, stop: int) -> np.ndarray:
    """Samples `begin` to `stop` of the segment, at RATE."""
    if sound.rate == RATE:
        return decoder.read(sound.begin + begin, stop - begin).copy()
    resample = resampler(sound.rate, RATE)
    low, high = resample.span(begin, stop)
    length = sound.stop - sound.begin
    first, last = max(low, 0), min(high, length)
    heard = decoder.read(sound.begin + first, last - first)
    return resample.apply(np.pad(heard, (first - low, high - last)), begin, stop)


class _Forward(soundfile.SoundFile):
    """A sound file read onward from where it is.

    After each read of a file that says it is seekable, soundfile seeks to where the read has just ended. In
    MP3 that drops the bits the next frame borrows from earlier ones, so that reading by blocks differs from
    reading at once by up to full scale; in FLAC it costs a search.
    """

    def seekable(self) -> bool:
        return False


class _Decoder:
    """Mono samples of an opened file, by position, and the lowest and highest of them so far.

    It goes on from where it is if it can, and keeps what it read last: windows that follow one another
    overlap by the reach of the resampling filter.
    """

    def __init__(self, clip: Clip, file: _Forward) -> None:
        self.clip, self.file = clip, file
        self.low, self.high = math.inf, -math.inf
        self._at = 0  # the file's position, where `_latest` ends
        self._latest = np.empty(0, np.float32)

    def length(self) -> int:
        """Samples in the file. ClipError where some are missing or out of reach, or there are none."""
        if lost := missing_bytes(self.clip.path):
            raise _fault(self.clip, f"truncated: its header tells of {lost} more bytes than there are")
        length = self.file.frames
        if length > _UNKNOWN:
            length = 0
            while passed := len(self.file.read(_SKIP, dtype="float32")):
                length += passed
        if self.file.format == "MP3" and (counted := uncounted_mp3_samples(self.clip.path)) is not None:
            if counted > length + _MP3_FRAME:
                share = f"{length} of {counted} samples can be read"
                told = f"an MP3 file of varying bit rate without a frame count: {share}"
                raise _fault(self.clip, told, do="encode it again, as FLAC or WAV")
            length = min(length, counted)
        if length <= 0:
            raise _fault(self.clip, "holds no samples (a header without data)")
        return length

    def read(self, begin: int, count: int) -> np.ndarray:
        """(count,) float32 from sample `begin` on, not to be written to. ClipError where some are missing."""
        if not self._at - len(self._latest) <= begin <= self._at:
            self._move(begin)
        kept = self._latest[len(self._latest) - (self._at - begin) :]
        if count > len(kept):
            kept = np.concatenate([kept, self._decode(count - len(kept))])
        self._latest = kept
        samples = kept[:count]
        if count:
            self.low = min(self.low, float(samples.min()))
            self.high = max(self.high, float(samples.max()))
        return samples

    def _move(self, begin: int) -> None:
        rate = self.file.samplerate
        match self.file.format:
            case (
                "OGG"
            ):  # libsndfile's seeking can end up hundreds of samples off (its issue 885): from the start
                start = self._at if self._at <= begin else 0
            case "MP3":  # frames borrow bits from earlier ones, so decoding must be under way before `begin`
                start = max(0, begin - _RUN_UP * rate)
            case _:
                start = begin
        if start != self._at:
            self._at = self.file.seek(start)
        while self._at < begin:
            self._decode(min(_SKIP, begin - self._at))
        self._latest = self._latest[:0]

    def _decode(self, count: int) -> np.ndarray:
        """The next `count` samples, channels averaged."""
        try:
            samples = self.file.read(count, dtype="float32", always_2d=True)
        except soundfile.LibsndfileError as error:
            told = f"truncated or damaged: decoding fails ({_reason(error)})"
            raise _fault(self.clip, told) from error
        self._at += len(samples)
        if len(samples) < count:
            told = f"truncated: {self._at} of {self.file.frames} samples are there"
            raise _fault(self.clip, told)
        return samples[:, 0] if samples.shape[1] == 1 else samples.mean(axis=1)


@contextmanager
def _open(clip: Clip) -> Iterator[_Decoder]:
    """The clip's file, opened by descriptor: libsndfile then goes by content, not by the name's ending."""
    try:
        status = clip.path.stat()
        if not stat.S_ISREG(status.st_mode):
            raise _fault(clip, "is not a file")
        if status.st_size == 0:
            raise _fault(clip, "empty (zero bytes)")
        with (
            clip.path.open("rb", buffering=0) as raw,
            _Forward(raw.fileno(), closefd=False) as file,
        ):
            yield _Decoder(clip, file)
    except OSError as error:
        raise _fault(clip, f"cannot be read ({(error.strerror or str(error)).lower()})") from error
    except soundfile.LibsndfileError as error:
        raise _fault(clip, f"not a sound file that can be read ({_reason(error)})") from error
