"""Checkpoints of one training: which is whole, which is this run's, which are still needed."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from layerprobe.cache.common.disk import fsync_file, fsync_folder, replace_text
from layerprobe.cache.common.errors import InputError
from layerprobe.cache.common.space import free_bytes, human

MARK = "whole.json"  # written last: a checkpoint without it was cut short by a kill
WEIGHTS = "model.safetensors"
STATE = "trainer_state.json"
_NAME = re.compile(r"checkpoint-(\d+)")


@dataclass(frozen=True)
class Checkpoints:
    """The folder of one training. run: the run's fingerprint."""

    folder: Path
    run: str

    def check_space(self, *, weights: int, trained: int) -> None:
        """Raise InputError where the disk cannot hold the checkpoints of a training.

        weights: bytes of the model's. trained: how many of its numbers AdamW keeps two moments of. Two
        checkpoints stand side by side for a moment, and the best one.
        """
        needed, free = 3 * (weights + 8 * trained), free_bytes(self.folder)
        if needed > free:
            raise InputError(
                f"checkpoints need {human(needed)}, but {human(free)} are free",
                where=str(self.folder),
                do="free some space, or choose another --out",
            )

    def mark(self, step: int, *, best: int | None) -> None:
        """Declare the checkpoint of `step` whole once it is on disk; others go, except that of `best`."""
        here = self._at(step)
        files = [path for path in here.iterdir() if path.name != MARK]
        for path in files:
            fsync_file(path)
        sizes = {path.name: path.stat().st_size for path in files}
        replace_text(here / MARK, json.dumps({"run": self.run, "step": step, "files": sizes}))
        fsync_folder(self.folder)
        for other, path in self._there().items():
            if other not in (step, best):
                _remove(path)

    def last(self) -> Path | None:
        """The newest whole checkpoint; those cut short, or no longer as they were saved, are removed.

        Raises InputError for a checkpoint that another run left here.
        """
        whole = []
        for step, path in sorted(self._there().items()):
            if not (path / MARK).is_file():
                _remove(path)
                continue
            told = self._told(path)
            if told.get("run") != self.run:
                raise InputError(
                    "is a checkpoint of another run", where=str(path), do="delete it, or choose another --out"
                )
            if not self._has(path, told.get("files", {})):
                _remove(path)
                continue
            whole.append((step, path))
        return whole[-1][1] if whole else None

    def state(self) -> dict[str, Any]:
        """The newest whole checkpoint's state of the training; empty where there is none."""
        last = self.last()
        return {} if last is None else dict(json.loads((last / STATE).read_text(encoding="utf-8")))

    def keep_weights(self, step: int) -> Path:
        """The weights of one checkpoint as a file of their own, which is returned."""
        kept = self.folder / WEIGHTS
        if not kept.exists():
            (self._at(step) / WEIGHTS).replace(kept)
        return kept

    def clear(self) -> None:
        """Remove every checkpoint, the newest last: while it is there, the training is known to be over."""
        for _, path in sorted(self._there().items()):
            _remove(path)

    def _at(self, step: int) -> Path:
        return self.folder / f"checkpoint-{step}"

    def _there(self) -> dict[int, Path]:
        found = ((_NAME.fullmatch(path.name), path) for path in self.folder.glob("checkpoint-*"))
        return {int(name[1]): path for name, path in found if name}

    def _has(self, checkpoint: Path, files: Mapping[str, int]) -> bool:
        """Whether a checkpoint's files have their sizes; its weights may have been taken out to be kept."""
        taken = {WEIGHTS} if (self.folder / WEIGHTS).exists() else set()
        found = {path.name: path.stat().st_size for path in checkpoint.iterdir()}
        return all(found.get(name) == size for name, size in files.items() if name not in taken)

    def _told(self, path: Path) -> dict[str, Any]:
        try:
            return dict(json.loads((path / MARK).read_text(encoding="utf-8")))
        except (OSError, ValueError) as error:
            raise InputError(f"cannot be read ({error})", where=str(path / MARK), do="delete it") from error


def _remove(path: Path) -> None:
    """What a kill leaves half removed must not pass for whole."""
    (path / MARK).unlink(missing_ok=True)
    shutil.rmtree(path, ignore_errors=True)
