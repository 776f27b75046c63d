"""Sound files as 16 kHz mono: header, decoding, normalisation.

WAV (8 to 32 bit, float), FLAC, OGG and MP3 through libsndfile; integer samples are scaled to [-1, 1) (16 bit:
divided by 32,768), channels are averaged. Every fault of a file is a ClipError whose reason a person can act
on. All functions may be called from several threads at once, best from those of `decoder_pool`.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import torch

from layerprobe.embed.audio.decoding import Decoder, clip_error, open_decoder
from layerprobe.embed.audio.resampling import resampler
from layerprobe.embed.config import RATE
from layerprobe.embed.manifest.clips import Clip

MIN_SAMPLES = 400  # at RATE: the 25 ms that one frame of the models' front ends spans

_LOWEST_RATE, _HIGHEST_RATE = 1_000, 768_000  # Hz
_ROUNDING = 0.005  # seconds a segment's end may exceed its file: labels are rounded, files are not
_BLOCK = 30 * RATE  # samples at RATE decoded at a time where a whole clip is streamed


@dataclass(frozen=True, kw_only=True, slots=True)
class AudioInfo:
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
        """ClipError as `check_samples` raises it for samples."""
        _judge(clip, count=self.count, finite=self.finite, constant=self.constant)


def decoder_pool(workers: int) -> ThreadPoolExecutor:
    """Threads to decode in, each of which keeps torch's arithmetic to one core.

    One clip is too little work to share among cores, and the decoding threads already keep all of them busy.
    The thread that calls this keeps its own setting.
    """
    return ThreadPoolExecutor(workers, "decoder", initializer=torch.set_num_threads, initargs=(1,))


def probe(clip: Clip) -> AudioInfo:
    """Decode nothing: read the header, and of Ogg and MP3 look through the file for damage.

    Raises ClipError where the file or the clip's segment cannot be used.
    """
    with open_decoder(clip) as decoder:
        rate, length = decoder.file.samplerate, decoder.length()
        if not _LOWEST_RATE <= rate <= _HIGHEST_RATE:
            raise clip_error(clip, f"sample rate of {rate} Hz", do="resample the file first")
        lasts = f"but the file lasts {length / rate:.3f} s"
        begin, stop = 0, length
        if clip.start is not None:
            begin = round(clip.start * rate)
            if not 0 <= begin < length:
                raise clip_error(clip, f"starts at {clip.start:g} s, {lasts}")
        if clip.end is not None:
            stop = min(round(clip.end * rate), length)
            if clip.end > length / rate + _ROUNDING:
                raise clip_error(clip, f"ends at {clip.end:g} s, {lasts}")
            if stop <= begin:
                raise clip_error(
                    clip, f"ends at {clip.end:g} s, not after its start at {clip.start or 0:g} s"
                )
        sound = AudioInfo(rate=rate, channels=decoder.file.channels, begin=begin, stop=stop)
        _judge(clip, count=sound.samples)
        return sound


def read_clip(clip: Clip, sound: AudioInfo, *, begin: int = 0, stop: int | None = None) -> np.ndarray:
    """Decode `begin` to `stop` > `begin` (samples at RATE from the segment's start): (stop - begin,) float32.

    A window of a long clip is the same slice of the whole clip's samples to float rounding. What lies before
    and after the segment in its file is not heard, as if the segment had been cut out into a file of its own.
    Raises ClipError where the file cannot be decoded or, read whole, fails what `check_samples` asks.
    """
    stop = sound.samples if stop is None else stop
    with open_decoder(clip) as decoder:
        wave = _window(decoder, sound, begin, stop)
        if stop - begin == sound.samples:
            # Judged here, on the file's own samples: resampling gives a constant clip edges that vary.
            _judge(clip, count=len(wave), finite=decoder.finite, constant=decoder.constant)
    return wave


def read_windows(clip: Clip, sound: AudioInfo, spans: Sequence[tuple[int, int]]) -> Iterator[np.ndarray]:
    """What `read_clip` gives for each (begin, stop) of a long clip in turn, from a file opened once.

    Takes time in proportion to the clip's length in every format.
    """
    with open_decoder(clip) as decoder:
        for begin, stop in spans:
            yield _window(decoder, sound, begin, stop)


def measure_moments(clip: Clip, sound: AudioInfo) -> Moments:
    """Stream the whole clip in blocks, in bounded memory. Raises ClipError where it cannot be decoded.

    Blocks are merged as in Chan, Golub and LeVeque (1979), in float64.
    """
    count, mean, squares = 0, 0.0, 0.0
    with open_decoder(clip) as decoder:
        for begin in range(0, sound.samples, _BLOCK):
            wave = _window(decoder, sound, begin, min(begin + _BLOCK, sound.samples)).astype(np.float64)
            if not decoder.finite:
                nan = math.nan
                return Moments(count=sound.samples, mean=nan, variance=nan, finite=False, constant=False)
            total = count + len(wave)
            block_mean = float(wave.mean())
            wave -= block_mean
            apart = block_mean - mean
            squares += float(np.square(wave, out=wave).sum()) + apart**2 * count * len(wave) / total
            mean += apart * len(wave) / total
            count = total
        constant = decoder.constant
    return Moments(count=count, mean=mean, variance=squares / count, finite=True, constant=constant)


def check_samples(wave: np.ndarray, clip: Clip) -> None:
    """ClipError where a clip's samples at RATE are too few, not finite or all the same."""
    low, high = (float(wave.min()), float(wave.max())) if len(wave) else (0.0, 0.0)
    _judge(clip, count=len(wave), finite=math.isfinite(low) and math.isfinite(high), constant=low == high)


def normalise(wave: np.ndarray, mean: float, variance: float) -> np.ndarray:
    """(x - mean) / sqrt(variance + 1e-7) in float32, as Wav2Vec2FeatureExtractor of transformers does it."""
    return (wave - np.float32(mean)) / np.float32(math.sqrt(variance + 1e-7))


def _judge(clip: Clip, *, count: int, finite: bool = True, constant: bool = False) -> None:
    if count < MIN_SAMPLES:
        lasts, least = count / RATE * 1000, MIN_SAMPLES / RATE * 1000
        raise clip_error(clip, f"too short: lasts {lasts:.1f} ms, a model needs {least:g} ms")
    if not finite:
        raise clip_error(clip, "holds NaN or infinite samples")
    if constant:
        raise clip_error(clip, "silent: every sample has the same value")


def _window(decoder: Decoder, sound: AudioInfo, begin: int, stop: int) -> np.ndarray:
    """Samples `begin` to `stop` of the segment, at RATE."""
    if sound.rate == RATE:
        return decoder.read(sound.begin + begin, stop - begin).copy()
    resample = resampler(sound.rate, RATE)
    low, high = resample.span(begin, stop)
    length = sound.stop - sound.begin
    first, last = max(low, 0), min(high, length)
    heard = decoder.read(sound.begin + first, last - first)
    return resample.apply(np.pad(heard, (first - low, high - last)), begin, stop)
