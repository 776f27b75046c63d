"""Any recording as 16 kHz mono float32: header, decoding, resampling, normalisation.

Integer samples are scaled to [-1, 1) (16 bit: divided by 32,768), channels are averaged or one is taken.
Every fault of a file is a ClipError. Several threads may call all functions, best those of `DecoderThreads`.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import torch

from layerprobe.embed.audio import pcm
from layerprobe.embed.audio.decoding import (
    DEFAULT,
    Decoder,
    Selection,
    clip_error,
    open_decoder,
    selection_of,
)
from layerprobe.embed.audio.resampling import resampler
from layerprobe.embed.config import RATE
from layerprobe.embed.manifest.clips import Clip

CANCELLED = 20.0  # decibels: of two channels, a correlation below -0.98
MIN_SAMPLES = 400  # at RATE: 25 ms, which one frame of the models' convolutional front ends spans

_MIN_RATE, _MAX_RATE = 1_000, 768_000  # Hz
_ROUNDING = 0.005  # seconds by which a segment's end may exceed its file: labels are rounded, files are not
MONO = (DEFAULT, Selection(channel=0))  # selections that of a single channel are the same
_BLOCK = 30 * RATE  # samples at RATE decoded at a time where a complete clip is streamed


@dataclass(frozen=True, kw_only=True, slots=True)
class AudioInfo:
    """The format of a clip's file, and where in it the clip is.

    rate: the file's own, in Hz. begin, stop: the clip's samples in the file, at that rate. selection: what is
    read of the file. plain: the byte where the file's samples begin if it is plain (see `pcm`), else 0.
    """

    rate: int
    channels: int
    begin: int
    stop: int
    selection: Selection = DEFAULT
    plain: int = 0

    @property
    def samples(self) -> int:
        """Samples at RATE after resampling."""
        return -(-(self.stop - self.begin) * RATE // self.rate)

    @property
    def seconds(self) -> float:
        return (self.stop - self.begin) / self.rate


@dataclass(frozen=True, kw_only=True)
class Moments:
    """Statistics of a clip's samples at RATE.

    variance: of the population. finite: no NaN or infinity. constant: the file has a single value throughout.
    cancelled: decibels by which averaging its channels has lowered their level.
    """

    count: int
    mean: float
    variance: float
    finite: bool
    constant: bool
    cancelled: float = 0.0

    def check(self, clip: Clip) -> None:
        """Raises ClipError as `check_samples` does."""
        _check(clip, count=self.count, finite=self.finite, constant=self.constant, cancelled=self.cancelled)


class DecoderThreads(ThreadPoolExecutor):
    """Threads for decoding, each of which keeps torch's arithmetic to one core.

    torch's setting is also that of threads that start later: the one before holds again after `shutdown`.
    """

    def __init__(self, workers: int) -> None:
        self._number = torch.get_num_threads()
        super().__init__(workers, "decoder", initializer=torch.set_num_threads, initargs=(1,))

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        super().shutdown(wait, cancel_futures=cancel_futures)
        torch.set_num_threads(self._number)


def probe(clip: Clip, selection: Selection | None = None, *, plain: pcm.PlainFile | None = None) -> AudioInfo:
    """Check a clip: read the header, and compare what it declares with what the file holds.

    Only files whose headers do not say how long they are, such as MP4 and WebM, are decoded for it.

    selection: what to read of the file, instead of the clip's own. plain: the file's header, if it is known
    to be plain. Raises ClipError where the file or the clip's segment cannot be used.
    """
    selection = selection or selection_of(clip)
    plain = (plain or pcm.find_plain(clip.file)) if selection in MONO else None
    if plain is not None:
        begin, stop = _find_segment(clip, rate=RATE, length=plain.samples)
        info = AudioInfo(
            rate=RATE, channels=1, begin=begin, stop=stop, selection=selection, plain=plain.begin
        )
    else:
        with open_decoder(clip, selection) as decoder:
            rate, length = decoder.rate, decoder.length()
            if not _MIN_RATE <= rate <= _MAX_RATE:
                raise clip_error(clip, f"sample rate of {rate} Hz", do="resample the file first")
            begin, stop = _find_segment(clip, rate=rate, length=length)
            info = AudioInfo(
                rate=rate, channels=decoder.channels, begin=begin, stop=stop, selection=selection
            )
    _check(clip, count=info.samples)
    return info


def _find_segment(clip: Clip, *, rate: int, length: int) -> tuple[int, int]:
    """The clip's samples in a file of `length` samples. Raises ClipError where they are not all there."""
    duration = f"but the file lasts {length / rate:.3f} s"
    begin, stop = 0, length
    if clip.start is not None:
        begin = round(clip.start * rate)
        if not 0 <= begin < length:
            raise clip_error(clip, f"starts at {clip.start:g} s, {duration}")
    if clip.end is not None:
        stop = min(round(clip.end * rate), length)
        if clip.end > length / rate + _ROUNDING:
            raise clip_error(clip, f"ends at {clip.end:g} s, {duration}")
        if stop <= begin:
            start = clip.start or 0
            raise clip_error(clip, f"ends at {clip.end:g} s, not after its start at {start:g} s")
    return begin, stop


def read_plain(clip: Clip, info: AudioInfo) -> pcm.Samples | None:
    """The samples of a clip of a plain file; None where `read_clip` has to read it.

    Raises ClipError as `read_clip`.
    """
    if not info.plain or info.samples > pcm.MOST_SAMPLES:
        return None
    try:
        begin = info.plain + 2 * info.begin
        samples = pcm.read_plain(clip.file, begin=begin, samples=info.samples)
    except OSError:
        return None  # reported where it is read next
    if samples is not None:
        _check(clip, count=info.samples, constant=samples.constant)
    return samples


def read_clip(clip: Clip, info: AudioInfo, *, begin: int = 0, stop: int | None = None) -> np.ndarray:
    """Decode a clip, or its samples `begin` to `stop` > `begin` at RATE: (stop - begin,) float32.

    A window is the same slice of the complete clip to float rounding. What surrounds a segment in its file
    has no influence, as if the segment were a file of its own.

    Raises ClipError where the file cannot be decoded or the complete clip fails `check_samples`.
    """
    stop = info.samples if stop is None else stop
    with open_decoder(clip, info.selection) as decoder:
        wave = _read_window(decoder, info, begin, stop)
        if stop - begin == info.samples:
            # Checked on the file's own samples: resampling gives a constant clip edges that vary.
            _check(
                clip,
                count=len(wave),
                finite=decoder.finite,
                constant=decoder.constant,
                cancelled=decoder.cancelled,
            )
    return wave


def read_windows(clip: Clip, info: AudioInfo, spans: Sequence[tuple[int, int]]) -> Iterator[np.ndarray]:
    """Yield each window (begin, stop) of a long clip, as `read_clip` gives it, from a file opened once.

    Takes time in proportion to the clip's length in every format.
    """
    with open_decoder(clip, info.selection) as decoder:
        for begin, stop in spans:
            yield _read_window(decoder, info, begin, stop)


def measure_moments(clip: Clip, info: AudioInfo) -> Moments:
    """Stream the complete clip in blocks, in bounded memory. Raises ClipError where it cannot be decoded.

    Blocks are merged in float64 as in Chan, Golub and LeVeque (1979, "Updating formulae and a pairwise
    algorithm for computing sample variances").
    """
    count, mean, squares = 0, 0.0, 0.0
    with open_decoder(clip, info.selection) as decoder:
        for begin in range(0, info.samples, _BLOCK):
            stop = min(begin + _BLOCK, info.samples)
            wave = _read_window(decoder, info, begin, stop).astype(np.float64)
            if not decoder.finite:
                nan = math.nan
                return Moments(count=info.samples, mean=nan, variance=nan, finite=False, constant=False)
            total = count + len(wave)
            block_mean = float(wave.mean())
            wave -= block_mean
            difference = block_mean - mean
            squares += float(np.square(wave, out=wave).sum()) + difference**2 * count * len(wave) / total
            mean += difference * len(wave) / total
            count = total
    return Moments(
        count=count,
        mean=mean,
        variance=squares / count,
        finite=True,
        constant=decoder.constant,
        cancelled=decoder.cancelled,
    )


def check_samples(wave: np.ndarray, clip: Clip) -> None:
    """Raises ClipError where a clip's samples (T,) at RATE are too few, not finite or all the same."""
    low, high = (float(wave.min()), float(wave.max())) if len(wave) else (0.0, 0.0)
    _check(clip, count=len(wave), finite=math.isfinite(low) and math.isfinite(high), constant=low == high)


def normalise(wave: np.ndarray, mean: float, variance: float) -> np.ndarray:
    """(x - mean) / sqrt(variance + 1e-7) in float32, as transformers' Wav2Vec2FeatureExtractor does it."""
    return (wave - np.float32(mean)) / np.float32(math.sqrt(variance + 1e-7))


def _check(
    clip: Clip, *, count: int, finite: bool = True, constant: bool = False, cancelled: float = 0.0
) -> None:
    if count < MIN_SAMPLES:
        duration, minimum = count / RATE * 1000, MIN_SAMPLES / RATE * 1000
        raise clip_error(clip, f"too short: lasts {duration:.1f} ms, a model needs {minimum:g} ms")
    if not finite:
        raise clip_error(clip, "holds NaN or infinite samples")
    if cancelled > CANCELLED:
        what = f"its channels cancel when they are averaged: the level falls by {cancelled:.0f} dB"
        raise clip_error(clip, what, do="use one of them: embed with --channels 0")
    if constant:
        raise clip_error(clip, "silent: every sample has the same value")


def _read_window(decoder: Decoder, info: AudioInfo, begin: int, stop: int) -> np.ndarray:
    """Samples `begin` to `stop` of the clip, at RATE."""
    if info.rate == RATE:
        return decoder.read(info.begin + begin, stop - begin).copy()
    resample = resampler(info.rate, RATE)
    low, high = resample.span(begin, stop)
    first, last = max(low, 0), min(high, info.stop - info.begin)
    wave = decoder.read(info.begin + first, last - first)
    return resample.apply(np.pad(wave, (first - low, high - last)), begin, stop)
