"""A known corpus, and how a copy of it is read."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from layerprobe.cache.common.errors import InputError
from layerprobe.cache.common.text import format_list
from layerprobe.embed.manifest.audio_files import find_audio_files
from layerprobe.embed.manifest.clips import Clip
from layerprobe.embed.manifest.corpora.patterns import Pattern
from layerprobe.embed.manifest.corpora.readers import Corpus
from layerprobe.embed.manifest.corpora.reading import make_clips, match_names

SEE_PAGE = "see the corpus's page"  # of a licence that could not be looked up


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
    derived: label → how it follows from the fields. above: label → a regular expression that finds it in the
    folders above a file. folder: the folder in which the corpus keeps a file, with fields in braces; another
    folder with digits in the same places gets a note. remarks: further notes on a copy, from its folder and
    clips. sizes_vary: sizes of copies differ, so that they get no note. unusable: which of the files that fit
    become no clip, and why.
    """

    patterns: tuple[str, ...]
    maps: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    derived: Mapping[str, Callable[[Mapping[str, str]], str]] = field(default_factory=dict)
    above: Mapping[str, str] = field(default_factory=dict)
    folder: str = ""
    remarks: Callable[[Path, Sequence[Clip]], list[str]] | None = None
    sizes_vary: bool = False
    unusable: Callable[[Iterable[PurePosixPath]], dict[PurePosixPath, str]] = lambda _: {}

    def read(self, folder: Path) -> Corpus:
        """Clips of a copy of the corpus; a note where it differs. Raises InputError for no usable file."""
        audio = find_audio_files(folder)
        names = match_names(audio, [Pattern.parse(text) for text in self.patterns])
        if not names:
            do = "give the corpus's own folder, or describe the names with `manifest pattern`"
            raise audio.no_match(self.example, do=do)
        for path in names.keys() ^ set(audio.paths):
            audio.left_out[str(path)] = f"is not named like {self.example}"
        for path, reason in self.unusable(names).items():
            audio.left_out[str(path)] = reason
            del names[path]
        if not names:
            listed = format_list([f"{path} {reason}" for path, reason in audio.left_out.items()])
            what = f"no sound file can be used ({listed})"
            raise InputError(what, where=str(folder), do=f"see {self.source}")
        notes = self._misplaced(names)
        for path, fields in names.items():
            fields.update((label, derive(fields)) for label, derive in self.derived.items())
            for label, expression in self.above.items():
                if match := re.search(expression, str(folder / path)):
                    fields[label] = match[1]
        clips = make_clips(audio, names, self.maps)
        notes += self.remarks(folder, clips) if self.remarks else []
        return Corpus(clips, notes + self._size_notes(clips), audio.left_out)

    def _misplaced(self, names: Mapping[PurePosixPath, Mapping[str, str]]) -> list[str]:
        """A note on files in another of the corpus's folders than their names say."""
        wrong = []
        for path, fields in names.items():
            expected, found = self.folder.format(**fields), path.parent.name
            if expected != found and re.sub("[0-9]", "#", expected) == re.sub("[0-9]", "#", found):
                wrong.append(path)
        if not wrong:
            return []
        files = "1 file is" if len(wrong) == 1 else f"{len(wrong)} files are"
        what = "in another folder than the name says, the name is trusted"
        return [f"{files} {what}: {format_list(wrong)}"]

    def _size_notes(self, clips: Sequence[Clip]) -> list[str]:
        sizes = (
            ("clips", len(clips), self.clips),
            ("speakers", len({clip.speaker for clip in clips}), self.speakers),
        )
        return [
            f"looked for {published:,} {what} as published, found {here:,}"
            for what, here, published in sizes
            if published not in (None, here) and not self.sizes_vary
        ]
