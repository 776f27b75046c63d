"""A known corpus, and how a copy of it is read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from layerprobe.embed.manifest.audio_files import find_audio_files
from layerprobe.embed.manifest.corpora.patterns import Pattern
from layerprobe.embed.manifest.corpora.readers import Corpus
from layerprobe.embed.manifest.corpora.reading import make_clips, match_names


@dataclass(frozen=True, kw_only=True)
class Description:
    """What `manifest list` prints of a corpus.

    example: of a file's name. clips, speakers: numbers as published; None if unknown or if sources differ.
    source: where to get it.
    """

    name: str
    title: str
    example: str
    clips: int | None = None
    speakers: int | None = None
    citation: str
    licence: str
    source: str


@dataclass(frozen=True, kw_only=True)
class KnownCorpus(Description):
    """A corpus whose file names say everything.

    patterns: naming schemes in circulation; the first that fits a file counts. maps: field → code → label.
    """

    patterns: tuple[str, ...]
    maps: Mapping[str, Mapping[str, str]] = field(default_factory=dict)

    def read(self, folder: Path) -> Corpus:
        """Clips of a copy of the corpus; a note where its size differs. Raises InputError if no file fits."""
        audio = find_audio_files(folder)
        names = match_names(audio, [Pattern.parse(text) for text in self.patterns])
        if not names:
            do = "give the corpus's own folder, or describe the names with `manifest pattern`"
            raise audio.no_match(self.example, do=do)
        for path in names.keys() ^ set(audio.paths):
            audio.left_out[str(path)] = f"is not named like {self.example}"
        clips = make_clips(audio, names, self.maps)
        sizes = (
            ("clips", len(clips), self.clips),
            ("speakers", len({clip.speaker for clip in clips}), self.speakers),
        )
        notes = [
            f"looked for {published:,} {what} as published, found {here:,}"
            for what, here, published in sizes
            if published not in (None, here)
        ]
        return Corpus(clips, notes, audio.left_out)
