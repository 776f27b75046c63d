"""The intervals of annotation files in a folder, as clips of the recordings that they describe."""

from __future__ import annotations

import math
import os
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from layerprobe.cache.common.errors import InputError
from layerprobe.cache.common.text import format_count, format_list, shorten
from layerprobe.embed.manifest.annotations.audacity import read_audacity
from layerprobe.embed.manifest.annotations.elan import read_elan
from layerprobe.embed.manifest.annotations.textgrid import read_textgrid
from layerprobe.embed.manifest.annotations.tiers import Annotation, Interval, Tier, tiers_called
from layerprobe.embed.manifest.audio_files import AudioFiles, find_audio_files
from layerprobe.embed.manifest.clips import Clip
from layerprobe.embed.manifest.readers.table import reason_of

READERS: dict[str, Callable[[Path], Annotation]] = {
    ".textgrid": read_textgrid,
    ".eaf": read_elan,
    ".txt": read_audacity,
}
LABEL_FILES = ("_labels", "-labels", ".labels")  # ends of the names of label files
_SPEAKER = "speaker"


@dataclass
class AnnotatedClips:
    """clips: one per interval with text. left_out: files without clips, each with the reason.

    empty, without_length, untimed: intervals without text, those whose end is not after their start, and
    those without times.
    """

    clips: list[Clip] = field(default_factory=list)
    left_out: dict[str, str] = field(default_factory=dict)
    empty: int = 0
    without_length: int = 0
    untimed: int = 0

    @property
    def notes(self) -> list[str]:
        """One line on the intervals that are no clips."""
        kinds = {
            "without text": self.empty,
            "without length": self.without_length,
            "without times (align them in ELAN)": self.untimed,
        }
        counts = [f"{format_count(number, 'interval')} {what}" for what, number in kinds.items() if number]
        return [f"left out: {' and '.join(counts)}"] if counts else []


def annotated_clips(folder: Path, tiers: Sequence[str]) -> AnnotatedClips:
    """A clip for each interval of the first tier that has text, which is the label called like the tier.

    tiers: names; of the others, the interval that overlaps most with a clip is another label of it, and that
    of a tier `speaker` its speaker. So are `SPEAKER` of tiers called `NAME@SPEAKER`, and ELAN's participants.

    Raises InputError where no file has the tier, or none is an annotation of a recording.
    """
    audio = find_audio_files(folder)
    found = AnnotatedClips()
    recordings = _Recordings(audio)
    files = [path for path in audio.annotations if path.suffix.lower() in READERS]
    files += [path for path in audio.texts if recordings.called_like(path)]
    described: dict[PurePosixPath, PurePosixPath] = {}
    for path in sorted(files):
        try:
            annotation = READERS[path.suffix.lower()](folder / path)
            sound = recordings.described_by(path, annotation)
            if described.setdefault(sound, path) != path:
                raise ValueError(f"is a second annotation of {sound}, after {described[sound]}")
            _add_clips(found, folder, path=sound, annotation=annotation, tiers=tiers)
        except (OSError, ValueError) as error:
            found.left_out[str(path)] = reason_of(error)
    if not files:
        what = "has no annotation files (.TextGrid, .eaf, or Audacity's .txt)"
        raise InputError(what, where=str(folder), do="give the folder that has them and the recordings")
    if not found.clips:
        reasons = [f"{path}: {reason}" for path, reason in found.left_out.items()]
        what = f"no clip could be made: {(reasons or ['no interval has text'])[0]}"
        raise InputError(what, where=str(folder))
    return found


class _Recordings:
    """The recordings of a folder, by path and by name without suffix."""

    def __init__(self, audio: AudioFiles) -> None:
        self._paths = set(audio.paths)
        self._by_stem: defaultdict[str, list[PurePosixPath]] = defaultdict(list)
        for sound in audio.paths:
            self._by_stem[sound.stem].append(sound)

    def called_like(self, path: PurePosixPath) -> list[PurePosixPath]:
        """The recordings that are called like an annotation file."""
        stems = {path.stem, *(path.stem.removesuffix(end) for end in LABEL_FILES)}
        return sorted(sound for stem in stems for sound in self._by_stem.get(stem, ()))

    def described_by(self, path: PurePosixPath, annotation: Annotation) -> PurePosixPath:
        """The recording that a file describes: the one it names, or the one with its name.

        Raises ValueError.
        """
        for name in annotation.media:
            media = PurePosixPath(os.path.normpath(path.parent / name.replace("\\", "/")))
            for candidate in (media, path.parent / media.name):
                if candidate in self._paths:
                    return candidate
        same = self.called_like(path)
        beside = [sound for sound in same if sound.parent == path.parent] or same
        if len(beside) != 1:
            raise ValueError(
                f"could be of {format_list(beside)}" if beside else "has no recording of its name"
            )
        return beside[0]


def _add_clips(
    found: AnnotatedClips, folder: Path, *, path: PurePosixPath, annotation: Annotation, tiers: Sequence[str]
) -> None:
    """Add the clips of one file. Raises ValueError where it has no such tier."""
    name, *others = tiers
    matching = tiers_called(annotation, name)
    if not matching:
        listed = format_list([f"'{shorten(tier.name or '')}'" for tier in annotation.tiers], shown=10)
        raise ValueError(f"has no tier '{name}'; its tiers are {listed or 'none'}")
    # The only tier of a format without names has any name, but is the label alone, not the speaker too.
    further = {
        other: [tier for tier in tiers_called(annotation, other) if tier.name is not None] for other in others
    }
    ids: Counter[str] = Counter()
    for tier in matching:
        whose = tier.owner(name)
        found.untimed += tier.untimed
        for interval in tier.intervals:
            if not interval.text:
                found.empty += 1
                continue
            if not 0 <= interval.start < interval.end < math.inf:
                found.without_length += 1
                continue
            labels = {name: interval.text}
            for other, candidates in further.items():
                own = [one for one in candidates if one.owner(other) in (None, whose)]
                if text := _text_over(interval, own or candidates):
                    labels[other] = text
            speaker = labels.pop(_SPEAKER, None) or whose
            id = f"{path}#{interval.start}-{interval.end}"
            ids[id] += 1
            if ids[id] > 1:
                id = f"{id}@{speaker or ids[id]}"
            found.clips.append(
                Clip(
                    id=id,
                    file=str(folder / path),
                    start=interval.start,
                    end=interval.end,
                    labels=labels,
                    speaker=speaker,
                )
            )


def _text_over(interval: Interval, tiers: Sequence[Tier]) -> str:
    """The text that covers most of an interval."""
    seconds: defaultdict[str, float] = defaultdict(float)
    for tier in tiers:
        for other in tier.intervals:
            if other.text and (common := interval.overlap(other)) > 0:
                seconds[other.text] += common
    return max(seconds, key=seconds.__getitem__, default="")
