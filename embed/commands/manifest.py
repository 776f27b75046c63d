"""The commands `manifest CORPUS` and `manifest join`: a corpus on disk, or several tables → one table."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated

import typer

from layerprobe.cache.common.console import print_json, print_table, say
from layerprobe.embed.manifest.clips import Clip
from layerprobe.embed.manifest.corpora import CORPORA, Corpus

app = typer.Typer(no_args_is_help=True, help="Make a table of clips from a corpus on disk.")

Out = Annotated[Path, typer.Option(help="Table to write: .csv, .tsv or .parquet.", show_default=False)]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document instead of a table.")]


def _command(name: str, read: Callable[[Path], Corpus]) -> None:
    def make(
        folder: Annotated[Path, typer.Argument(help="The corpus folder.", show_default=False)],
        out: Out,
        as_json: Json = False,
    ) -> None:
        from layerprobe.embed.manifest.clips import write_manifest

        corpus = read(folder)
        write_manifest(corpus.clips, out)
        left_out = [{"path": str(path), "reason": reason} for path, reason in corpus.left_out.items()]
        _tell(corpus.clips, out, notes=corpus.notes, left_out=left_out, as_json=as_json)

    app.command(name, help=(read.__doc__ or "").partition("Raises")[0])(make)


for _name, _read in CORPORA.items():
    _command(_name, _read)


@app.command()
def join(
    tables: Annotated[list[Path], typer.Argument(help="Tables of clips, one a corpus.", show_default=False)],
    out: Out,
    names: Annotated[
        str, typer.Option(help="Corpus names, comma-separated; by default the tables' file names.")
    ] = "",
    maps: Annotated[
        list[str] | None, typer.Option("--map", help="Rename a label: [CORPUS/]COLUMN:OLD=NEW; repeatable.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Join tables into one with a column `corpus`; speakers and ids get the corpus's name in front."""
    from layerprobe.embed.manifest.clips import write_manifest
    from layerprobe.embed.manifest.join import LabelMap, join_tables

    clips = join_tables(
        tables,
        names=[name.strip() for name in names.split(",")] if names else None,
        maps=[LabelMap.parse(text) for text in maps or ()],
    )
    write_manifest(clips, out)
    _tell(clips, out, notes=(), left_out=[], as_json=as_json)


def _tell(
    clips: Sequence[Clip],
    out: Path,
    *,
    notes: Sequence[str],
    left_out: Sequence[dict[str, str]],
    as_json: bool,
) -> None:
    """What the table holds: clips and speakers of each emotion; remarks and files left out on stderr."""
    counts = Counter(clip.labels.get("emotion", "") for clip in clips)
    rows = [
        {
            "emotion": label,
            "clips": count,
            "speakers": len({c.speaker for c in clips if c.speaker and c.labels.get("emotion", "") == label}),
        }
        for label, count in sorted(counts.items())
    ]
    speakers = len({clip.speaker for clip in clips if clip.speaker is not None})
    if as_json:
        told = {"out": out, "clips": len(clips), "speakers": speakers, "emotions": rows}
        print_json({**told, "notes": list(notes), "left_out": list(left_out)})
        return
    print_table(rows)
    print(f"{len(clips)} clips of {speakers} speakers in {out}")
    for note in notes:
        say(f"note: {note}")
    for entry in left_out:
        say(f"left out: {entry['path']}: {entry['reason']}")
