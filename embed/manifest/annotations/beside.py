"""The annotation file of each recording, beside it or in another folder, and one of its tiers."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from layerprobe.cache.common.errors import InputError
from layerprobe.embed.manifest.annotations.segments import LABEL_FILES, READERS
from layerprobe.embed.manifest.annotations.tiers import Annotation, Interval, tiers_called
from layerprobe.embed.manifest.readers.table import reason_of


@dataclass
class Annotations:
    """files: sound file → its annotation. without: sound file → why it has none that can be read."""

    files: dict[str, Annotation] = field(default_factory=dict)
    without: dict[str, str] = field(default_factory=dict)

    def intervals(self, file: str, tier: str, *, speaker: str | None) -> list[Interval] | None:
        """Intervals with text of a recording's tier, in the order of their start; None without that tier.

        Of tiers called `NAME@SPEAKER`, and of ELAN's with a participant, the speaker's own are taken, if any.
        """
        if file not in self.files:
            return None
        found = tiers_called(self.files[file], tier)
        if not found:
            return None
        own = [one for one in found if speaker is None or one.owner(tier) in (None, speaker)]
        held = [interval for one in own or found for interval in one.intervals if interval.text]
        return sorted(held, key=lambda interval: interval.start)


def read_annotations(sounds: Iterable[str], folder: Path | None = None) -> Annotations:
    """The annotation of each sound file: the file of its name beside it, or anywhere below `folder`.

    A Praat TextGrid is taken before an ELAN file, and that before Audacity's labels. Raises InputError for a
    folder that cannot be read or has no annotation file at all.
    """
    index = None if folder is None else _index(folder)
    beside: dict[Path, dict[str, list[Path]]] = {}
    found = Annotations()
    for sound in dict.fromkeys(sounds):
        path = Path(sound)
        if index is None and path.parent not in beside:
            beside[path.parent] = _by_stem(_files(path.parent))
        names = beside[path.parent] if index is None else index
        files = names.get(path.stem, [])
        try:
            found.files[sound] = _read(files, path)
        except (OSError, ValueError) as error:
            found.without[sound] = reason_of(error)
    return found


def labels_at(intervals: Sequence[Interval], times: np.ndarray) -> list[str | None]:
    """The text at each time in seconds, of the last interval that began; None between intervals."""
    if not intervals:
        return [None] * len(times)
    starts = np.array([interval.start for interval in intervals])
    places = np.searchsorted(starts, times, side="right") - 1
    return [
        intervals[place].text if place >= 0 and time < intervals[place].end else None
        for place, time in zip(places.tolist(), times.tolist(), strict=True)
    ]


def _read(files: Sequence[Path], sound: Path) -> Annotation:
    """The first of the annotation files by kind. Raises ValueError where there is none, or several."""
    kinds = list(READERS)
    ranked = sorted(files, key=lambda file: (kinds.index(file.suffix.lower()), str(file)))
    if not ranked:
        raise ValueError("has no annotation file")
    same = [file for file in ranked if file.suffix.lower() == ranked[0].suffix.lower()]
    if len(same) > 1:  # corpora repeat names in the folders of their speakers
        same = [file for file in same if file.parent.name == sound.parent.name] or same
    if len(same) > 1:
        raise ValueError(f"has several annotation files: {same[0]} and {same[1]}")
    return READERS[same[0].suffix.lower()](same[0])


def _index(folder: Path) -> dict[str, list[Path]]:
    found = _by_stem(file for file in folder.rglob("*") if file.is_file()) if folder.is_dir() else {}
    if not found:
        what = "has no annotation files (.TextGrid, .eaf, or Audacity's .txt)"
        raise InputError(what, where=str(folder), do="give the folder that has them with --annotations")
    return found


def _files(folder: Path) -> Iterable[Path]:
    try:
        return [file for file in folder.iterdir() if file.is_file()]
    except OSError:
        return []


def _by_stem(files: Iterable[Path]) -> dict[str, list[Path]]:
    """Annotation files by the name of their recording, without suffix."""
    found: defaultdict[str, list[Path]] = defaultdict(list)
    for file in files:
        if file.suffix.lower() in READERS:
            stems = {file.stem, *(file.stem.removesuffix(end) for end in LABEL_FILES)}
            for stem in stems:
                found[stem].append(file)
    return found
