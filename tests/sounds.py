"""Sound files for tests: any format, intact or damaged."""

from __future__ import annotations

import re
from itertools import pairwise
from pathlib import Path
from typing import Any

import av
import numpy as np
import soundfile

from layerprobe.embed.manifest.clips import Clip

FORMATS = ("wav", "flac", "ogg", "opus", "mp3")


def noise(samples: int, *, seed: int = 0, channels: int = 1, level: float = 0.1) -> np.ndarray:
    """(samples,) or (samples, channels) float32 noise whose loudness rises and falls like that of speech."""
    rng = np.random.default_rng(seed)
    swell = np.abs(np.sin(np.arange(samples) * 0.0007)) ** 3 + 0.001
    wave = (rng.standard_normal((samples, channels)) * swell[:, None] * level).astype(np.float32)
    return wave[:, 0] if channels == 1 else wave


def sound_file(
    path: Path,
    wave: np.ndarray,
    rate: int = 16_000,
    *,
    subtype: str | None = None,
    mode: str | None = None,
    start: float | None = None,
    end: float | None = None,
) -> Clip:
    """Write `wave` in the format of the path's extension; `mode`: an MP3's bit rate, CONSTANT or VARIABLE."""
    kinds = {".opus": ("OGG", "OPUS"), ".ogg": ("OGG", "VORBIS"), ".mp3": ("MP3", "MPEG_LAYER_III")}
    kind, usual = kinds.get(path.suffix, (path.suffix[1:].upper(), None))
    channels = 1 if wave.ndim == 1 else wave.shape[1]
    with soundfile.SoundFile(
        path,
        "w",
        rate,
        channels,
        subtype or usual,
        format=kind,
        bitrate_mode=mode,
        compression_level=None if mode is None else 0.5,
    ) as file:
        # libsndfile's Vorbis encoder overflows its stack on long single writes.
        for at in range(0, len(wave), 8_000):
            file.write(wave[at : at + 8_000])
    return clip_of(path, start=start, end=end)


# Files that FFmpeg writes: format, codec, rate in Hz, channels, and samples of a frame.
COMPRESSED = {
    "m4a": ("ipod", "aac", 44_100, 2, 1_024),
    "mp4": ("mp4", "aac", 16_000, 1, 1_024),
    "mov": ("mov", "pcm_s16le", 48_000, 2, 1),
    "alac": ("ipod", "alac", 44_100, 1, 1),
    "3gp": ("3gp", "libopencore_amrnb", 8_000, 1, 160),
    "webm": ("webm", "libopus", 48_000, 1, 960),
    "mka": ("matroska", "flac", 22_050, 2, 1),
    "mkv": ("matroska", "libmp3lame", 44_100, 1, 1_152),
    "wma": ("asf", "wmav2", 44_100, 2, 2_048),
    "amr": ("amr", "libopencore_amrnb", 8_000, 1, 160),
    "aac": ("adts", "aac", 44_100, 2, 1_024),
    "avi": ("avi", "libmp3lame", 44_100, 2, 1_152),
    "mp3.wav": ("wav", "libmp3lame", 44_100, 1, 1_152),
    "ac3.wav": ("wav", "ac3", 48_000, 2, 1_536),
    "mp2": ("mp2", "mp2", 44_100, 2, 1_152),
    "ffmpeg.mp3": ("mp3", "libmp3lame", 44_100, 2, 1),
}


def encoded(path: Path, *tracks: np.ndarray, kind: str, video: bool = False) -> Path:
    """Write one or several audio tracks (T,) or (T, C) in a format of COMPRESSED."""
    form, codec, rate, channels, _ = COMPRESSED[kind]
    channels = max([channels, *(wave.shape[1] for wave in tracks if wave.ndim > 1)])
    container: Any = av.open(path, "w", format=form)
    with container as file:
        streams = [file.add_stream(codec, rate=rate) for _ in tracks]
        for stream in streams:
            stream.layout = "mono" if channels == 1 else "stereo"
            stream.format = stream.codec.audio_formats[0].name
            stream.bit_rate = 12_200 if "amr" in codec else 128_000
        if video:
            picture = file.add_stream("mpeg4", rate=10)
            picture.width, picture.height, picture.pix_fmt = 64, 64, "yuv420p"
            for number in range(10):
                image = av.VideoFrame.from_ndarray(np.full((64, 64, 3), number, np.uint8), format="rgb24")
                file.mux(picture.encode(image))
            file.mux(picture.encode(None))
        for stream, wave in zip(streams, tracks, strict=True):
            planes = np.broadcast_to(wave.reshape(len(wave), -1).T, (channels, len(wave)))
            frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(planes), "fltp", stream.layout.name)
            frame.sample_rate, frame.pts = rate, 0
            resampler = av.AudioResampler(stream.format, stream.layout, rate)
            for piece in [*resampler.resample(frame), *resampler.resample(None)]:
                file.mux(stream.encode(piece))
            file.mux(stream.encode(None))
    return path


class _Pipe:
    """A file that can only be written forwards."""

    def __init__(self) -> None:
        self.data = bytearray()

    def write(self, data: bytes) -> int:
        self.data += data
        return len(data)


def piped(wave: np.ndarray, *, form: str, codec: str, rate: int) -> bytes:
    """What FFmpeg writes to a pipe: (T,) in a format and codec of its names."""
    pipe = _Pipe()
    container: Any = av.open(pipe, "w", format=form)
    with container as file:
        stream = file.add_stream(codec, rate=rate)
        stream.layout, stream.format = "mono", stream.codec.audio_formats[0].name
        frame = av.AudioFrame.from_ndarray(wave.reshape(1, -1), "fltp", "mono")
        frame.sample_rate, frame.pts = rate, 0
        resampler = av.AudioResampler(stream.format, stream.layout, rate)
        for piece in [*resampler.resample(frame), *resampler.resample(None)]:
            file.mux(stream.encode(piece))
        file.mux(stream.encode(None))
    return bytes(pipe.data)


def clip_of(path: Path, *, start: float | None = None, end: float | None = None) -> Clip:
    return Clip(id=path.name, file=str(path), start=start, end=end)


def cut_off(path: Path, *, keep: float) -> Path:
    """Truncate a file to a share of its bytes, as an interrupted copy does."""
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * keep)])
    return path


def without_first_mp3_frame(path: Path) -> Path:
    """Remove the frame in which the encoder wrote how many follow."""
    data = path.read_bytes()
    second = data.index(data[:2], 4)
    path.write_bytes(data[second:])
    return path


def ogg_pages(data: bytes) -> list[tuple[int, int]]:
    """Where each page of an intact Ogg file begins and ends."""
    begins = [match.start() for match in re.finditer(b"OggS\0", data)]
    return list(pairwise([*begins, len(data)]))
