"""Sound that a table holds itself: written to files once, so that everything else reads files alone."""

from __future__ import annotations

import hashlib
import re
from dataclasses import replace
from pathlib import Path, PurePosixPath

from layerprobe.cache.common.disk import write_atomically
from layerprobe.cache.common.errors import InputError
from layerprobe.cache.common.text import format_bytes, format_count
from layerprobe.embed.manifest.readers.table import Table

_DIGITS = 16  # of the SHA-256 in a file's name
_BEGINNINGS = {b"RIFF": ".wav", b"fLaC": ".flac", b"OggS": ".ogg", b"ID3": ".mp3", b"\xff\xfb": ".mp3"}


class EmbeddedSound:
    """The folder of a table's sound: `clips.sound` next to the file `clips.parquet`, `sound` in a folder.

    A file is named by what the table calls it and by its content: reading the table again writes nothing.
    """

    def __init__(self, table: Path) -> None:
        self._base = table if table.is_dir() else table.parent
        self._folder = self._base / ("sound" if table.is_dir() else f"{table.stem}.sound")
        self._table = table
        self._written = self._bytes = 0

    def cell(self, data: bytes, name: str | None) -> str:
        """Write sound unless it is there, and return its path relative to where the table's paths start.

        Raises InputError where the folder cannot be written.
        """
        original = PurePosixPath((name or "").replace("\\", "/"))
        stem = re.sub(r"[^\w.-]+", "_", original.stem)[:60].strip("._")
        suffix = original.suffix if re.fullmatch(r"\.\w{1,5}", original.suffix) else _suffix(data)
        digest = hashlib.sha256(data).hexdigest()[:_DIGITS]
        file = self._folder / f"{stem + '-' if stem else ''}{digest}{suffix}"
        try:
            if not file.exists() or file.stat().st_size != len(data):
                self._folder.mkdir(exist_ok=True)
                write_atomically(file, data)
                self._written += 1
                self._bytes += len(data)
        except OSError as error:
            what = f"the sound in it cannot be written to {self._folder} ({error.strerror or error})"
            do = "copy the table to a folder where you may write"
            raise InputError(what, where=str(self._table), do=do) from error
        return file.relative_to(self._base).as_posix()

    def noted(self, table: Table) -> Table:
        """The table, with a note on what was written, if anything was."""
        if not self._written:
            return table
        count = format_count(self._written, "recording")
        note = f"{count} in it were written to {self._folder} ({format_bytes(self._bytes)})"
        return replace(table, notes=(*table.notes, note))


def _suffix(data: bytes) -> str:
    return next((suffix for start, suffix in _BEGINNINGS.items() if data.startswith(start)), ".audio")
