"""Files that are not on this machine: where the machine that embedded them had them.

A table whose paths are relative means other files in another folder. Of the files that a cache knows, those
below one folder that have all of the table's relative paths are taken for them, and nothing less certain.
"""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePath

from layerprobe.cache.common.errors import StoreError
from layerprobe.cache.common.text import format_list

ADVICE = "write into the table the absolute paths of the machine that embedded it"


@dataclass(frozen=True)
class FormerFolder:
    """folder: where the files were. digests: relative path → last known SHA-256, of those that are known."""

    folder: Path
    digests: Mapping[str, str]


def relative_path(file: Path, cell: str) -> str | None:
    """A file's path below the folder at which its table's relative paths begin.

    cell: the path as the table writes it, below that folder or `../` the one above. None if it is absolute,
    or another text.
    """
    parts = [part for part in PurePath(os.path.normpath(cell)).parts if part != os.pardir]
    name = "/".join(parts)
    return name if os.path.normpath(file).endswith(f"/{name}") and not PurePath(cell).is_absolute() else None


def find_former_folder(
    names: Collection[str], *, here: Mapping[str, str], known: Iterable[tuple[str, str]]
) -> FormerFolder | None:
    """The folder that had all files of these names (relative paths), of those that are known at all.

    here: digests by name of files of the same table that are on this machine; a folder that did not have all
    of them is another one. known: path and digest of each file that the cache knows. None if no folder
    qualifies. Raises StoreError where files of several folders could be meant.
    """
    wanted = {*names, *here}
    endings = {name.rpartition("/")[2] for name in wanted}
    folders: dict[str, dict[str, set[str]]] = defaultdict(lambda: defaultdict(set))
    for path, digest in known:
        path = os.path.normpath(path)
        if os.path.basename(path) not in endings:  # noqa: PTH119 (for every file of a large cache)
            continue
        end = len(path)
        while (end := path.rfind("/", 0, end)) >= 0:
            if path[end + 1 :] in wanted:
                folders[path[:end] or "/"][path[end + 1 :]].add(digest)
    candidates = {
        folder: {name: digests for name, digests in files.items() if name not in here}
        for folder, files in folders.items()
        if all(files.get(name) == {digest} for name, digest in here.items())
    }
    candidates = {folder: files for folder, files in candidates.items() if files}
    if not candidates:
        return None
    digests_of: dict[str, set[str]] = defaultdict(set)
    for files in candidates.values():
        for name, digests in files.items():
            digests_of[name] |= digests
    complete = sorted(folder for folder, files in candidates.items() if len(files) == len(digests_of))
    doubtful = [name for name, digests in sorted(digests_of.items()) if len(digests) > 1]
    if doubtful or not complete:
        what = "is not on this machine, and the cache knows several files that it could be"
        where = format_list(sorted(candidates))
        raise StoreError(f"{what} (in {where})", where=doubtful[0] if doubtful else min(names), do=ADVICE)
    return FormerFolder(Path(complete[0]), {name: min(digests) for name, digests in digests_of.items()})
