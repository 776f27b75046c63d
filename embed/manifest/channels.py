"""--channels each: every channel of a recording as a clip of its own.

How many channels a recording has is known from its audio (`embed.audio.headers`) or from a store that
holds their states (`stored_channels`). A clip of a channel has the id of the recording and `#channel0`,
`#channel1`, …; columns of the table that end in `_0`, `_1`, … belong to one channel each.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace

from layerprobe.cache.common.text import format_count
from layerprobe.cache.maintenance.channels import held_channels
from layerprobe.cache.store.feature_store import FeatureStore
from layerprobe.cache.store.keys import CHANNEL_MARK, known_keys
from layerprobe.embed.config import EACH_CHANNEL
from layerprobe.embed.manifest.clips import Clip

SPEAKER = "speaker"
_NUMBERED = re.compile(r"(.+)_(\d+)")


def is_expanded(clips: Sequence[Clip]) -> bool:
    """Whether the clips are channels already."""
    return any(clip.own_channel is not None for clip in clips)


def each_channel(clips: Sequence[Clip], counts: Sequence[int]) -> list[Clip]:
    """A clip for each channel of each clip. counts: of channels; 1 where it is not known.

    A label `emotion_1` becomes the label `emotion` of channel 1, and `speaker_1` its speaker, where the table
    has a column of this name for channel 0; other labels and the speaker are those of all channels.
    """
    numbered = _numbered(clips)
    return [
        _channel(clip, number, numbered)
        for clip, count in zip(clips, counts, strict=True)
        for number in range(max(1, count))
    ]


def _numbered(clips: Sequence[Clip]) -> set[str]:
    """Names that are columns of one channel each, without their numbers."""
    return {
        match[1]
        for clip in clips
        for name in clip.labels
        if (match := _NUMBERED.fullmatch(name)) and match[2] == "0"
    }


def absent_channels(clips: Sequence[Clip], counts: Sequence[int]) -> list[str]:
    """Each clip with labels of channels that it does not have, in words. counts: as for `each_channel`.

    Clips of which the count is not known, 0, are left out.
    """
    numbered = _numbered(clips)
    absent = []
    for clip, count in zip(clips, counts, strict=True):
        for name, text in clip.labels.items():
            match = _NUMBERED.fullmatch(name)
            if match and match[1] in numbered and text and 0 < count <= int(match[2]):
                absent.append(f"{name} of {clip.file}, which has {format_count(count, 'channel')}")
                break
    return absent


def stored_channels(clips: Sequence[Clip], store: FeatureStore) -> Sequence[Clip]:
    """The clips as a store holds them: their channels, if it holds each channel. Reads no audio."""
    if store.extraction.channels != EACH_CHANNEL or is_expanded(clips):
        return clips
    keys = known_keys(clips, store.cache).keys
    counts = held_channels(store, [key if isinstance(key, str) else "" for key in keys])
    return each_channel(clips, counts)


def _channel(clip: Clip, number: int, numbered: set[str]) -> Clip:
    labels: dict[str, str] = {}
    own: dict[str, str] = {}
    for name, text in clip.labels.items():
        match = _NUMBERED.fullmatch(name)
        if match is None or match[1] not in numbered:
            labels[name] = text
        elif int(match[2]) == number:
            own[match[1]] = text
    speaker = own.pop(SPEAKER, None) if SPEAKER in numbered else clip.speaker
    mark = f"{CHANNEL_MARK}{number}"
    return replace(clip, id=clip.id + mark, own_channel=number, labels=labels | own, speaker=speaker)
