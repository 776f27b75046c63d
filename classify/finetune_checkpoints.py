"""Checkpoints of one training: which is whole, which is this run's, which are still needed."""

from __future__ import annotations

import json
import re
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cache.durable import replace_text
from cache.errors import InputError

MARK = "whole.json"  # written last: a checkpoint without it was cut short by a kill
WEIGHTS = "model.safetensors"
STATE = "trainer_state.json"
_NAME = re.compile(r"checkpoint-(\d+)")


@dataclass(frozen=True)
class Checkpoints:
    """The folder of one training. run: the run's fingerprint."""

    folder: Path
    run: str

    def mark(self, step: int, *, best: int | None) -> None:
        """Declare the checkpoint of `step` whole; others go, except that of `best`."""
        here = self._at(step)
        replace_text(here / MARK, json.dumps({"run": self.run, "step": step}))
        for other, path in self._there().items():
            if other not in (step, best):
                shutil.rmtree(path, ignore_errors=True)

    def last(self) -> Path | None:
        """The newest whole checkpoint; ones that were cut short are removed.

        Raises InputError for a checkpoint that another run left here.
        """
        whole = []
        for step, path in sorted(self._there().items()):
            if not (path / MARK).is_file():
                shutil.rmtree(path)
                continue
            if self._told(path).get("run") != self.run:
                raise InputError(
                    "is a checkpoint of another run", where=str(path), do="delete it, or choose another --out"
                )
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
        """Remove every checkpoint."""
        for path in self._there().values():
            shutil.rmtree(path)

    def _at(self, step: int) -> Path:
        return self.folder / f"checkpoint-{step}"

    def _there(self) -> dict[int, Path]:
        found = ((_NAME.fullmatch(path.name), path) for path in self.folder.glob("checkpoint-*"))
        return {int(name[1]): path for name, path in found if name}

    def _told(self, path: Path) -> dict[str, Any]:
        try:
            return dict(json.loads((path / MARK).read_text(encoding="utf-8")))
        except (OSError, ValueError) as error:
            raise InputError(f"cannot be read ({error})", where=str(path / MARK), do="delete it") from error
