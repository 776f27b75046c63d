"""Corpora as they lie on disk → clips: BAVED, EYASE, KSUEmotions, ANAD and plain folders of labels.

One function each, all of them in `CORPORA`. What a corpus says about a clip stands in the file's name; no
audio is opened. A copy in which nothing fits the expected layout is refused; what else differs is told.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from layerprobe.cache.common.errors import InputError
from layerprobe.embed.manifest.clips import Clip
from layerprobe.embed.manifest.tables import read_table

AUDIO_SUFFIXES = (".wav", ".flac", ".ogg", ".opus", ".mp3", ".aif", ".aiff", ".au", ".caf", ".sph")
UNDECODABLE = (".m4a", ".aac", ".mp4", ".wma", ".amr", ".webm")  # sound too, but not for libsndfile

KSU_EMOTIONS = ("neutral", "happiness", "sadness", "surprise", "questioning", "anger")  # E00 to E05

_BAVED = re.compile(
    r"(?P<speaker>\d+)-(?P<gender>[mf])-(?P<age>\d+)-(?P<word>[0-6])-(?P<emotion>[0-2])-(?P<record>\d+)"
)
_EYASE = re.compile(r"(?P<speaker>(?:fm|ml)\d+)_(?P<emotion>ang|hap|neu|sad) *\((?P<record>\d+)\)")
_KSU = re.compile(r"D\d+E(?P<emotion>0[0-5])(?P<speaker>P\d+)S(?P<sentence>\d+)T(?P<trial>\d+)")
_ANAD = re.compile(r"(?P<speaker>V\d+)_.+")


@dataclass(frozen=True)
class Corpus:
    """Clips of a corpus, and what a person should know about this copy of it.

    clips: sorted by path; a clip's id is its path below the corpus folder.
    notes: one line each.
    left_out: sound files that are no clips, by their path below the corpus folder, each with the reason.
    """

    clips: list[Clip]
    notes: list[str]
    left_out: dict[str, str]


def baved(folder: Path) -> Corpus:
    """Basic Arabic Vocal Emotions Dataset: `WORD/speaker-gender-age-word-level-record.wav`.

    The label `emotion` is the level: 0 low, 1 neutral, 2 high. Raises InputError.
    """
    sounds = find_audio_files(folder)
    named = sounds.named(_BAVED, like="12-f-21-3-2-105.wav (speaker-gender-age-word-level-record)")
    clips = [_clip(sounds, sound, parts) for sound, parts in named.items()]
    notes = _misplaced({sound: parts["word"] for sound, parts in named.items()}, folders=r"\d")
    readme = folder / "README.md"
    text = readme.read_text("utf-8", "replace") if readme.is_file() else ""
    promised = re.search(r"Number of speakers:\W*(\d+)", text)
    speakers = len({clip.speaker for clip in clips})
    if promised and int(promised[1]) != speakers:
        notes.append(f"there are {speakers} speakers, the README says {promised[1]}")
    return Corpus(clips, notes, sounds.left_out)


def eyase(folder: Path) -> Corpus:
    """Egyptian Arabic Semi-natural Emotion speech: `fm01_hap (3).wav`, speakers `fm` female and `ml` male.

    The label `emotion` is ang, hap, neu or sad, as in the names. Raises InputError.
    """
    sounds = find_audio_files(folder)
    named = sounds.named(_EYASE, like="fm01_hap (3).wav (speaker, emotion, number)")
    clips = [_clip(sounds, sound, parts | {"gender": parts["speaker"][0]}) for sound, parts in named.items()]
    return Corpus(clips, [], sounds.left_out)


def ksuemotions(folder: Path) -> Corpus:
    """King Saud University Emotions (LDC2017S12): `data/SPEECH/Phase_1/E05/D05E05P003S18T02.flac`.

    The label `emotion` is the name of the E code; sentence and trial come from the name, `phase` from the
    folder. Raises InputError.
    """
    sounds = find_audio_files(folder)
    named = sounds.named(
        _KSU, like="D05E01P003S18T02.flac (E emotion 00 to 05, P speaker, S sentence, T trial)"
    )
    notes = _misplaced({sound: f"E{parts['emotion']}" for sound, parts in named.items()}, folders=r"E\d\d")
    clips = []
    for sound, parts in named.items():
        phase = re.search(r"Phase_(\d+)", str(folder / sound))
        labels = parts | {"emotion": KSU_EMOTIONS[int(parts["emotion"])]}
        clips.append(_clip(sounds, sound, labels | ({"phase": phase[1]} if phase else {})))
    return Corpus(clips, notes, sounds.left_out)


def anad(folder: Path) -> Corpus:
    """Arabic Natural Audio Dataset: `1sec_segmented_part1/…/V1_2 (3).wav`, labels in `ANAD.csv`.

    Without the table the label `emotion` is looked for in the name. No speakers are known, so the video that
    a clip was cut from is its group. Raises InputError, and ManifestError for a table that cannot be read.
    """
    sounds = find_audio_files(folder)
    named = sounds.named(_ANAD, like="V1_2 (3).wav (video, part, number)")
    pieces = {sound for sound in named if "1sec_segmented" in str(sound)} or set(named)
    table = next(iter(sorted(folder.rglob("ANAD*.csv"))), None)
    emotions = {} if table is None else _anad_emotions(table)
    clips = []
    for sound, parts in named.items():
        in_name = re.search("angry|happy|surprised", sound.stem)
        emotion = emotions.get(sound.stem, in_name[0] if in_name else None)
        if sound not in pieces:
            sounds.left_out[str(sound)] = "is not in a 1sec_segmented folder"
        elif emotion is None:
            sounds.left_out[str(sound)] = f"has no emotion in {table.name if table else 'its name'}"
        else:
            clips.append(_clip(sounds, sound, {"speaker": parts["speaker"], "emotion": emotion}))
    if not clips:
        found = f"{table} about other files" if table else "no such table, and no emotion in a file's name"
        raise InputError(f"looked for the emotions in ANAD.csv, found {found}", where=str(folder))
    notes = ["ANAD names no speakers: the video a clip was cut from stands in for its speaker"]
    if len({(clip.speaker, clip.labels["emotion"]) for clip in clips}) == len(
        {clip.speaker for clip in clips}
    ):
        notes.append("every video has one emotion: who tells the videos apart tells the emotions apart")
    lost = sorted(emotions.keys() - {sound.stem for sound in named})
    if lost:
        notes.append(f"named in the table, but not there: {some(lost)}")
    return Corpus(clips, notes, sounds.left_out)


def labelled_folders(folder: Path) -> Corpus:
    """Any sound sorted by label: `FOLDER/LABEL/…/file.wav`.

    The column of labels is called `emotion`, whatever the folders stand for. Raises InputError.
    """
    sounds = find_audio_files(folder)
    inside = [sound for sound in sounds.found if len(sound.parts) > 1]
    loose = [sound for sound in sounds.found if len(sound.parts) == 1]
    if not inside:
        raise InputError(
            f"looked for LABEL/*.wav, found {some(loose)} and no folders with sound",
            where=str(folder),
            do="put the files of each label into a folder of that name",
        )
    sounds.left_out.update((str(sound), "lies outside the labels' folders") for sound in loose)
    clips = [_clip(sounds, sound, {"emotion": sound.parts[0]}) for sound in inside]
    note = "no speakers are known: add a column `speaker` to the table, or no split can keep them apart"
    return Corpus(clips, [note], sounds.left_out)


CORPORA: dict[str, Callable[[Path], Corpus]] = {
    "baved": baved,
    "eyase": eyase,
    "ksuemotions": ksuemotions,
    "anad": anad,
    "folder": labelled_folders,
}


def _clip(sounds: AudioFiles, sound: PurePosixPath, told: Mapping[str, str]) -> Clip:
    """The clip of one file; what is told about it is its labels, the emotion first, and its speaker."""
    labels = {"emotion": told["emotion"]} | {name: text for name, text in told.items() if name != "speaker"}
    return Clip(id=str(sound), file=str(sounds.folder / sound), labels=labels, speaker=told.get("speaker"))


def _misplaced(expected: Mapping[PurePosixPath, str], *, folders: str) -> list[str]:
    """A note on files whose folder is named in the corpus's way (`folders`), but not as their names say."""
    wrong = [
        sound
        for sound, name in expected.items()
        if sound.parent.name != name and re.fullmatch(folders, sound.parent.name)
    ]
    if not wrong:
        return []
    lie = "1 file lies" if len(wrong) == 1 else f"{len(wrong)} files lie"
    return [f"{lie} in another folder than the name says, the name is trusted: {some(wrong)}"]


def _anad_emotions(table: Path) -> dict[str, str]:
    """The emotion of each file, by its name without the suffix.

    The table in circulation has a blank behind `Emotion` and quotation marks around or behind the names.
    """
    raw = read_table(table)
    names = [column.strip().lower() for column in raw.columns]
    if "name" not in names or "emotion" not in names:
        what = f"looked for columns 'name' and 'Emotion', found {some(raw.columns, shown=5)}"
        raise InputError(what, where=str(table))
    name, emotion = names.index("name"), names.index("emotion")
    rows = [row for row in raw.rows if len(row) > max(name, emotion) and row[emotion].strip()]
    return {PurePosixPath(row[name].strip(" '\"")).stem: row[emotion].strip().lower() for row in rows}


@dataclass(frozen=True)
class AudioFiles:
    """The sound files below a folder.

    found: paths below `folder`, sorted.
    left_out: those that become no clip, each with the reason; filled as they are looked through.
    """

    folder: Path
    found: list[PurePosixPath]
    left_out: dict[str, str] = field(default_factory=dict)

    def named(self, pattern: re.Pattern[str], *, like: str) -> dict[PurePosixPath, dict[str, str]]:
        """The files whose whole name, without the suffix, fits `pattern`, with the pattern's named groups.

        The others go into `left_out`. Raises InputError, with what was looked for and found, if none fits.
        """
        fitting = {}
        for sound in self.found:
            parts = pattern.fullmatch(sound.stem)
            if parts:
                fitting[sound] = parts.groupdict()
            else:
                self.left_out[str(sound)] = f"is not named like {like}"
        if not fitting:
            raise InputError(
                f"looked for names like {like}, found {some(self.found)}",
                where=str(self.folder),
                do="give the corpus's own folder, or describe the files in a table",
            )
        return fitting


def find_audio_files(folder: Path) -> AudioFiles:
    """All sound files below `folder`, links to folders followed. Raises InputError if there are none.

    Hidden files and `__MACOSX` are no sound: archives made on a Mac hold a `._x.wav` beside every `x.wav`.
    """
    if not folder.exists():
        raise InputError("no such folder", where=str(folder))
    if not folder.is_dir():
        raise InputError("is a file, not a folder", where=str(folder))
    sounds = AudioFiles(folder, [])
    others: list[PurePosixPath] = []
    seen: set[str] = set()
    for place, folders, names in os.walk(folder, followlinks=True):
        folders[:] = sorted(name for name in folders if not _hidden(name))
        real = os.path.realpath(place)
        if real in seen:  # a link back to a folder already walked through
            folders.clear()
            continue
        seen.add(real)
        for name in names:
            sound = PurePosixPath(os.path.relpath(os.path.join(place, name), folder))  # noqa: PTH118
            suffix = sound.suffix.lower()
            if _hidden(name):
                continue
            readable = os.fsencode(sound).decode("utf-8", "backslashreplace")
            if suffix in UNDECODABLE:
                sounds.left_out[readable] = f"cannot be decoded ({suffix}); convert it to WAV or FLAC"
            elif suffix in AUDIO_SUFFIXES and readable != str(sound):  # no table of text could hold it
                sounds.left_out[readable] = "has a name that is not UTF-8; rename it"
            elif suffix in AUDIO_SUFFIXES:
                sounds.found.append(sound)
            else:
                others.append(sound)
    if not sounds.found:
        seen_instead = [PurePosixPath(name) for name in sounds.left_out] + sorted(others)
        what = f"looked for sound files ({', '.join(AUDIO_SUFFIXES)}), found {some(seen_instead)}"
        raise InputError(what, where=str(folder))
    sounds.found.sort()
    return sounds


def some(things: Sequence[object], *, shown: int = 3) -> str:
    """The first few of many, in words."""
    told = ", ".join(str(thing) for thing in things[:shown]) or "nothing"
    more = len(things) - shown
    return f"{told} and {more} more" if more > 0 else told


def _hidden(name: str) -> bool:
    return name.startswith(".") or name == "__MACOSX"
