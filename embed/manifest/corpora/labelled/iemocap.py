"""IEMOCAP: turns and labels of its evaluation files."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath

from layerprobe.cache.common.errors import InputError
from layerprobe.cache.common.text import format_list
from layerprobe.embed.manifest.audio_files import AudioFiles, find_audio_files
from layerprobe.embed.manifest.clips import Clip
from layerprobe.embed.manifest.corpora.labelled.label_tables import (
    OWN_FOLDER,
    missing_notes,
    paths_by_stem,
    unlabelled_notes,
)
from layerprobe.embed.manifest.corpora.readers import Corpus

# "[6.2901 - 8.2357]	Ses01F_impro01_F000	neu	[2.5000, 2.5000, 2.5000]"
_TURN = re.compile(
    r"\[(?P<start>\d+\.\d+) - (?P<end>\d+\.\d+)\]\s+"
    r"(?P<turn>(?P<dialog>Ses(?P<session>\d\d)[FM]_\w+)_(?P<gender>[FM])\w+)\s+(?P<emotion>[a-z]{3})\s+"
    r"\[(?P<valence>\d\.\d+), (?P<activation>\d\.\d+), (?P<dominance>\d\.\d+)\]"
)
EMOTIONS = {
    **{"ang": "anger", "hap": "happiness", "exc": "excitement", "sad": "sadness", "neu": "neutral"},
    **{"fru": "frustration", "fea": "fear", "sur": "surprise", "dis": "disgust", "oth": "other"},
}
_NO_AGREEMENT = "xxx"


def iemocap(folder: Path) -> Corpus:
    """IEMOCAP: `Session1/dialog/EmoEvaluation/Ses01F_impro01.txt` and the recordings of its turns.

    The label `emotion` is the raters' category, empty where they do not agree; `valence`, `activation` and
    `dominance` are means from 1 to 5. A turn is its file in `sentences/wav`, or where that is missing the
    interval of the dialogue's recording. Raises InputError.
    """
    audio = find_audio_files(folder)
    files = [file for file in sorted(folder.rglob("EmoEvaluation/*.txt")) if file.name[0] != "."]
    turns = [turn for file in files for turn in _turns(file)]
    if not turns:
        found = format_list([file.relative_to(folder) for file in files]) or "no such file"
        what = (
            f"looked for turns in files like Session1/dialog/EmoEvaluation/Ses01F_impro01.txt, found {found}"
        )
        raise InputError(what, where=str(folder), do=OWN_FOLDER)
    names = paths_by_stem(audio)
    clips, missing = [], []
    for turn in turns:
        if paths := names.get(turn["turn"]) or names.get(turn["dialog"]):
            clips.append(_clip(audio, paths[0], turn))
        else:
            missing.append(turn["turn"])
    if not clips:
        what = f"looked for recordings like {missing[0]}.wav, found {format_list(audio.paths)}"
        raise InputError(what, where=str(folder), do=OWN_FOLDER)
    # The recording of a dialogue is no clip where its turns are files of their own.
    known = {turn[name] for turn in turns for name in ("turn", "dialog")}
    unknown = [path for path in audio.paths if path.stem not in known]
    audio.left_out.update((str(path), "is in no file of EmoEvaluation") for path in unknown)
    copies = [path for stem, paths in names.items() if stem in known for path in paths[1:]]
    audio.left_out.update((str(path), "has the name of another recording") for path in copies)
    notes = [*missing_notes(missing), *unlabelled_notes(sum("emotion" not in c.labels for c in clips))]
    return Corpus(sorted(clips, key=lambda clip: (clip.file, clip.start or 0)), notes, audio.left_out)


def _turns(file: Path) -> Iterator[dict[str, str]]:
    try:
        lines = file.read_text("utf-8", "replace").splitlines()
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise InputError(f"cannot be read ({reason})", where=str(file)) from error
    return (match.groupdict() for line in lines if (match := _TURN.match(line)))


def _clip(audio: AudioFiles, path: PurePosixPath, turn: Mapping[str, str]) -> Clip:
    """A turn as a file, or as the interval of its dialogue, which is then named like the turn."""
    is_file = path.stem == turn["turn"]
    code = turn["emotion"]
    labels = {} if code == _NO_AGREEMENT else {"emotion": EMOTIONS.get(code, code)}
    names = ("valence", "activation", "dominance", "gender", "session", "dialog")
    return Clip(
        id=str(path) if is_file else turn["turn"],
        file=str(audio.folder / path),
        start=None if is_file else float(turn["start"]),
        end=None if is_file else float(turn["end"]),
        labels=labels | {name: turn[name] for name in names},
        speaker=f"Ses{turn['session']}{turn['gender']}",
    )
