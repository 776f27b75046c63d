"""The files of a bundle, a saved system: written completely or not at all, checked before anything is read.

`bundle.json` has the format's version, what the system is, and the SHA-256 of every other file and of itself.
"""

from __future__ import annotations

import hashlib
import json
import shlex
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from layerprobe.cache.common.disk import fsync_file, fsync_folder
from layerprobe.cache.common.errors import InputError
from layerprobe.cache.common.text import UNPRINTABLE, program
from layerprobe.cache.identity.hashing import file_digest
from layerprobe.classify.runs.run_folder import RUN, read_json, write_json

BUNDLE = "bundle"  # a run folder's own
MODELS = "models"  # folder of the bundles of a fine-tuning, one for each fold
MANIFEST, CARD = "bundle.json", "README.md"
FORMAT = 1
PART = ".part"  # suffix of a folder that is being written
RESTORE = "copy the bundle again, or make it again with `bundle make RUN`"


def write_bundle(folder: Path, write: Callable[[Path], Mapping[str, Any]]) -> Path:
    """Write a bundle, replacing one that is there; `folder`.

    write: writes all files but bundle.json to the folder it is given, and returns what bundle.json says in
    addition to format and checksums. Raises InputError if the folder cannot be written, or holds something
    else.
    """
    check_folder(folder)
    part = folder.with_name(f".{folder.name}{PART}")
    try:
        shutil.rmtree(part, ignore_errors=True)
        part.mkdir(parents=True)
        content = write(part)
        digests = {path.name: file_digest(path) for path in sorted(part.iterdir())}
        write_json(part / MANIFEST, {"format": FORMAT, **content, "files": digests})
        manifest = read_json(part / MANIFEST)  # numbers as a reader will find them
        write_json(part / MANIFEST, {**manifest, "sha256": _checksum(manifest)})
        for path in part.iterdir():
            fsync_file(path)
        if folder.exists():
            shutil.rmtree(folder)
        part.replace(folder)
        fsync_folder(folder.parent)
    except OSError as error:
        raise InputError(f"cannot be written ({error.strerror})", where=str(folder)) from error
    return folder


def check_folder(folder: Path) -> None:
    """Raise InputError if `folder` is a file, or holds something other than a bundle, which stays."""
    if folder.exists() and not folder.is_dir():
        raise InputError("is a file", where=str(folder), do="choose a folder")
    if folder.is_dir() and not (folder / MANIFEST).is_file() and any(folder.iterdir()):
        do = "choose another folder"
        raise InputError("is not empty and holds no bundle", where=str(folder), do=do)


def read_bundle(folder: Path) -> dict[str, Any]:
    """The content of bundle.json, after a check of every file but the card, which people may edit.

    Raises InputError for a folder that is no bundle, one of another version, and one with a file missing or
    changed.
    """
    where = str(folder)
    if not (folder / MANIFEST).is_file():
        raise _no_bundle(folder)
    manifest = read_json(folder / MANIFEST, do=RESTORE)
    found = manifest.get("format")
    if found != FORMAT:
        do = "use that version, or make the bundle again with `bundle make RUN`"
        what = f"is of format {str(found)[:20]!r}, not {FORMAT}: another version of layerprobe wrote it"
        raise InputError(what, where=where, do=do)
    recorded = manifest.pop("sha256", None)
    files = manifest.get("files")
    if recorded != _checksum(manifest) or not isinstance(files, dict):
        raise InputError("was changed since it was written", where=str(folder / MANIFEST), do=RESTORE)
    for name, digest in files.items():
        if Path(name).name != name:
            raise InputError(f"names a file outside the bundle ({name[:80]!r})", where=where, do=RESTORE)
        if name == CARD:
            continue
        actual = file_digest(folder / name)
        if isinstance(actual, OSError):
            reason = (actual.strerror or str(actual)).lower()
            raise InputError(f"cannot be read ({reason})", where=str(folder / name), do=RESTORE)
        if actual != digest:
            raise InputError("was changed since it was written", where=str(folder / name), do=RESTORE)
    return manifest


def _no_bundle(folder: Path) -> InputError:
    """What a folder without bundle.json is, and what was probably meant."""
    where = str(folder)
    if not folder.exists() and (folder.parent / RUN).is_file():
        do = f"run: {program()} bundle make {shlex.quote(str(folder.parent))}"
        return InputError("the run has no bundle", where=where, do=do)
    if not folder.exists():
        return InputError("no such folder", where=where, do="name the folder bundle/ of a run")
    if not folder.is_dir():
        return InputError("is a file, no bundle", where=where, do="name the folder bundle/ of a run")
    if not (folder / RUN).is_file():
        do = "name the folder bundle/ of a run"
        return InputError(f"is no bundle (no {MANIFEST})", where=where, do=do)
    what = "is a run folder, no bundle"
    models = [path.parent for path in sorted(folder.glob(f"{MODELS}/*/{MANIFEST}"))]
    for bundle in (folder / BUNDLE, *models):
        if (bundle / MANIFEST).is_file():
            return InputError(what, where=where, do=f"name {shlex.quote(str(bundle))}")
    what = "is a run folder without a bundle"
    if read_json(folder / RUN).get("kind") == "classify":
        return InputError(what, where=where, do=f"run: {program()} bundle make {shlex.quote(where)}")
    return InputError(what, where=where, do="run finetune with --keep-models")


def check_labels(labels: list[str], *, where: str) -> None:
    """Raise InputError for a label with control characters, which a terminal could take for commands."""
    for label in labels:
        if UNPRINTABLE.search(label):
            what = f"label {label[:80]!r} has control characters"
            raise InputError(what, where=where, do="rename it in the table of clips")


def _checksum(manifest: Mapping[str, Any]) -> str:
    text = json.dumps(manifest, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()
