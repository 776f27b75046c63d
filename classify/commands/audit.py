"""The command `audit`: parse, look, print each finding with its verdict."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from layerprobe.cache.common.console import print_json, print_table, say
from layerprobe.cache.common.errors import InputError
from layerprobe.classify.config import StudyConfig
from layerprobe.embed.config import DEFAULT_CACHE

if TYPE_CHECKING:
    from layerprobe.classify.audit.audit import FoldRow
    from layerprobe.embed.manifest.clips import Clip

MOST_FOLDS = 12  # rows of the table; all are in --json
SHOWN = 5  # pieces of evidence told for each finding; all are in --json


def audit(
    table: Annotated[Path, typer.Argument(help="Table of clips: CSV, TSV or Parquet.", show_default=False)],
    target: Annotated[str, typer.Option(help="Column with the label.")] = StudyConfig.target,
    splits: Annotated[
        Path | None, typer.Option(help="splits.json of a run, to look for leaks between its parts.")
    ] = None,
    text: Annotated[str | None, typer.Option(help="Column with what is said, if not found.")] = None,
    source: Annotated[
        str | None, typer.Option(help="Column with the recording that a clip was cut from.")
    ] = None,
    corpus: Annotated[
        str | None, typer.Option(help="As in `manifest`: what its reader remarks on this copy is told too.")
    ] = None,
    cache: Annotated[Path, typer.Option(help="Folder where hashes are remembered.")] = DEFAULT_CACHE,
    path_column: Annotated[str | None, typer.Option(help="Column with the audio files.")] = None,
    speaker_column: Annotated[str | None, typer.Option(help="Column with the speakers.")] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON document instead of a table.")
    ] = False,
) -> None:
    """Look through a table and its sound for leaks, faults and clues to the label that are not speech."""
    from layerprobe.classify.audit.audit import audit as run_audit
    from layerprobe.classify.runs.splits_file import read_assignment
    from layerprobe.embed.manifest.clips import read_manifest

    clips = read_manifest(table, path_column=path_column, speaker_column=speaker_column, must_exist=False)
    found = run_audit(
        clips,
        target=target,
        cache=cache,
        assignment=None if splits is None else read_assignment(splits, clips),
        text=text,
        source=source,
        notes=() if corpus is None else _notes(corpus, clips),
    )
    if as_json:
        print_json({**vars(found), "verdict": found.verdict})
        return
    print_table([vars(row) for row in found.classes])
    print()
    if found.folds:
        print_table([_fold(row) for row in found.folds[:MOST_FOLDS]])
        if len(found.folds) > MOST_FOLDS:
            print(f"… and {len(found.folds) - MOST_FOLDS} more folds in --json")
        print()
    for finding in found.findings:
        print(f"{finding.verdict:4}  {finding.item}: {finding.message}")
        if finding.verdict != "fine":
            for piece in finding.evidence[:SHOWN]:
                print(f"        {piece}")
            if len(finding.evidence) > SHOWN:
                print(f"        … and {len(finding.evidence) - SHOWN} more")
    for line in found.unchecked:
        say(f"not looked at: {line}")
    print(f"\nverdict: {found.verdict}")


def _fold(row: FoldRow) -> dict[str, object]:
    """`in both` are the speakers that training and test share."""
    return {
        "fold": row.fold,
        "train clips": row.train_clips,
        "speakers": row.train_speakers,
        "test clips": row.test_clips,
        "their speakers": row.test_speakers,
        "in both": row.shared_speakers,
        **{f"test {name}": clips for name, clips in row.test_classes.items()},
    }


def _notes(corpus: str, clips: Sequence[Clip]) -> list[str]:
    """What a corpus's reader remarks on the folder that holds all clips. Raises InputError."""
    from layerprobe.embed.manifest.corpora import CORPORA

    if corpus not in CORPORA:
        raise InputError(f"--corpus {corpus}", do=f"choose from {', '.join(CORPORA)}")
    folder = Path(os.path.commonpath([clip.path.resolve().parent for clip in clips]))
    return list(CORPORA[corpus](folder).notes)
