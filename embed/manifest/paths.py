"""Paths in the cells of a table, and the files on disk that they name.

A cell may name its file otherwise than the disk does: with backslashes, as a URL, with space or quotes around
it, or with letters that another system composed in another way. Such a file is found; one whose name differs
in case or suffix, or only in letters that look alike, is suggested.
"""

from __future__ import annotations

import os
import re
import unicodedata
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from urllib.parse import unquote, urlsplit

from layerprobe.cache.common.text import format_count, shorten, visible
from layerprobe.cache.remote.audio import audio_path, audio_url, is_audio_url, url_fault

MAX_NAME_BYTES, MAX_PATH_BYTES = 255, 4096  # of Linux; those of macOS and network drives are not longer
MAX_HINTS = 20  # missing files for which a file of nearly that name is looked for

_QUOTED = "with quotes or invisible letters around them"
OTHER_FORM = "in another Unicode form, or with other spaces"

_UNUSUAL = re.compile(r"//|/$|^$|(?:^|/)\.{1,2}(?:/|$)")  # cells that `Path` writes otherwise
_WINDOWS = re.compile(r"[A-Za-z]:[\\/]|\\\\")
_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+://")
# Around a copied path: quotes, and the marks of direction that Windows' "Copy as path" puts in front.
_AROUND = "\"'“”‘’\ufeff\u200b\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"
_QUOTES = str.maketrans("‘’ʼ“”", "'''\"\"")


def _composed(name: str) -> str:
    return unicodedata.normalize("NFC", name).strip()


def _caseless(name: str) -> str:
    return visible(unquote(name)).translate(_QUOTES).casefold()


def _stem(name: str) -> str:
    return os.path.splitext(_caseless(name))[0]  # noqa: PTH122


class PathCells:
    """Paths in a table, which need not exist yet; relative paths are relative to the table's folder."""

    def __init__(self, table: Path, *, folder: Path | None = None) -> None:
        """folder: where relative paths start, if not in the table's folder."""
        self._folder = table.parent if folder is None else folder
        self._prefix = str(self._folder / "x").removesuffix("x")
        self._absolute = Path(os.path.abspath(self._folder))  # noqa: PTH100 (keeps symbolic links)
        self.base = self._folder.resolve()
        self._listings: dict[tuple[str, Callable[[str], str]], dict[str, list[str]]] = {}
        self._requests: Counter[str] = Counter()
        self._absent: set[str] = set()  # folders that do not exist
        self._folders: dict[tuple[str, Callable[[str], str]], str | None] = {}
        self._corrected: dict[str, list[str]] = {}  # cells by how they differ from the files' names
        self._near: dict[str, str] = {}  # cell without a file -> a cell with one
        self._foreign: list[str] = []  # Windows paths and URLs

    def to_file(self, cell: str) -> Path:
        """The file that a cell names."""
        return Path(self.file_name(cell))

    def file_name(self, cell: str) -> str:
        """The same as text. For most cells without a `Path`, which takes longer than all else in a row."""
        if is_audio_url(cell):
            return audio_path(cell)
        if not _UNUSUAL.search(cell):
            return cell if cell.startswith("/") else self._prefix + cell
        if cell.startswith("../"):
            # `..` is the parent of the real folder, even if the path to the table is a symbolic link.
            return os.path.normpath(self.base / cell)
        return str(self._folder / cell)

    def to_cell(self, file: Path) -> str:
        """A file as a cell: relative if below the table's folder or that folder's parent, else absolute."""
        if url := audio_url(file):
            return url
        absolute = Path(os.path.abspath(file))  # noqa: PTH100
        if absolute.is_relative_to(self._absolute):
            return absolute.relative_to(self._absolute).as_posix()
        parent = self._absolute.parent
        not_linked = self._absolute == self.base and parent != parent.parent
        if not_linked and absolute.is_relative_to(parent):
            return "../" + absolute.relative_to(parent).as_posix()
        return absolute.as_posix()

    def find(self, cell: str) -> tuple[str, bool]:
        """The cell as the file is named on disk, and whether there is such a file.

        Without a file, the cell without backslashes and the space around it: quotes may be part of a name.
        """
        if is_audio_url(cell) or self._is_file(
            self.file_name(cell)
        ):  # a URL is opened when its sound is read
            return cell, True
        unfound, difference = _variant(cell)
        if unfound != cell and self._is_file(self.to_file(unfound)):
            self._corrected.setdefault(difference, []).append(cell)
            return unfound, True
        actual = self._match(self.to_file(unfound), _composed)
        if actual is not None and os.path.isfile(actual):  # noqa: PTH113
            self._corrected.setdefault(difference or OTHER_FORM, []).append(cell)
            return self._as_cell(actual, unfound), True
        missing = cell.strip() if difference == _QUOTED else unfound
        if _foreign_path(unfound):
            self._foreign.append(unfound)
        elif len(self._near) < MAX_HINTS and (near := self._nearest(self.to_file(unfound))):
            self._near[missing] = self._as_cell(near, unfound)
        return missing, False

    def reason(self, cell: str) -> str:
        """Why a cell names no file, with a file of nearly that name if there is one."""
        file = self.to_file(cell)
        if os.path.isdir(file):  # noqa: PTH112
            return f"'{file}' is a folder"
        if what := _foreign_path(cell):
            return f"no such file: {cell} ({what})"
        near = self._near.get(cell)
        return f"no such file: {file}" + (f" ({_suggestion(cell, near)})" if near else "")

    def notes(self) -> list[str]:
        """One line on files that are used under another name, and one on suggestions."""
        notes = []
        if self._corrected:
            kinds = [
                f"{format_count(len(cells), 'path')} {difference} ('{shorten(cells[0])}')"
                for difference, cells in self._corrected.items()
            ]
            notes.append(f"files on disk were found for {', '.join(kinds)}")
        if self._foreign:
            count, cell = format_count(len(self._foreign), "path"), self._foreign[0]
            notes.append(f"no file for {count} such as '{shorten(cell)}' ({_foreign_path(cell)})")
        for cell, near in list(self._near.items())[:1]:
            notes.append(f"no such file: '{shorten(cell)}'; {_suggestion(cell, near)}")
        return notes

    def _is_file(self, file: Path | str) -> bool:
        """Whether a file exists. A folder is listed at its second request: tests of each file are slow on
        network storage, and so is listing a large folder for one file."""
        folder, name = os.path.split(file)
        self._requests[folder] += 1
        if self._requests[folder] > 1:
            if name in self._listing(folder, _same):
                return True
            if folder in self._absent:
                return False
        # A folder may be entered but not listed, and the file system may fold case or compose letters.
        return os.path.isfile(file)  # noqa: PTH113 (False for names that are too long)

    def _listing(self, folder: str, fold: Callable[[str], str]) -> dict[str, list[str]]:
        """Names in a folder by what `fold` makes of them; empty if it cannot be listed. `_same`: of files."""
        listing = self._listings.get((folder, fold))
        if listing is None:
            listing = self._listings[folder, fold] = {}
            try:
                with os.scandir(folder or ".") as entries:
                    for entry in entries:
                        if fold is not _same or entry.is_file():
                            listing.setdefault(fold(entry.name), []).append(entry.name)
            except (FileNotFoundError, NotADirectoryError):
                self._absent.add(folder)
            except OSError:
                pass  # may be entered, but not listed
        return listing

    def _match(self, file: Path, fold: Callable[[str], str]) -> str | None:
        """The only path that equals `file` after `fold`, component by component."""
        folder, name = os.path.split(os.path.abspath(file))  # noqa: PTH100
        actual = self._match_folder(folder, fold)
        names = [] if actual is None else self._listing(actual, fold).get(fold(name), [])
        return os.path.join(actual or "", names[0]) if len(names) == 1 else None  # noqa: PTH118

    def _match_folder(self, folder: str, fold: Callable[[str], str]) -> str | None:
        if (folder, fold) not in self._folders:
            parent = os.path.dirname(folder)  # noqa: PTH120
            known = os.path.isdir(folder) or parent == folder  # noqa: PTH112
            self._folders[folder, fold] = folder if known else self._match(Path(folder), fold)
        return self._folders[folder, fold]

    def _nearest(self, file: Path) -> str | None:
        """A file whose path looks like `file`, apart from case; or else differs from it in its suffix."""
        near = self._match(file, _caseless)
        if near is None:
            folder, name = os.path.split(os.path.abspath(file))  # noqa: PTH100
            stems = self._listing(folder, _stem).get(_stem(name), [])
            near = os.path.join(folder, stems[0]) if len(stems) == 1 else None  # noqa: PTH118
        return near if near is not None and os.path.isfile(near) else None  # noqa: PTH113

    def _as_cell(self, actual: str, variant: str) -> str:
        """An absolute path, relative to where the relative path `variant` begins."""
        if os.path.isabs(variant):  # noqa: PTH117
            return actual
        base = self.base if variant.startswith("../") else self._absolute
        return os.path.relpath(actual, base)


def path_fault(cell: str) -> str | None:
    """What no path can be: empty, with a zero byte, or too long."""
    if not cell.strip():
        return "has no path"
    if "\0" in cell:
        return "path contains a zero byte, which no file name can"
    if is_audio_url(cell) and (fault := url_fault(cell)):
        return fault
    size = cell.encode("utf-8", "surrogatepass")
    if len(size) > MAX_PATH_BYTES or max(map(len, size.split(b"/"))) > MAX_NAME_BYTES:
        return f"path is longer than any can be: '{shorten(cell)}'"
    return None


def _variant(cell: str) -> tuple[str, str]:
    """A path as Linux writes it, and in what the cell differed from that."""
    trimmed = cell.strip()
    text = trimmed.strip(_AROUND).strip()
    if text.startswith("file:/"):
        return unquote(urlsplit(text).path), "written as URLs"
    if text.startswith("~/"):
        return os.path.expanduser(text), "that begin with ~"  # noqa: PTH111
    if "\\" in text and not _WINDOWS.match(text):
        return text.replace("\\", "/"), "with backslashes"
    if text != trimmed:
        return text, _QUOTED
    return text, "with space around them" if text != cell else ""


def _foreign_path(cell: str) -> str:
    """What a cell is that names no file of this machine, and what to do about it; else ""."""
    if _URL.match(cell):
        return "a URL of a kind that is not read: download it first"
    return "a Windows path: write paths relative to the table" if _WINDOWS.match(cell) else ""


def _suggestion(cell: str, near: str) -> str:
    alike = ", with other spaces or invisible letters" if visible(cell) == visible(near) else ""
    return f"did you mean '{near}'{alike}?"


def _same(name: str) -> str:
    return name
