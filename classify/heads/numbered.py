"""Several fitted parts in one folder: the files of each begin with its number: `2.head.safetensors`."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any


def save_part(folder: Path, number: int, save: Callable[[Path], dict[str, Any]]) -> dict[str, Any]:
    """Add the files that `save` writes to the folder it is given; what it returns."""
    with tempfile.TemporaryDirectory() as temporary:
        settings = save(Path(temporary))
        for file in Path(temporary).iterdir():
            shutil.copyfile(file, folder / f"{number}.{file.name}")
    return settings


@contextmanager
def saved_part(folder: Path, number: int) -> Iterator[Path]:
    """A temporary folder with the files of one part, under the names that they were saved by."""
    with tempfile.TemporaryDirectory() as temporary:
        for file in folder.glob(f"{number}.*"):
            shutil.copyfile(file, Path(temporary) / file.name.partition(".")[2])
        yield Path(temporary)
