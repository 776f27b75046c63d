"""MSP-Podcast: its table of consensus labels and one file for each speaking turn."""

from __future__ import annotations

from pathlib import Path, PurePosixPath

from layerprobe.cache.common.errors import InputError
from layerprobe.cache.common.text import format_count, format_list
from layerprobe.embed.manifest.audio_files import AudioFiles, find_audio_files
from layerprobe.embed.manifest.clips import Clip
from layerprobe.embed.manifest.corpora.labelled.label_tables import (
    OWN_FOLDER,
    missing_notes,
    paths_by_stem,
    read_rows,
    tables_found,
    unlabelled_notes,
)
from layerprobe.embed.manifest.corpora.readers import Corpus

TABLE = "labels_consensus.csv"
EMOTIONS = {
    **{"A": "anger", "S": "sadness", "H": "happiness", "U": "surprise", "F": "fear"},
    **{"D": "disgust", "C": "contempt", "N": "neutral", "O": "other"},
}
_NO_AGREEMENT = "X"
_COLUMNS = ("FileName", "EmoClass", "EmoAct", "EmoVal", "EmoDom", "SpkrID", "Gender", "Split_Set")
_SPLITS = {"train": "train", "development": "validation", "validation": "validation"}
_UNKNOWN = "Unknown"  # the corpus's name for speakers that it does not know


def msp_podcast(folder: Path) -> Corpus:
    """MSP-Podcast: `Labels/labels_consensus.csv` and `Audios/MSP-PODCAST_0001_0008.wav`.

    The label `emotion` is empty where the raters do not agree; `valence`, `activation` and `dominance` are
    means from 1 to 7. The column `split` is train, validation or test, the label `partition` the corpus's own
    name of it (`Test1`, …). Raises InputError, and ManifestError for a table that cannot be read.
    """
    audio = find_audio_files(folder)
    table = next(iter(sorted(folder.rglob(TABLE))), None)
    if table is None:
        what = f"looked for Labels/{TABLE}, found {tables_found(folder)}"
        raise InputError(what, where=str(folder), do=OWN_FOLDER)
    names = paths_by_stem(audio)
    clips, missing = [], []
    for row in read_rows(table, _COLUMNS):
        if paths := names.pop(PurePosixPath(row["FileName"]).stem, None):
            clips.append(_clip(audio, paths[0], row))
            copies = [str(path) for path in paths[1:]]
            audio.left_out.update(dict.fromkeys(copies, f"has the name of {paths[0]}"))
        else:
            missing.append(row["FileName"])
    if not clips:
        what = f"looked for recordings like MSP-PODCAST_0001_0008.wav, found {format_list(audio.paths)}"
        raise InputError(what, where=str(folder), do=OWN_FOLDER)
    audio.left_out.update((str(path), f"is not in {TABLE}") for paths in names.values() for path in paths)
    notes = [*missing_notes(missing), *unlabelled_notes(sum("emotion" not in c.labels for c in clips))]
    if unknown := sum(clip.speaker == _UNKNOWN for clip in clips):
        notes.append(f"{format_count(unknown, 'clip')} of speaker '{_UNKNOWN}' count as clips of one speaker")
    return Corpus(sorted(clips, key=lambda clip: clip.id), notes, audio.left_out)


def _clip(audio: AudioFiles, path: PurePosixPath, row: dict[str, str]) -> Clip:
    code, partition = row["EmoClass"], row["Split_Set"]
    labels = {
        "emotion": "" if code == _NO_AGREEMENT else EMOTIONS.get(code, code),
        "valence": row["EmoVal"],
        "activation": row["EmoAct"],
        "dominance": row["EmoDom"],
        "gender": row["Gender"],
        "partition": partition,
    }
    is_test = partition.lower().startswith("test")
    return Clip(
        id=str(path),
        file=str(audio.folder / path),
        labels={name: text for name, text in labels.items() if text},
        speaker=row["SpkrID"] or None,
        split="test" if is_test else _SPLITS.get(partition.lower()),
    )
