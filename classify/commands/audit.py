"""The command `audit`; the checks are in `classify.audit`."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from dataclasses import KW_ONLY, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from layerprobe.cache.common.console import print_json, print_table, say
from layerprobe.cache.common.options import (
    DEFAULT_CACHE,
    FLAT,
    CacheFolder,
    OutputOptions,
    TableColumns,
    TableFile,
    check_choice,
)
from layerprobe.classify.config import StudyConfig
from layerprobe.embed.config import ALL_CHANNELS, FIRST_TRACK, Channels, Track, check_sound

if TYPE_CHECKING:
    from layerprobe.classify.audit.audit import Audit, FoldRow
    from layerprobe.embed.manifest.clips import Clip

MAX_FOLDS = 12  # rows of the table; all are in --json
MAX_EVIDENCE = 5  # printed for each finding; all is in --json


@dataclass(frozen=True)
class AuditOptions:
    """Options of `audit`."""

    table: TableFile
    _: KW_ONLY
    target: str = StudyConfig.target
    """Column with the label."""
    splits: str | None = None
    """splits.json of a run, or emobox:FOLDER, to look for leaks between the partitions."""
    text: str | None = None
    """Column with the spoken text; found by its usual names if omitted."""
    source: str | None = None
    """Column with the recording that a clip was cut from."""
    corpus: str | None = None
    """Corpus as in `manifest`: notes of its reader on this copy are printed too."""
    channels: Channels = ALL_CHANNELS
    track: Track = FIRST_TRACK
    cache: CacheFolder = DEFAULT_CACHE
    columns: Annotated[TableColumns, FLAT] = TableColumns()
    output: Annotated[OutputOptions, FLAT] = OutputOptions()


def audit(options: Annotated[AuditOptions, FLAT]) -> None:
    """Check a table and its audio for leaks, errors, and cues to the label that are not speech."""
    from layerprobe.classify.audit.audit import audit as run_audit
    from layerprobe.classify.runs.splits_file import read_assignment
    from layerprobe.embed.audio.headers import channel_clips
    from layerprobe.embed.manifest.clips import read_manifest

    check_sound(options.channels, options.track)
    clips: Sequence[Clip] = read_manifest(options.table, **vars(options.columns), must_exist=False)
    clips = channel_clips(clips, channels=options.channels, track=options.track)
    result = run_audit(
        clips,
        target=options.target,
        cache=options.cache,
        assignment=None if options.splits is None else read_assignment(Path(options.splits), clips),
        text=options.text,
        source=options.source,
        channels=options.channels,
        track=options.track,
        notes=() if options.corpus is None else _corpus_notes(options.corpus, clips),
    )
    if options.output.json:
        print_json({**vars(result), "verdict": result.verdict})
    else:
        _print_audit(result)


def _print_audit(result: Audit) -> None:
    measured = any(not math.isnan(row.seconds) for row in result.classes)
    empty = () if measured else ("seconds", "level", "silence")
    print_table([{k: v for k, v in vars(row).items() if k not in empty} for row in result.classes])
    print()
    if result.folds:
        print_table([_fold_cells(row) for row in result.folds[:MAX_FOLDS]])
        if len(result.folds) > MAX_FOLDS:
            print(f"… and {len(result.folds) - MAX_FOLDS} more folds in --json")
        print()
    for finding in result.findings:
        print(f"{finding.verdict:4}  {finding.item}: {finding.message}")
        if finding.verdict != "fine":
            for piece in finding.evidence[:MAX_EVIDENCE]:
                print(f"        {piece}")
            if len(finding.evidence) > MAX_EVIDENCE:
                print(f"        … and {len(finding.evidence) - MAX_EVIDENCE} more")
    for line in result.unchecked:
        say(f"not checked: {line}")
    print(f"\nverdict: {result.verdict}")


def _fold_cells(row: FoldRow) -> dict[str, object]:
    return {
        "fold": row.fold,
        "train clips": row.train_clips,
        "train speakers": row.train_speakers,
        "test clips": row.test_clips,
        "test speakers": row.test_speakers,
        "shared speakers": row.shared_speakers,
        **{f"test {name}": clips for name, clips in row.test_classes.items()},
    }


def _corpus_notes(corpus: str, clips: Sequence[Clip]) -> list[str]:
    """Notes of a corpus's reader on the folder that contains all clips. Raises InputError."""
    from layerprobe.embed.manifest.corpora import CORPORA

    check_choice("--corpus", corpus, CORPORA)
    folder = Path(os.path.commonpath([clip.path.resolve().parent for clip in clips]))
    return list(CORPORA[corpus](folder).notes)
