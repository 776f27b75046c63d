"""How many channels recordings have, from their headers."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from layerprobe.cache.common.console import say
from layerprobe.cache.common.errors import ClipError
from layerprobe.cache.common.text import format_list
from layerprobe.embed.audio.decoding import Selection, open_decoder
from layerprobe.embed.config import EACH_CHANNEL
from layerprobe.embed.manifest.channels import absent_channels, each_channel, is_expanded
from layerprobe.embed.manifest.clips import Clip

_THREADS = 8  # headers read at a time: reading them waits for the disk


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
