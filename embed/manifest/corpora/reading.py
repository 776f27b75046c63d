"""Clips of a folder whose file names fit patterns: for `manifest pattern` and known corpora."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from layerprobe.cache.common.errors import InputError
from layerprobe.cache.common.text import format_count, format_list
from layerprobe.embed.manifest.audio_files import AudioFiles, find_audio_files
from layerprobe.embed.manifest.clips import Clip
from layerprobe.embed.manifest.corpora.patterns import FieldMap, Pattern, apply_maps
from layerprobe.embed.manifest.corpora.readers import Corpus, make_clip

EXAMPLES = 3


@dataclass(frozen=True)
class PatternCorpus:
    """Clips by a pattern, the column to count, and for the first files what each was read as."""

    corpus: Corpus
    label: str
    examples: list[str]


def match_names(audio: AudioFiles, patterns: Sequence[Pattern]) -> dict[PurePosixPath, dict[str, str]]:
    """The fields of each file that fits a pattern, the first that fits; the others go into `left_out`."""
    names: dict[PurePosixPath, dict[str, str]] = {}
    for path in audio.paths:
        results = [pattern.match(path) for pattern in patterns]
        fields = next((result for result in results if isinstance(result, dict)), None)
        if fields is not None:
            names[path] = fields
        else:
            reasons = [str(result) for result in results]
            audio.left_out[str(path)] = next((r for r in reasons if "two ways" in r), reasons[0])
    return names


def make_clips(
    audio: AudioFiles,
    names: Mapping[PurePosixPath, Mapping[str, str]],
    maps: Mapping[str, Mapping[str, str]],
) -> list[Clip]:
    """A clip per file, as of `make_clip`, with mapped texts."""
    return [make_clip(audio, path, apply_maps(fields, maps)) for path, fields in names.items()]


def read_pattern(folder: Path, text: str, maps: Sequence[str] = ()) -> PatternCorpus:
    """Clips of `folder` by one pattern.

    Raises InputError for an invalid pattern or map, and if no file fits.
    """
    pattern = Pattern.parse(text)
    table: dict[str, dict[str, str]] = {}
    for entry in map(FieldMap.parse, maps):
        if entry.field not in pattern.fields:
            raise InputError(
                f"--map names the field '{entry.field}'; the pattern has {format_list(pattern.fields)}"
            )
        if table.setdefault(entry.field, {}).setdefault(entry.old, entry.new) != entry.new:
            raise InputError(f"two --map rename {entry.field}:{entry.old}", do="give one of them")
    audio = find_audio_files(folder)
    names = match_names(audio, [pattern])
    if not names:
        reason = audio.left_out[str(audio.paths[0])]
        if "two ways" in reason:
            raise InputError(f"{audio.paths[0]} {reason}", where=str(folder))
        raise audio.no_match(text, do="change the pattern: it describes the end of a file's path")
    clips = make_clips(audio, names, table)
    labels = [name for name in pattern.fields if name != "speaker"]
    label = "emotion" if "emotion" in labels else next(iter(labels), "speaker")
    examples = [
        f"{path}: {', '.join(f'{key}={value}' for key, value in apply_maps(fields, table).items())}"
        for path, fields in list(names.items())[:EXAMPLES]
    ]
    notes = [f"{len(names):,} of {format_count(len(audio.paths), 'sound file')} match the pattern"]
    notes += _map_notes(names, table)
    if "speaker" not in pattern.fields:
        notes.append("no speakers are known: name a field {speaker}, or no split can keep them apart")
    return PatternCorpus(Corpus(clips, notes, audio.left_out), label, examples)


def _map_notes(
    names: Mapping[PurePosixPath, Mapping[str, str]], maps: Mapping[str, Mapping[str, str]]
) -> list[str]:
    """Texts of a mapped field without a map, and maps of texts that do not occur."""
    notes = []
    for field, renames in maps.items():
        texts = {fields[field] for fields in names.values()}
        if unmapped := sorted(texts - renames.keys()):
            notes.append(f"{field} {format_list(unmapped)}: without a --map, unchanged")
        if unused := sorted(renames.keys() - texts):
            notes.append(f"{field} {format_list(unused)}: has a --map, but no file has it")
    return notes
