"""MELD: dialogues of a television series, as CSV tables and one video for each utterance."""

from __future__ import annotations

import re
from pathlib import Path, PurePosixPath

from layerprobe.cache.common.errors import InputError
from layerprobe.cache.common.text import format_list
from layerprobe.embed.manifest.audio_files import AudioFiles, find_audio_files
from layerprobe.embed.manifest.clips import Clip
from layerprobe.embed.manifest.corpora.labelled.label_tables import (
    OWN_FOLDER,
    missing_notes,
    read_rows,
    tables_found,
)
from layerprobe.embed.manifest.corpora.readers import Corpus

PARTITIONS = {"train": "train", "dev": "validation", "test": "test"}  # in names of folders and tables
_UTTERANCE = re.compile(r"dia(\d+)_utt(\d+)")
_NUMBERS = ("Dialogue_ID", "Utterance_ID")

Key = tuple[str, int, int]  # partition, dialogue, utterance


def meld(folder: Path) -> Corpus:
    """MELD: `train_sent_emo.csv`, `dev_sent_emo.csv`, `test_sent_emo.csv` and `train_splits/dia0_utt0.mp4`.

    The partition of a file is that of its folder (`train_splits`, `dev_splits_complete`,
    `output_repeated_splits_test`) and becomes the column `split`. The speaker is the character's name, and
    joy is called happiness. Raises InputError, and ManifestError for a table that cannot be read.
    """
    audio = find_audio_files(folder)
    tables = {
        partition: table
        for name, partition in PARTITIONS.items()
        if (table := next(iter(sorted(folder.rglob(f"{name}_sent_emo.csv"))), None)) is not None
    }
    if not tables:
        listed = ", ".join(f"{name}_sent_emo.csv" for name in PARTITIONS)
        what = f"looked for {listed}, found {tables_found(folder)}"
        raise InputError(what, where=str(folder), do=OWN_FOLDER)
    files = _utterances(audio)
    clips, missing = [], []
    for partition, table in tables.items():
        for row in read_rows(table, (*_NUMBERS, "Speaker", "Emotion"), numbers=_NUMBERS):
            key = (partition, int(row["Dialogue_ID"]), int(row["Utterance_ID"]))
            if (path := files.pop(key, None)) is None:
                missing.append(f"{partition} dia{key[1]}_utt{key[2]}")
            else:
                clips.append(_clip(audio, path, key, row))
    if not clips:
        what = f"looked for recordings like train_splits/dia0_utt0.mp4, found {format_list(audio.paths)}"
        raise InputError(what, where=str(folder), do=OWN_FOLDER)
    audio.left_out.update((str(path), "has no row in the table of its partition") for path in files.values())
    return Corpus(sorted(clips, key=lambda clip: clip.id), missing_notes(missing), audio.left_out)


def _utterances(audio: AudioFiles) -> dict[Key, PurePosixPath]:
    """The file of each utterance; others go into `left_out`."""
    files: dict[Key, PurePosixPath] = {}
    for path in audio.paths:
        match, partition = _UTTERANCE.fullmatch(path.stem), _partition(path)
        if match is None or partition is None:
            audio.left_out[str(path)] = "is not named like train_splits/dia0_utt0.mp4"
            continue
        first = files.setdefault((partition, int(match[1]), int(match[2])), path)
        if first != path:
            audio.left_out[str(path)] = f"is the same utterance as {first}"
    return files


def _partition(path: PurePosixPath) -> str | None:
    """The partition that the nearest folder above a file names."""
    for part in reversed(path.parts[:-1]):
        for name, partition in PARTITIONS.items():
            if name in part.lower():
                return partition
    return None


def _clip(audio: AudioFiles, path: PurePosixPath, key: Key, row: dict[str, str]) -> Clip:
    emotion = row["Emotion"]
    labels = {
        "emotion": "happiness" if emotion == "joy" else emotion,
        "sentiment": row.get("Sentiment", ""),
        "text": row.get("Utterance", ""),
        "dialogue": f"{key[0]} {key[1]}",
        "season": row.get("Season", ""),
        "episode": row.get("Episode", ""),
    }
    return Clip(
        id=str(path),
        file=str(audio.folder / path),
        labels={name: text for name, text in labels.items() if text},
        speaker=row["Speaker"] or None,
        split=key[0],
    )
