"""Data folders of Kaldi: `wav.scp`, with `segments`, `utt2spk`, `text` and other `utt2…` files."""

from __future__ import annotations

import os
import re
from pathlib import Path

from layerprobe.cache.common.text import format_count, shorten
from layerprobe.embed.manifest.readers.table import Table, decode, table_error

# Files with a value for each utterance that follow from the sound, and are no labels.
_DERIVED = {"utt2dur", "utt2num_frames", "utt2uniq", "utt2lang_id", "utt2max_frames"}
_ARCHIVE = re.compile(r".+\.ark:\d+")


def read_kaldi(folder: Path) -> Table:
    """A row for each utterance. Commands in `wav.scp` are never run.

    Paths are relative to the folder, or where no such file exists to the working folder, as in Kaldi's
    recipes. Raises ManifestError with all faults of the files.
    """
    faults: list[str] = []
    paths = _read(folder / "wav.scp", faults)
    for name, path in paths.items():
        if path.endswith("|") or path.startswith("|"):
            faults.append(
                f"wav.scp: '{name}' is a command, which is not run; write its output to a file: "
                f"{shorten(path)}"
            )
        elif _ARCHIVE.fullmatch(path):
            faults.append(f"wav.scp: '{name}' is a place in an archive, not a sound file: {shorten(path)}")
    segments = _segments(folder / "segments", paths, faults)
    columns: dict[str, dict[str, str]] = {}
    for file in sorted(folder.glob("utt2*")):
        if file.name not in _DERIVED and file.is_file():
            columns[file.name.removeprefix("utt2").replace("spk", "speaker")] = _read(file, faults)
    if (folder / "text").is_file():
        columns["text"] = _read(folder / "text", faults)
    speakers = columns.get("speaker", {})
    for file in sorted(folder.glob("spk2*")):
        if file.name != "spk2utt" and file.is_file():
            of_speaker = _read(file, faults)
            values = {utterance: of_speaker.get(speaker, "") for utterance, speaker in speakers.items()}
            columns.setdefault(file.name.removeprefix("spk2"), values)
    if faults:
        raise table_error(folder, faults)
    relative = {name: _path(folder, path) for name, path in paths.items()}
    rows = [
        [name, relative[recording], start, end, *(values.get(name, "") for values in columns.values())]
        for name, (recording, start, end) in segments.items()
    ]
    unknown = len({name for values in columns.values() for name in values} - segments.keys())
    notes = [f"left out: {format_count(unknown, 'utterance')} without sound"] if unknown else []
    return Table(["id", "path", "start", "end", *columns], rows, notes=tuple(notes), path_column="path")


def _read(file: Path, faults: list[str]) -> dict[str, str]:
    """Name and rest of each line."""
    text, _ = decode(file.read_bytes())
    values: dict[str, str] = {}
    for number, line in enumerate(text.splitlines(), start=1):
        name, _, value = line.strip().replace("\t", " ").partition(" ")
        if name in values:
            faults.append(f"{file.name} line {number}: '{shorten(name)}' is there twice")
        if name:
            values[name] = value.strip()
    if file.name == "wav.scp":
        faults += [f"wav.scp: '{shorten(name)}' has no path" for name, value in values.items() if not value]
    return values


def _segments(file: Path, paths: dict[str, str], faults: list[str]) -> dict[str, tuple[str, str, str]]:
    """Recording, start and end of each utterance; without the file, each recording is one."""
    if not file.is_file():
        return {name: (name, "", "") for name in paths}
    segments = {}
    for name, line in _read(file, faults).items():
        cells = line.split()
        if len(cells) not in (3, 4):
            faults.append(
                f"segments: '{shorten(name)}' is not followed by a recording, its start and its end"
            )
        elif cells[0] not in paths:
            faults.append(
                f"segments: '{shorten(name)}' is of '{shorten(cells[0])}', which wav.scp does not have"
            )
        else:
            segments[name] = cells[0], cells[1], "" if cells[2] == "-1" else cells[2]
    return segments


def _path(folder: Path, path: str) -> str:
    from_here = os.path.abspath(path)  # noqa: PTH100
    return path if (folder / path).exists() or not os.path.isfile(from_here) else from_here  # noqa: PTH113
