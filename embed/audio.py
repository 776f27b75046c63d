"""Sound files as 16 kHz mono: header, decoding, resampling, normalisation.

WAV (8 to 32 bit, float), FLAC, OGG and MP3 through libsndfile; integer samples are scaled to [-1, 1) (16 bit:
divided by 32,768), channels are averaged. Resampling is torchaudio's windowed sinc with a Kaiser window.
Every fault of a file is a ClipError, whose reason a person can act on.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from typing import BinaryIO

import numpy as np
import soundfile
import torch
from torchaudio.transforms import Resample

from cache.errors import ClipError
from embed.manifest import Clip

RATE = 16_000  # samples a second every model here hears
MIN_SAMPLES = 400  # at RATE: the 25 ms that one frame of the models' front ends spans

_LOWEST_RATE, _HIGHEST_RATE = 1_000, 768_000
_ROUNDING = 0.005  # seconds a segment's end may exceed its file: labels are rounded, files are not
_BLOCK = 30 * RATE  # samples at RATE decoded at a time where a whole clip is streamed
_SKIP = 1 << 18  # samples decoded at a time where a format must be read from its start
_LARGEST_KERNEL = 1 << 25  # weights


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
    """Of a clip's samples at RATE: population variance; `constant` where the file holds a single value."""

    count: int
    mean: float
    variance: float
    finite: bool
    constant: bool

    def check(self, clip: Clip) -> None:
        """ClipError where the clip is too short, not finite or constant."""
        if self.count < MIN_SAMPLES:
            raise _fault(
                clip, f"{self.count / RATE * 1000:.1f} ms long, shorter than {MIN_SAMPLES / RATE * 1000:g} ms"
            )
        if not self.finite:
            raise _fault(clip, "holds NaN or infinite samples")
        if self.constant:
            raise _fault(clip, "silent: every sample has the same value")


def probe(clip: Clip) -> Sound:
    """Read the header alone. Raises ClipError where the file or the clip's segment cannot be used."""
    with _open(clip) as file:
        rate, length = file.samplerate, file.frames
        if not _LOWEST_RATE <= rate <= _HIGHEST_RATE:
            raise _fault(clip, f"sample rate of {rate} Hz", do="resample the file first")
        if length <= 0:
            raise _fault(clip, "holds no samples (a header without data)")
        whole = length / rate
        begin, stop = 0, length
        if clip.start is not None:
            begin = round(clip.start * rate)
            if not 0 <= begin < length:
                raise _fault(clip, f"starts at {clip.start:g} s, but the file lasts {whole:.3f} s")
        if clip.end is not None:
            if not clip.end <= whole + _ROUNDING:
                raise _fault(clip, f"ends at {clip.end:g} s, but the file lasts {whole:.3f} s")
            stop = min(round(clip.end * rate), length)
            if stop <= begin:
                raise _fault(clip, f"ends at {clip.end:g} s, not after its start at {clip.start or 0:g} s")
        return Sound(rate=rate, channels=file.channels, begin=begin, stop=stop)


def read(clip: Clip, sound: Sound, *, begin: int = 0, stop: int | None = None) -> np.ndarray:
    """Decode `begin` to `stop` (samples at RATE, counted from the segment's start): (stop - begin,) float32.

    A window of a long clip is the same slice of the whole clip's samples to float rounding. What lies before
    and after the segment in its file is not heard, as if the segment had been cut out into a file of its own.
    Raises ClipError where the file cannot be decoded.
    """
    with _open(clip) as file:
        wave, _ = _window(clip, file, sound, begin, sound.samples if stop is None else stop)
    return wave


def moments(clip: Clip, sound: Sound) -> Moments:
    """Stream the whole clip in blocks, in bounded memory. Raises ClipError as `read` does."""
    count, mean, squares = 0, 0.0, 0.0
    low, high = math.inf, -math.inf
    finite = True
    with _open(clip) as file:
        for begin in range(0, sound.samples, _BLOCK):
            wave, (least, most) = _window(clip, file, sound, begin, min(begin + _BLOCK, sound.samples))
            low, high = min(low, least), max(high, most)
            if not (math.isfinite(least) and math.isfinite(most)):
                finite = False
                continue
            exact = wave.astype(np.float64)
            block_mean = float(exact.mean())
            exact -= block_mean
            total = count + len(wave)
            apart = block_mean - mean
            squares += float(np.square(exact).sum()) + apart**2 * count * len(wave) / total
            mean += apart * len(wave) / total
            count = total
    return Moments(
        count=sound.samples,
        mean=mean,
        variance=squares / max(count, 1),
        finite=finite,
        constant=finite and low == high,
    )


def check(wave: np.ndarray, clip: Clip) -> None:
    """ClipError where a clip's samples are too few, not finite or constant."""
    low, high = (float(wave.min()), float(wave.max())) if len(wave) else (0.0, 0.0)
    finite = math.isfinite(low) and math.isfinite(high)
    Moments(count=len(wave), mean=0.0, variance=0.0, finite=finite, constant=finite and low == high).check(
        clip
    )


def normalise(wave: np.ndarray, mean: float, variance: float) -> np.ndarray:
    """(x - mean) / sqrt(variance + 1e-7), as Wav2Vec2FeatureExtractor of transformers does it."""
    return ((wave - np.float32(mean)) / np.float32(math.sqrt(variance + 1e-7))).astype(np.float32, copy=False)


def _fault(clip: Clip, what: str, *, do: str = "") -> ClipError:
    return ClipError(what, where=str(clip.path), do=do)


@contextmanager
def _open(clip: Clip) -> Iterator[soundfile.SoundFile]:
    """The clip's file, opened by descriptor: libsndfile then goes by content, not by the name's ending."""
    try:
        with clip.path.open("rb", buffering=0) as raw:
            if clip.path.stat().st_size == 0:
                raise _fault(clip, "empty file (zero bytes)")
            _check_riff(clip, raw)
            raw.seek(0)
            with soundfile.SoundFile(raw.fileno(), closefd=False) as file:
                yield file
    except OSError as error:
        raise _fault(clip, f"cannot be read: {(error.strerror or str(error)).lower()}") from error
    except soundfile.LibsndfileError as error:
        raise _fault(clip, f"not a readable sound file ({error.error_string})") from error


def _check_riff(clip: Clip, raw: BinaryIO) -> None:
    """Refuse a WAV file whose data chunk is longer than the file: libsndfile silently reads what is left."""
    size = raw.seek(0, 2)
    raw.seek(0)
    if (riff := raw.read(12))[:4] != b"RIFF" or riff[8:] != b"WAVE":
        return
    at = 12
    while len(head := raw.read(8)) == 8:
        name, length = head[:4], struct.unpack("<I", head[4:])[0]
        at += 8
        if name == b"data":
            if length < 0xFFFFFFFF and at + length > size:
                raise _fault(clip, f"truncated: {size - at} of {length} bytes of sound are there")
            return
        at = raw.seek(at + length + length % 2)


def _window(
    clip: Clip, file: soundfile.SoundFile, sound: Sound, begin: int, stop: int
) -> tuple[np.ndarray, tuple[float, float]]:
    """Samples `begin` to `stop` at RATE, and the lowest and highest sample of the file they come from."""
    length = sound.stop - sound.begin
    if sound.rate == RATE:
        wave = _decode(clip, file, sound.begin + begin, stop - begin)
        return wave, _range(wave)
    kernel, width, old, new = _kernel(sound.rate)
    # One step of the strided convolution eats `old` samples and gives `new`: windows start and end on steps.
    first, last = begin // new, -(-stop // new)
    low, high = first * old - width, last * old + width
    inside = _decode(clip, file, sound.begin + max(low, 0), min(high, length) - max(low, 0))
    padded = torch.nn.functional.pad(torch.from_numpy(inside), (max(-low, 0), max(high - length, 0)))
    steps = torch.nn.functional.conv1d(padded[None, None], kernel, stride=old)[0]
    wave = steps.T.reshape(-1).numpy()[begin - first * new : stop - first * new]
    return np.ascontiguousarray(wave), _range(inside)


def _range(samples: np.ndarray) -> tuple[float, float]:
    return (float(samples.min()), float(samples.max())) if len(samples) else (math.inf, -math.inf)


@lru_cache(maxsize=16)
def _kernel(rate: int) -> tuple[torch.Tensor, int, int, int]:
    """torchaudio's kernel from `rate` to RATE, its half-width, and the two rates divided by their gcd."""
    common = math.gcd(rate, RATE)
    old, new = rate // common, RATE // common
    transform = Resample(
        rate,
        RATE,
        resampling_method="sinc_interp_kaiser",
        lowpass_filter_width=64,
        rolloff=0.9475937167399596,
        beta=14.769656459379492,
    )
    return transform.kernel, transform.width, old, new


def _decode(clip: Clip, file: soundfile.SoundFile, begin: int, count: int) -> np.ndarray:
    """(count,) float32: the mean of the channels from sample `begin` of the file on."""
    if file.format == "OGG":
        # libsndfile's seeking in Ogg is off by up to a block now and then (its issue 885): read up to there.
        file.seek(0)
        for skipped in range(0, begin, _SKIP):
            file.read(min(_SKIP, begin - skipped), dtype="float32")
    elif begin != file.tell():
        file.seek(begin)
    samples = file.read(count, dtype="float32", always_2d=True)
    if len(samples) < count:
        raise _fault(clip, f"truncated: ends after {begin + len(samples)} of {file.frames} samples")
    return samples[:, 0] if samples.shape[1] == 1 else samples.mean(axis=1, dtype=np.float32)
