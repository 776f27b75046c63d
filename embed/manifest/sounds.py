"""Find the sound files of a folder, and keep account of those that become no clip."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from layerprobe.cache.common.errors import InputError

SUFFIXES = (".wav", ".flac", ".ogg", ".opus", ".mp3", ".aif", ".aiff", ".au", ".caf", ".sph")
UNDECODABLE = (".m4a", ".aac", ".mp4", ".wma", ".amr", ".webm")  # sound too, but not for libsndfile


@dataclass(frozen=True)
class Sounds:
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


def find_sounds(folder: Path) -> Sounds:
    """All sound files below `folder`, links to folders followed. Raises InputError if there are none.

    Hidden files and `__MACOSX` are no sound: archives made on a Mac hold a `._x.wav` beside every `x.wav`.
    """
    if not folder.exists():
        raise InputError("no such folder", where=str(folder))
    if not folder.is_dir():
        raise InputError("is a file, not a folder", where=str(folder))
    sounds = Sounds(folder, [])
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
            elif suffix in SUFFIXES and readable != str(sound):  # no table of text could hold it
                sounds.left_out[readable] = "has a name that is not UTF-8; rename it"
            elif suffix in SUFFIXES:
                sounds.found.append(sound)
            else:
                others.append(sound)
    if not sounds.found:
        seen_instead = [PurePosixPath(name) for name in sounds.left_out] + sorted(others)
        what = f"looked for sound files ({', '.join(SUFFIXES)}), found {some(seen_instead)}"
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
