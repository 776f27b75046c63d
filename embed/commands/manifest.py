"""The commands of `manifest`: tables of clips from a corpus on disk (`manifest CORPUS`), file names
(`pattern`), annotation files (`annotations`) or other tables (`join`)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import KW_ONLY, dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import App, Parameter

from layerprobe.cache.common.console import print_json, print_table, say, say_error
from layerprobe.cache.common.disk import check_overwrite
from layerprobe.cache.common.errors import InputError
from layerprobe.cache.common.options import FLAT, Force, OutputOptions
from layerprobe.cache.common.text import format_count
from layerprobe.embed.manifest.corpora import CORPORA, DESCRIBED, KNOWN, Corpus, Description

if TYPE_CHECKING:
    from layerprobe.embed.manifest.annotations.segments import AnnotatedClips

app = App(name="manifest", help="Make a table of clips from a corpus on disk.")


@dataclass(frozen=True)
class ManifestOptions:
    """Options of `manifest CORPUS`."""

    folder: Path
    """Folder of the corpus."""
    _: KW_ONLY
    out: Path
    """Table to write: .csv, .tsv or .parquet."""
    force: Force = False
    output: Annotated[OutputOptions, FLAT] = OutputOptions()


@dataclass(frozen=True)
class JoinOptions:
    """Options of `manifest join`."""

    tables: list[Path]
    """Tables of clips, one per corpus."""
    _: KW_ONLY
    out: Path
    """Table to write: .csv, .tsv or .parquet."""
    force: Force = False
    names: tuple[str, ...] = ()
    """Names of the corpora, comma-separated; the file names of the tables if omitted."""
    maps: Annotated[list[str] | None, Parameter(name="--map")] = None
    """Rename a label: [CORPUS/]COLUMN:OLD=NEW; repeatable."""
    output: Annotated[OutputOptions, FLAT] = OutputOptions()


@dataclass(frozen=True)
class PatternOptions:
    """Options of `manifest pattern`."""

    folder: Path
    """Folder of the corpus."""
    pattern: str
    """File names, such as 'Actor_*/{_}-{_}-{emotion}-{_}-{_}-{_}-{speaker}.wav': {name} keeps a field,
    {name:2} two characters, {name:##} two digits, {name:a|b} one of two texts; {_} and * keep nothing."""
    _: KW_ONLY
    out: Path
    """Table to write: .csv, .tsv or .parquet."""
    force: Force = False
    maps: Annotated[list[str] | None, Parameter(name="--map")] = None
    """Rename a field's text: FIELD:OLD=NEW, such as emotion:05=angry; repeatable."""
    output: Annotated[OutputOptions, FLAT] = OutputOptions()


@dataclass(frozen=True)
class ListOptions:
    """Options of `manifest list`."""

    output: Annotated[OutputOptions, FLAT] = OutputOptions()


@dataclass(frozen=True)
class AnnotationOptions:
    """Options of `manifest annotations`."""

    folder: Path
    """Folder with the recordings and their annotation files."""
    _: KW_ONLY
    tier: tuple[str, ...]
    """Tier whose intervals become clips and whose texts their label, such as emotion; further ones, after
    commas, add labels, and `speaker` the speaker."""
    out: Path
    """Table to write: .csv, .tsv or .parquet."""
    force: Force = False
    output: Annotated[OutputOptions, FLAT] = OutputOptions()


def _add_corpus(name: str, read: Callable[[Path], Corpus], help_text: str) -> None:
    def make(options: Annotated[ManifestOptions, FLAT]) -> None:
        check_overwrite(options.out, force=options.force)
        _write(read(options.folder), options.out, as_json=options.output.json)

    app.command(make, name=name, help=help_text)


_HELP = {entry.name: f"{entry.title}: `{entry.example.rpartition(' (')[0]}`." for entry in KNOWN}
for _name, _read in CORPORA.items():
    _add_corpus(_name, _read, _HELP.get(_name) or (_read.__doc__ or "").partition("Raises")[0])


@app.command(name="pattern")
def read_names(options: Annotated[PatternOptions, FLAT]) -> None:
    """Clips of a folder whose file names say everything, by a pattern with named fields."""
    from layerprobe.embed.manifest.corpora.reading import read_pattern

    check_overwrite(options.out, force=options.force)
    parsed = read_pattern(options.folder, options.pattern, options.maps or ())
    for example in parsed.examples:
        say(example)
    _write(parsed.corpus, options.out, label=parsed.label, as_json=options.output.json)


@app.command(name="list")
def list_corpora(options: Annotated[ListOptions, FLAT] = ListOptions()) -> None:
    """List the corpora whose layout is known: size, licence, citation, where to get them."""
    corpora = sorted((*DESCRIBED, *KNOWN), key=lambda entry: entry.name)
    if options.output.json:
        names = [field.name for field in fields(Description)]
        print_json([{name: getattr(entry, name) for name in names} for entry in corpora])
        return
    for entry in corpora:
        sizes = [
            f"{number:,} {what}"
            for number, what in ((entry.clips, "clips"), (entry.speakers, "speakers"))
            if number is not None
        ]
        print(f"{entry.name}: {'; '.join([entry.title, *sizes])}")
        print(f"  {entry.example}")
        print(f"  {entry.citation}; licence: {entry.licence}; {entry.source}")


@app.command
def join(options: Annotated[JoinOptions, FLAT]) -> None:
    """Join tables into one with a column `corpus`; speakers and ids get the corpus's name as a prefix."""
    from layerprobe.embed.manifest.join import LabelMap, join_tables

    check_overwrite(options.out, force=options.force, inputs=options.tables)
    clips = join_tables(
        options.tables,
        names=list(options.names) or None,
        maps=[LabelMap.parse(text) for text in options.maps or ()],
    )
    _write(Corpus(clips=clips, notes=[], left_out={}), options.out, as_json=options.output.json)


@app.command(name="annotations")
def read_annotations(options: Annotated[AnnotationOptions, FLAT]) -> None:
    """Clips from intervals of annotation files: Praat's TextGrid, ELAN's .eaf, Audacity's labels (.txt)."""
    from layerprobe.embed.manifest.annotations.segments import annotated_clips

    check_overwrite(options.out, force=options.force)
    if not options.tier:
        raise InputError("--tier is empty", do="name the tier that has the labels, such as emotion")
    found = annotated_clips(options.folder, options.tier)
    _write(found, options.out, label=options.tier[0], as_json=options.output.json)


def _write(corpus: Corpus | AnnotatedClips, out: Path, *, as_json: bool, label: str = "emotion") -> None:
    """Write the table, and print clips and speakers of each value of a label.

    Notes and files that were left out go to stderr.
    """
    from layerprobe.embed.manifest.clips import write_manifest

    clips, notes, left_out = corpus.clips, corpus.notes, corpus.left_out
    write_manifest(clips, out)
    counts = Counter(clip.labels.get(label, "") for clip in clips)
    rows = [
        {
            label: value,
            "clips": count,
            "speakers": len({c.speaker for c in clips if c.speaker and c.labels.get(label, "") == value}),
        }
        for value, count in sorted(counts.items())
    ]
    speakers = len({clip.speaker for clip in clips if clip.speaker is not None})
    if as_json:
        summary = {
            "out": out,
            "clips": len(clips),
            "speakers": speakers,
            "emotions" if label == "emotion" else "labels": rows,
        }
        omitted = [{"path": path, "reason": reason} for path, reason in left_out.items()]
        print_json({**summary, "notes": list(notes), "left_out": omitted})
        return
    print_table(rows)
    print(f"{format_count(len(clips), 'clip')} of {format_count(speakers, 'speaker')} in {out}")
    for note in notes:
        say(f"note: {note}")
    for path, reason in left_out.items():
        say_error(f"left out: {path}: {reason}")
