"""Find the audio files of a folder, and record those that become no clip, each with the reason."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from layerprobe.cache.common.errors import InputError
from layerprobe.cache.common.text import format_list
from layerprobe.embed.manifest.tables import ANNOTATIONS

AUDIO_SUFFIXES = (
    *(".wav", ".flac", ".ogg", ".opus", ".mp3", ".aif", ".aiff", ".au", ".caf", ".sph", ".w64", ".voc"),
    *(".m4a", ".aac", ".mp4", ".mov", ".3gp", ".wma", ".amr", ".webm", ".mka", ".mkv", ".avi"),
    *(".wave", ".bwf", ".rf64", ".oga", ".ogv", ".spx", ".mp2", ".mpga", ".aifc", ".snd", ".nist"),
    *(".m4b", ".m4v", ".qt", ".3g2", ".asf", ".awb", ".weba"),
)
# Audio too, but for no decoder here.
UNDECODABLE_SUFFIXES = (
    *(".ra", ".rm", ".ape", ".dss", ".ds2", ".wv", ".ac3", ".dts", ".flv", ".ts", ".mts", ".m2ts"),
    *(".mpg", ".mpeg", ".vob", ".tta", ".shn", ".wv1", ".wv2"),
)
# How files of sound begin, by which one is found under a name that says nothing: `0001`, `a.dat`.
_BEGINNINGS = re.compile(rb"(RIFF|RIFX|RF64)....WAVE|fLaC|OggS|NIST_1A|FORM....AIF[FC]|caff|\.snd", re.DOTALL)
_LONGEST = 12  # bytes of these


@dataclass(frozen=True)
class AudioFiles:
    """The audio files of a corpus folder.

    paths: relative to `folder`, sorted.
    left_out: files that become no clip, by path, with the reason; `match` and the corpora add theirs.
    annotations: files of Praat, ELAN and the like. texts: .txt files, which may be Audacity's labels.
    """

    folder: Path
    paths: list[PurePosixPath] = field(default_factory=list)
    left_out: dict[str, str] = field(default_factory=dict)
    annotations: list[PurePosixPath] = field(default_factory=list)
    texts: list[PurePosixPath] = field(default_factory=list)

    def match(self, pattern: re.Pattern[str], *, example: str) -> dict[PurePosixPath, dict[str, str]]:
        """Each path whose complete file name without suffix matches, with the pattern's named groups.

        The others go into `left_out`. Raises InputError if none matches.
        """
        fields = {}
        for path in self.paths:
            if match := pattern.fullmatch(path.stem):
                fields[path] = match.groupdict()
            else:
                self.left_out[str(path)] = f"is not named like {example}"
        if not fields:
            do = "give the corpus's own folder, or describe the files in a table"
            raise self.no_match(example, do=do)
        return fields

    def no_match(self, example: str, *, do: str) -> InputError:
        """The error where no file is named like the example."""
        what = f"looked for names like {example}, found {format_list(self.paths)}"
        return InputError(what, where=str(self.folder), do=do)


def find_audio_files(folder: Path) -> AudioFiles:
    """All audio files below `folder`, by suffix, else by content. Raises InputError if there are none.

    Links to folders are followed. Hidden files and `__MACOSX` are ignored: archives made on a Mac hold a
    `._x.wav` for every `x.wav`.
    """
    if not folder.exists():
        raise InputError("no such folder", where=str(folder))
    if not folder.is_dir():
        raise InputError("is a file, not a folder", where=str(folder))
    audio = AudioFiles(folder)
    others: list[PurePosixPath] = []
    visited: set[str] = set()
    for place, folders, names in os.walk(folder, followlinks=True):
        folders[:] = sorted(name for name in folders if not _is_hidden(name))
        real = os.path.realpath(place)
        if real in visited:  # a link back to a folder that was already searched
            folders.clear()
            continue
        visited.add(real)
        for name in names:
            path = PurePosixPath(os.path.relpath(os.path.join(place, name), folder))  # noqa: PTH118
            suffix = path.suffix.lower()
            if _is_hidden(name):
                continue
            readable = os.fsencode(path).decode("utf-8", "backslashreplace")
            if suffix in UNDECODABLE_SUFFIXES:
                audio.left_out[readable] = f"cannot be decoded ({suffix}); convert it to WAV or FLAC"
            elif suffix in ANNOTATIONS:
                audio.annotations.append(path)
            elif suffix not in AUDIO_SUFFIXES and not _begins_like_sound(place, name):
                others.append(path)
                if suffix == ".txt":
                    audio.texts.append(path)
            elif readable != str(path):  # no text table could hold it
                audio.left_out[readable] = "has a name that is not UTF-8; rename it"
            else:
                audio.paths.append(path)
    if not audio.paths:
        others = [*map(PurePosixPath, audio.left_out), *sorted(others + audio.annotations)]
        what = (
            f"looked for sound files ({', '.join(AUDIO_SUFFIXES)}), found {format_list(others) or 'nothing'}"
        )
        raise InputError(what, where=str(folder))
    audio.paths.sort()
    return audio


def _begins_like_sound(place: str, name: str) -> bool:
    """Of a regular file that can be read: the first bytes are those of a format of sound."""
    try:
        path = Path(place, name)
        if not path.is_file():  # a pipe would block
            return False
        with path.open("rb", buffering=0) as file:
            return _BEGINNINGS.match(file.read(_LONGEST)) is not None
    except OSError:
        return False


def _is_hidden(name: str) -> bool:
    return name.startswith(".") or name == "__MACOSX"
