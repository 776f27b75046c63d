"""How fast recordings become 16 kHz samples, by format, and what segments of a long file cost.

    python benchmarks/bench_decode.py [--seconds 600] [--hours 1] [--segments 1000]

Prints one JSON line per measurement, on one core; files are made first, in a temporary folder.

`decode`: seconds of sound per second of CPU time, for one recording read completely (header, integrity
check, decoding, resampling), by format; the fastest of several rounds.
`segments`: seconds to read that many segments of two seconds, in random order, of one long MP3, and of one
twice as long; `growth` is the second over the first, `per_segment` the milliseconds of one. The time should
grow with the hours, and little with the number of segments: `tenth` has a tenth of them.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from argparse import ArgumentParser, RawDescriptionHelpFormatter
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import av
import numpy as np
import soundfile
import torch

from benchmarks.machine import report
from layerprobe.embed.audio.scratch import scratch_space
from layerprobe.embed.audio.sound import probe, read_clip
from layerprobe.embed.manifest.clips import Clip

ROUNDS = 3
LENGTH = 2.0  # seconds of a segment
# Format → container and codec of FFmpeg, rate in Hz, channels; None as container: libsndfile writes it.
FORMATS: dict[str, tuple[str | None, str, int, int]] = {
    "wav 48 kHz": (None, "WAV", 48_000, 1),
    "wav 48 kHz stereo": (None, "WAV", 48_000, 2),
    "wav 44.1 kHz": (None, "WAV", 44_100, 1),
    "wav 16 kHz": (None, "WAV", 16_000, 1),
    "flac 48 kHz": (None, "FLAC", 48_000, 1),
    "ogg 48 kHz": (None, "OGG", 48_000, 1),
    "mp3 44.1 kHz": ("mp3", "libmp3lame", 44_100, 1),
    "m4a 44.1 kHz": ("ipod", "aac", 44_100, 1),
    "webm 48 kHz": ("webm", "libopus", 48_000, 1),
    "wma 44.1 kHz": ("asf", "wmav2", 44_100, 1),
    "amr 8 kHz": ("amr", "libopencore_amrnb", 8_000, 1),
}
CPU = torch.device("cpu")


def main() -> None:
    """Make the files and print a line for each measurement."""
    parser = ArgumentParser(description=__doc__, formatter_class=RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=600.0, help="length of a recording")
    parser.add_argument("--hours", type=float, default=1.0, help="length of the file with segments")
    parser.add_argument("--segments", type=int, default=1_000, help="segments of that file")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        speeds = {kind: decoding_speed(folder, kind, arguments.seconds) for kind in FORMATS}
        report("decode", {"seconds": arguments.seconds, **speeds}, device=CPU)
        times = segment_times(folder, hours=arguments.hours, segments=arguments.segments)
        report("segments", {"hours": arguments.hours, "segments": arguments.segments, **times}, device=CPU)


def decoding_speed(folder: Path, kind: str, seconds: float) -> float:
    """Seconds of sound per second of CPU time."""
    path = write(folder / kind.replace(" ", "-"), kind, seconds)
    clip = Clip(id=kind, file=str(path))
    rounds = [cpu_seconds(lambda: read_clip(clip, probe(clip)), of=path) for _ in range(ROUNDS)]
    path.unlink()
    return seconds / min(rounds)


def segment_times(folder: Path, *, hours: float, segments: int) -> dict[str, float]:
    """CPU seconds for all segments of a file, of one twice as long, and for a tenth of them."""
    once = write(folder / "long.mp3", "mp3 44.1 kHz", hours * 3600)
    twice = write(folder / "longer.mp3", "mp3 44.1 kHz", 2 * hours * 3600)
    full = cpu_seconds(lambda: read_segments(once, hours * 3600, segments), of=once)
    double = cpu_seconds(lambda: read_segments(twice, 2 * hours * 3600, segments), of=twice)
    tenth = cpu_seconds(lambda: read_segments(once, hours * 3600, max(1, segments // 10)), of=once)
    return {
        "seconds": full,
        "twice_as_long": double,
        "growth": double / full,
        "tenth": tenth,
        "per_segment": 1e3 * (full - tenth) / max(1, segments - segments // 10),
    }


def read_segments(path: Path, seconds: float, segments: int) -> None:
    """Read segments in random order, as an extraction does, from fresh scratch space."""
    begins = np.random.default_rng(0).uniform(0, seconds - LENGTH - 1, segments)
    with scratch_space(64 << 30, path.parent):
        for begin in begins.tolist():
            clip = Clip(id=str(begin), file=str(path), start=begin, end=begin + LENGTH)
            read_clip(clip, probe(clip))


def write(path: Path, kind: str, seconds: float) -> Path:
    """Noise of that length, a minute at a time."""
    form, codec, rate, channels = FORMATS[kind]
    rng = np.random.default_rng(0)
    minute = (rng.standard_normal((60 * rate, channels)) * 0.1).astype(np.float32)
    pieces = [minute] * int(seconds // 60)
    if rest := round(seconds % 60 * rate):
        pieces.append(minute[:rest])
    if form is None:
        with soundfile.SoundFile(path, "w", rate, channels, format=codec) as file:
            for piece in pieces:
                for at in range(0, len(piece), rate):  # libsndfile's Vorbis overflows on long writes
                    file.write(piece[at : at + rate])
        return path
    opened: Any = av.open(str(path), "w", format=form)
    with opened as container:
        stream = container.add_stream(codec, rate=rate)
        stream.layout = "mono"
        stream.format = stream.codec.audio_formats[0].name
        stream.bit_rate = 12_200 if "amr" in codec else 64_000
        resampler = av.AudioResampler(stream.format, stream.layout, rate)
        at = 0
        for piece in pieces:
            frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(piece.T), "fltp", "mono")
            frame.sample_rate, frame.pts = rate, at
            at += len(piece)
            for part in resampler.resample(frame):
                container.mux(stream.encode(part))
        for part in resampler.resample(None):
            container.mux(stream.encode(part))
        container.mux(stream.encode(None))
    return path


def cpu_seconds(work: Callable[[], object], *, of: Path) -> float:
    """CPU time of the process, which other work on the machine hardly changes.

    of: the file that is read, as if for the first time: it was checked once until it changes.
    """
    os.utime(of)
    started = time.process_time()
    work()
    return time.process_time() - started


if __name__ == "__main__":
    main()
