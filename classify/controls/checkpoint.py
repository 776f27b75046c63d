"""Checkpointed steps: each step of a control is saved when it is done, so that no interruption repeats it."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from layerprobe.classify.runs.run_folder import CONTROLS, read_json, write_json
from layerprobe.classify.search.parallel import run_parallel

STEPS = "parts"  # of the folder of controls: results of finished steps, until all controls are complete


@dataclass(frozen=True, kw_only=True)
class Step:
    """A call of `function`, defined at the top of a module, for a worker process."""

    name: str
    function: Callable[..., dict[str, Any]]
    arguments: tuple[Any, ...]


def run_steps(out: Path | None, steps: Sequence[Step], *, jobs: int) -> list[dict[str, Any]]:
    """Result of each step, in order. out: run folder that saves them and has those of an interrupted run."""
    files = {} if out is None else {step.name: out / CONTROLS / STEPS / f"{step.name}.json" for step in steps}
    results = {name: read_json(file) for name, file in files.items() if file.exists()}
    pending = [step for step in steps if step.name not in results]
    # All steps refer to the same plan or store, and to the same columns.
    shared = [one for step in pending[:1] for one in step.arguments if not isinstance(one, str | int)]
    for name, result in run_parallel(_run, pending, jobs=jobs, shared=shared):
        results[name] = result
        if out is not None:
            write_json(files[name], result)
    return [results[step.name] for step in steps]


def run_once(out: Path, name: str, control: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """Result of a control, saved as `controls/NAME.json` of the run folder; loaded if it is there."""
    file = out / CONTROLS / f"{name}.json"
    if not file.exists():
        write_json(file, control())
    return read_json(file)


def delete_steps(out: Path) -> None:
    """Delete the steps of complete controls."""
    shutil.rmtree(out / CONTROLS / STEPS, ignore_errors=True)


def _run(step: Step) -> Iterator[tuple[str, dict[str, Any]]]:
    yield step.name, step.function(*step.arguments)
