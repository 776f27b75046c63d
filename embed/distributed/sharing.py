"""Dividing a table among processes that need not talk to each other: each takes whole batches of the plan."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path

import av
import soundfile

from layerprobe.cache.common.console import say, stage
from layerprobe.cache.remote.audio import available
from layerprobe.embed.audio.decoding import selection_of
from layerprobe.embed.audio.sound import AudioInfo
from layerprobe.embed.config import RATE, EmbedConfig
from layerprobe.embed.extract.batching import batch_budget, padded_samples, plan_batches
from layerprobe.embed.manifest.clips import Clip
from layerprobe.embed.models.interface import Backbone

THREADS = 8  # files opened at a time: opening them waits for the disk
BLOCK = 4096  # bytes read at the beginning, in the middle and at the end of a file
SAMPLE_BYTES = 2  # of files whose headers do not say how long they are: 16-bit samples at 16 kHz


@dataclass(frozen=True, kw_only=True)
class Part:
    """Part `index` of `count`, from 0. local: this process's number on its machine, if it is known."""

    index: int
    count: int
    local: int | None = None

    def __str__(self) -> str:
        return f"part {self.index + 1} of {self.count}"


@dataclass(frozen=True)
class _File:
    """What two files with the same content have in common, and the length that the header gives."""

    signature: bytes
    rate: int
    frames: int


@stage("divide the table into parts")
def divide(
    clips: Sequence[Clip], count: int, *, window: float, budget: int, processed: Callable[[int], int] = int
) -> list[list[Clip]]:
    """Divide clips into `count` parts of about the same length, each in the order of the table.

    Whoever divides the same table gets the same parts. A part is a stretch of the plan that one process would
    follow (`batching.plan_batches`, whose arguments are passed on): it consists of the same batches, so its
    states are the same to the last bit, unless files are broken or do not say how long they are. Clips with
    the same content are in one part, so that none is computed twice.

    Files are not read completely: those of the same size with three equal blocks are taken for copies.
    """
    names = sorted({clip.file for clip in clips})
    with ThreadPoolExecutor(THREADS) as pool:
        files = dict(zip(names, pool.map(_inspect, names), strict=True))
    originals: dict[tuple[bytes, float | None, float | None, int, int | None], int] = {}
    first = [
        originals.setdefault(
            (files[clip.file].signature, clip.start, clip.end, clip.track, clip.channel), row
        )
        for row, clip in enumerate(clips)
    ]
    rows = list(originals.values())
    samples = [_samples(clips[row], files[clips[row].file]) for row in rows]
    batches = plan_batches(samples, window=window, budget=budget, processed=processed)
    # The part of a batch is where its middle lies: no part is longer than its share by more than a batch.
    sizes = [padded_samples([batch], processed=processed) for batch in batches]
    ends = list(accumulate(sizes))
    part_of: dict[int, int] = {}
    for batch, size, end in zip(batches, sizes, ends, strict=True):
        part = min(int((end - size / 2) * count / ends[-1]), count - 1)
        for index in batch:
            part_of.setdefault(rows[index.clip], part)
    parts: list[list[Clip]] = [[] for _ in range(count)]
    for clip, row in zip(clips, first, strict=True):
        parts[part_of[row]].append(clip)
    return parts


def selection(part: Part, config: EmbedConfig) -> Callable[[Sequence[Clip], Backbone], list[Clip]]:
    """The function that chooses the clips of one part, for `extract.run.embed`."""

    def select(clips: Sequence[Clip], backbone: Backbone) -> list[Clip]:
        budget = batch_budget(config, backbone.device)
        parts = divide(clips, part.count, window=config.window, budget=budget, processed=backbone.processed)
        own = parts[part.index]
        say(f"{part}: {len(own)} of {len(clips)} clips")
        return own

    return select


def _samples(clip: Clip, file: _File) -> int:
    """Length of a clip at 16 kHz as its header and its times say, at least one sample."""
    begin = 0 if clip.start is None else min(round(clip.start * file.rate), file.frames)
    stop = file.frames if clip.end is None else min(round(clip.end * file.rate), file.frames)
    if stop <= begin:
        return 1
    selection = selection_of(clip)
    return AudioInfo(rate=file.rate, channels=1, begin=begin, stop=stop, selection=selection).samples


def _inspect(name: str) -> _File:
    try:
        with available(name), Path(name).open("rb") as file:
            size = file.seek(0, 2)
            digest = hashlib.sha256(str(size).encode())
            for offset in sorted({0, max((size - BLOCK) // 2, 0), max(size - BLOCK, 0)}):
                file.seek(offset)
                digest.update(file.read(BLOCK))
    except OSError:  # reported by the process whose part it is in
        return _File(
            hashlib.sha256(b"unreadable " + name.encode("utf-8", "surrogateescape")).digest(), RATE, 1
        )
    rate, frames = _header(name) or (RATE, size // SAMPLE_BYTES)
    return _File(digest.digest(), rate, max(frames, 1))


def _header(name: str) -> tuple[int, int] | None:
    """Rate and number of frames that a header declares; None if no library finds them."""
    try:
        info = soundfile.info(name)
        return info.samplerate, info.frames
    except (RuntimeError, OSError):
        pass
    try:
        with av.open(name) as container:
            return (RATE, round(container.duration / av.time_base * RATE)) if container.duration else None
    except (av.FFmpegError, OSError, ValueError):
        return None
