"""Where a table's audio lies: path cells to files, files to path cells, and which files are not there."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path


class Places:
    """The places that path cells of the table `table` stand for. The table itself need not exist yet."""

    def __init__(self, table: Path) -> None:
        self._folder = table.parent
        self._absolute = Path(os.path.abspath(table.parent))  # noqa: PTH100 (keeps symbolic links, as the cells do)
        self._real = table.parent.resolve()

    @property
    def start(self) -> Path:
        """The folder that relative cells are relative to."""
        return self._real

    def file(self, cell: str) -> Path:
        """The file a path cell stands for."""
        if cell.startswith("../"):
            # `..` climbs out of the real folder, also where the way to the table is a symbolic link.
            return Path(os.path.normpath(self._real / cell))
        return self._folder / cell

    def cell(self, file: Path) -> str:
        """A path cell for a file: relative below the table's folder or the folder above it, else absolute."""
        absolute = Path(os.path.abspath(file))  # noqa: PTH100
        if absolute.is_relative_to(self._absolute):
            return absolute.relative_to(self._absolute).as_posix()
        above = self._absolute.parent
        climbable = self._absolute == self._real and above != above.parent
        if climbable and absolute.is_relative_to(above):
            return "../" + absolute.relative_to(above).as_posix()
        return absolute.as_posix()


def absent(files: Iterable[Path]) -> dict[Path, str]:
    """Those of `files` that are no files, each with what is wrong.

    Folders are listed once instead of asking for every file: on network storage that is what takes the time.
    """
    by_folder: dict[str, list[tuple[str, Path]]] = defaultdict(list)
    for file in files:
        folder, name = os.path.split(file)
        by_folder[folder].append((name, file))
    gone: dict[Path, str] = {}
    for folder, named in by_folder.items():
        listed = _listing(folder) if len(named) > 1 else frozenset()
        for name, file in named:
            # What the listing lacks is asked for by name: the file system may fold case or compose letters.
            if name not in listed and not file.is_file():
                gone[file] = f"'{file}' is a folder" if file.is_dir() else f"no such file: {file}"
    return gone


def _listing(folder: str) -> frozenset[str]:
    try:
        with os.scandir(folder or ".") as entries:
            return frozenset(entry.name for entry in entries if entry.is_file())
    except OSError:
        return frozenset()  # no folder, or one that may be entered but not listed: each file is asked for
