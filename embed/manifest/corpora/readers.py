"""Corpora on disk → clips: ANAD, and plain folders of labels.

A corpus whose file names say everything is an entry in `known` instead. No audio is opened. A copy in which
no file fits the expected layout is refused; other deviations become notes.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from layerprobe.cache.common.errors import InputError
from layerprobe.cache.common.text import format_count, format_list, program
from layerprobe.embed.manifest.audio_files import AudioFiles, find_audio_files
from layerprobe.embed.manifest.clips import Clip
from layerprobe.embed.manifest.tables import read_table

_ANAD = re.compile(r"(?P<speaker>V\d+)_.+")
# Words for speakers: English; German, French, Spanish, Italian and Turkish; Arabic and Persian.
_SPEAKER_FOLDER = re.compile(
    r"(?i)(actor|actress|speaker|spk|subject|subj|participant|talker|person|session|ses"
    r"|sprecher(in)?|locuteur|locutrice|hablante|locutora?|parlante|konuşmacı|konusmaci"
    r"|متحدثة?|متكلمة?|ممثلة?|شخص|گوینده)[ _-]?[a-z]?\d+[a-z]?"
)
_CODE_FOLDER = re.compile(r"(?i)[a-z]{1,3}[ _-]?\d+")  # S01: a speaker, or a class
_NUMBERED = re.compile(r"(?i)[a-z]{0,3}[ _-]?\d+[a-z]?")  # 03, S01
# Words that name emotions, and no speakers.
_EMOTIONS = frozenset(
    {"anger", "angry", "happy", "happiness", "sad", "sadness", "neutral", "calm", "fear", "fearful"}
    | {"disgust", "disgusted", "surprise", "surprised", "boredom", "bored", "excited", "excitement"}
    | {"frustration", "frustrated", "contempt", "anxiety", "anxious", "lively"}
)


@dataclass(frozen=True)
class Corpus:
    """Clips of a corpus, and what the user should know about this copy of it.

    clips: sorted by path; a clip's id is its path relative to the corpus folder.
    notes: deviations from the expected layout, one line per note.
    left_out: audio files that are not clips, by path relative to the corpus folder, each with the reason.
    """

    clips: list[Clip]
    notes: list[str]
    left_out: dict[str, str]


def anad(folder: Path) -> Corpus:
    """Arabic Natural Audio Dataset: `1sec_segmented_part1/…/V1_2 (3).wav`, labels in `ANAD.csv`.

    Without the table the label `emotion` is looked for in the name. No speakers are known, so the video that
    a clip was cut from is its group. Raises InputError, and ManifestError for a table that cannot be read.
    """
    audio = find_audio_files(folder)
    names = audio.match(_ANAD, example="V1_2 (3).wav (video, part, number)")
    segments = {path for path in names if "1sec_segmented" in str(path)} or set(names)
    table = next(iter(sorted(folder.rglob("ANAD*.csv"))), None)
    emotions = {} if table is None else _anad_emotions(table)
    clips = []
    for path, fields in names.items():
        in_name = re.search("angry|happy|surprised", path.stem)
        emotion = emotions.get(path.stem, in_name[0] if in_name else None)
        if path not in segments:
            audio.left_out[str(path)] = "is not in a 1sec_segmented folder"
        elif emotion is None:
            audio.left_out[str(path)] = f"has no emotion in {table.name if table else 'its name'}"
        else:
            clips.append(make_clip(audio, path, fields | {"emotion": emotion}))
    if not clips:
        source = f"{table} about other files" if table else "no such table, and no emotion in a file's name"
        raise InputError(f"looked for the emotions in ANAD.csv, found {source}", where=str(folder))
    notes = ["ANAD names no speakers: the video that a clip was cut from is used as its speaker"]
    if len({(clip.speaker, clip.labels["emotion"]) for clip in clips}) == len({c.speaker for c in clips}):
        notes.append("every video has one emotion: a classifier that recognises videos recognises emotions")
    missing = sorted(emotions.keys() - {path.stem for path in names})
    if missing:
        notes.append(f"listed in the table, but not found: {format_list(missing)}")
    return Corpus(clips, notes, audio.left_out)


def labelled_folders(folder: Path) -> Corpus:
    """Audio files sorted by label: `FOLDER/LABEL/…/file.wav`, or `FOLDER/SPEAKER/LABEL/…/file.wav`.

    The column of labels is called `emotion`, whatever the folders stand for. Folders named like speakers
    (`Actor_01`), or with codes (`03`) or other names above folders of emotions, are no labels. Raises
    InputError, also where folders in folders may be either.
    """
    audio = find_audio_files(folder)
    labelled = [path for path in audio.paths if len(path.parts) > 1]
    loose = [path for path in audio.paths if len(path.parts) == 1]
    if not labelled:
        raise InputError(
            f"looked for LABEL/*.wav, found {format_list(loose)} and no folders with sound",
            where=str(folder),
            do="put the files of each label into a folder of that name",
        )
    audio.left_out.update((str(path), "is outside the labels' folders") for path in loose)
    names = sorted({path.parts[0] for path in labelled})
    if not all(map(_SPEAKER_FOLDER.fullmatch, names)) and not _speakers_above_labels(labelled, folder):
        clips = [make_clip(audio, path, {"emotion": path.parts[0]}) for path in labelled]
        note = "no speakers are known: add a column `speaker` to the table, or no split can keep them apart"
        notes = [note, *_annotation_notes(audio)]
        if len(names) > 1 and all(map(_CODE_FOLDER.fullmatch, names)):
            notes.append(f"the labels are the folders' names; are {format_list(names)} labels, not speakers?")
        return Corpus(clips, notes, audio.left_out)
    if any(len(path.parts) < 3 for path in labelled):
        raise InputError(
            f"looked for folders named by label, found folders of speakers ({format_list(names)})",
            where=str(folder),
            do="put SPEAKER/LABEL/*.wav into them, or write a table with the columns path, emotion, speaker",
        )
    clips = [
        make_clip(audio, path, {"emotion": path.parts[1], "speaker": path.parts[0]}) for path in labelled
    ]
    note = f"the folders are taken for speakers ({format_list(names)}), and the folders in them for labels"
    return Corpus(clips, [note, *_annotation_notes(audio)], audio.left_out)


def _speakers_above_labels(paths: Sequence[PurePosixPath], folder: Path) -> bool:
    """Whether folders in folders are SPEAKER/LABEL rather than LABEL with anything below it.

    Only where the same names recur in several folders, as labels do below speakers, and speakers below
    labels. Raises InputError where the names do not tell which.
    """
    if any(len(path.parts) < 3 for path in paths):
        return False
    above = {inner: {path.parts[0] for path in paths if path.parts[1] == inner} for inner in _inner(paths)}
    if all(len(outer) < 2 for outer in above.values()):
        return False
    outers = sorted({path.parts[0] for path in paths})
    for fits in (_is_numbered, _is_no_emotion):
        outer_speakers, inner_speakers = all(map(fits, outers)), all(map(fits, above))
        if outer_speakers != inner_speakers:
            return outer_speakers
    listed = f"{format_list(outers)} above {format_list(list(above))}"
    what = f"folders in folders ({listed}), and either may be labels"
    command = f"{program()} manifest pattern {shlex.quote(str(folder))}"
    do = f"say which: {command} '{{speaker}}/{{emotion}}/*' --out TABLE, or '{{emotion}}/{{speaker}}/*'"
    raise InputError(what, where=str(folder), do=do)


def _inner(paths: Sequence[PurePosixPath]) -> list[str]:
    return sorted({path.parts[1] for path in paths})


def _is_numbered(name: str) -> bool:
    return _NUMBERED.fullmatch(name) is not None


def _is_no_emotion(name: str) -> bool:
    return name.casefold() not in _EMOTIONS


def _annotation_notes(audio: AudioFiles) -> list[str]:
    if not audio.annotations:
        return []
    files = format_count(len(audio.annotations), "annotation file")
    return [
        f"{files} not read ({format_list(audio.annotations)}): `manifest annotations FOLDER --tier NAME` "
        "makes clips of their intervals"
    ]


CORPORA: dict[str, Callable[[Path], Corpus]] = {
    "anad": anad,
    "folder": labelled_folders,
}


def make_clip(audio: AudioFiles, path: PurePosixPath, fields: Mapping[str, str]) -> Clip:
    """The clip of one file. All `fields` but the speaker are its labels, the emotion first."""
    labels = {name: text for name, text in fields.items() if name != "speaker"}
    if "emotion" in labels:
        labels = {"emotion": labels["emotion"]} | labels
    return Clip(id=str(path), file=str(audio.folder / path), labels=labels, speaker=fields.get("speaker"))


def _anad_emotions(table: Path) -> dict[str, str]:
    """The emotion of each file, by its name without suffix.

    The table in circulation has a blank after `Emotion` and quotation marks around or after the names.
    """
    raw = read_table(table)
    columns = [column.strip().lower() for column in raw.columns]
    if "name" not in columns or "emotion" not in columns:
        what = (
            f"looked for columns 'name' and 'Emotion', found {format_list(raw.columns, shown=5) or 'nothing'}"
        )
        raise InputError(what, where=str(table))
    name, emotion = columns.index("name"), columns.index("emotion")
    rows = [row for row in raw.rows if len(row) > max(name, emotion) and row[emotion].strip()]
    return {PurePosixPath(row[name].strip(" '\"")).stem: row[emotion].strip().lower() for row in rows}
