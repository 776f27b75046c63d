"""Controls cut into parts that are kept as they are done, so that none is made twice."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from layerprobe.classify.runs.folder import read_json, write_json
from layerprobe.classify.search.parallel import run_parallel

FOLDER = "controls"

PARTS = "parts"


@dataclass(frozen=True, kw_only=True)
class Step:
    """One piece of work for a process: `make`, a function of a module, called with `arguments`."""

    name: str
    make: Callable[..., dict[str, Any]]
    arguments: tuple[Any, ...]


def results(folder: Path | None, parts: Sequence[Step], *, jobs: int) -> list[dict[str, Any]]:
    """Each part's result, in their order; those that an earlier run left in `folder` are not made again."""
    if folder is None:
        found = dict(run_parallel(_run, parts, jobs=jobs))
        return [found[part.name] for part in parts]
    kept = folder / PARTS
    files = [kept / f"{part.name}.json" for part in parts]
    rest = [part for part, file in zip(parts, files, strict=True) if not file.exists()]
    if rest:
        kept.mkdir(parents=True, exist_ok=True)
    for name, result in run_parallel(_run, rest, jobs=jobs):
        write_json(kept / f"{name}.json", result)
    return [read_json(file) for file in files]


def clear(folder: Path) -> None:
    """Forget the parts of what is whole."""
    shutil.rmtree(folder / PARTS, ignore_errors=True)


def _run(part: Step) -> Iterator[tuple[str, dict[str, Any]]]:
    yield part.name, part.make(*part.arguments)
