"""What the headers of many recordings say: their channels, and where in its file each clip is."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from typing import Any, TypeVar, overload

import numpy as np

from layerprobe.cache.common.console import say
from layerprobe.cache.common.errors import ClipError
from layerprobe.cache.common.text import format_list
from layerprobe.embed.audio.decoding import Selection, open_decoder, selection_of
from layerprobe.embed.audio.pcm import PlainFile
from layerprobe.embed.audio.sound import MIN_SAMPLES, MONO, AudioInfo, probe
from layerprobe.embed.config import EACH_CHANNEL, FIRST_TRACK, RATE
from layerprobe.embed.manifest.channels import absent_channels, each_channel, is_expanded
from layerprobe.embed.manifest.clips import Clip

T = TypeVar("T")

AHEAD = 512  # headers queued; a queued one needs more memory than everything else known of a clip
_THREADS = 8  # headers read at a time: reading them waits for the disk
_SHARE = 16  # headers that a thread reads at a time: handing one over is more work than reading it
_EVERY = -1  # in place of a channel: the mean of all


class LazyRecords(Sequence[T]):
    """Objects made on access from the rows of an array.

    An object of a few numbers needs five times the memory of its row, and fragments the memory in which a
    model's tensors are allocated.
    """

    def __init__(self, rows: np.ndarray, make: Callable[[Any], T]) -> None:
        self.rows, self._make = rows, make

    def __len__(self) -> int:
        return len(self.rows)

    @overload
    def __getitem__(self, index: int) -> T: ...
    @overload
    def __getitem__(self, index: slice) -> list[T]: ...
    def __getitem__(self, index: int | slice) -> T | list[T]:
        if isinstance(index, slice):
            return [self._make(row) for row in self.rows[index]]
        return self._make(self.rows[index])


class ClipAudio(LazyRecords[AudioInfo]):
    """What is known of each clip's file, as rows of numbers."""

    def __init__(self, rows: np.ndarray, *, track: int = FIRST_TRACK) -> None:
        """rows: (N, 6) int64, each by `audio_row`; track: of all clips."""

        def info(row: np.ndarray) -> AudioInfo:
            rate, channels, begin, stop, channel, plain = row.tolist()
            selection = Selection(track=track, channel=None if channel == _EVERY else channel)
            return AudioInfo(
                rate=rate, channels=channels, begin=begin, stop=stop, selection=selection, plain=plain
            )

        super().__init__(rows, info)

    @property
    def seconds(self) -> np.ndarray:
        """(N,) float64: the length of each clip."""
        rate, _, begin, stop, _, _ = self.rows.T
        return np.asarray((stop - begin) / rate)

    @property
    def samples(self) -> np.ndarray:
        """(N,) int64: samples of each clip at 16 kHz, after resampling."""
        rate, _, begin, stop, _, _ = self.rows.T
        return np.asarray(-(-(stop - begin) * RATE // rate))


def audio_row(info: AudioInfo) -> tuple[int, ...]:
    """The numbers of an AudioInfo but its track, for `ClipAudio`."""
    channel = _EVERY if info.selection.channel is None else info.selection.channel
    return info.rate, info.channels, info.begin, info.stop, channel, info.plain


def read_headers(
    clips: Sequence[Clip], rows: np.ndarray, plain: np.ndarray
) -> tuple[np.ndarray, Iterator[tuple[int, ClipError]]]:
    """Find the clips in these rows of a table in their files, and whether they can be read.

    plain: (clips, 2) int64, the header of each plain file that is known already, as `PlainFile`, or zeros.
    Returns the rows of `ClipAudio`, complete once the iterator has ended: it yields the clips that cannot be
    read, by their number among `rows` in ascending order.
    """
    begin, samples = plain[rows].T
    infos = np.zeros((len(rows), 6), np.int64)
    selections = [selection_of(clips[row]) for row in rows.tolist()]
    whole = [clips[row].start is None and clips[row].end is None for row in rows.tolist()]
    # Nothing else is to be found out of a plain file that is one clip.
    known = np.array(whole, bool) & np.array([one in MONO for one in selections], bool)
    known &= samples >= MIN_SAMPLES
    infos[:, 0], infos[:, 1], infos[:, 3], infos[:, 5] = RATE, 1, samples, begin
    infos[:, 4] = [_EVERY if one.channel is None else one.channel for one in selections]
    remaining = np.flatnonzero(~known)

    def faults() -> Iterator[tuple[int, ClipError]]:
        probed = _probe_all((clips[row], plain[row].tolist()) for row in rows[remaining].tolist())
        for number, info in zip(remaining.tolist(), probed, strict=True):
            if isinstance(info, ClipError):
                yield number, info
            else:
                infos[number] = audio_row(info)

    return infos, faults()


def _probe_all(clips: Iterable[tuple[Clip, Sequence[int]]]) -> Iterator[AudioInfo | ClipError]:
    """Clips, each with the header that is known of its file."""
    remaining = iter(clips)
    with ThreadPoolExecutor(_THREADS) as pool:
        while ahead := list(islice(remaining, AHEAD)):
            shares = [ahead[begin : begin + _SHARE] for begin in range(0, len(ahead), _SHARE)]
            for infos in pool.map(_probe, shares):
                yield from infos


def _probe(clips: Sequence[tuple[Clip, Sequence[int]]]) -> list[AudioInfo | ClipError]:
    infos: list[AudioInfo | ClipError] = []
    for clip, (begin, samples) in clips:
        try:
            infos.append(probe(clip, plain=PlainFile(begin, samples) if samples else None))
        except ClipError as error:
            infos.append(error)
    return infos


def channel_clips(clips: Sequence[Clip], *, channels: str, track: int) -> Sequence[Clip]:
    """A clip for each channel of the recordings if `channels` is each; otherwise the clips.

    A file that cannot be opened is one clip, which fails when it is read. Labels of channels that a file
    lacks are in no clip, and noted in one line.
    """
    if channels != EACH_CHANNEL or is_expanded(clips):
        return clips
    first = {clip.file: clip for clip in reversed(clips)}
    with ThreadPoolExecutor(_THREADS) as pool:
        counts = dict(zip(first, pool.map(lambda clip: _count(clip, track), first.values()), strict=True))
    of_clips = [counts[clip.file] for clip in clips]
    if absent := absent_channels(clips, of_clips):
        say(f"note: labels of channels that do not exist are not used: {format_list(absent)}")
    return each_channel(clips, of_clips)


def _count(clip: Clip, track: int) -> int:
    """0 where it is not known."""
    try:
        with open_decoder(clip, Selection(track=track)) as decoder:
            return decoder.channels
    except ClipError:
        return 0
