"""run.json: what a run is, made on what, and whether a folder already holds it."""

from __future__ import annotations

import hashlib
import json
import os
import platform
import resource
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, fields
from importlib.metadata import version
from pathlib import Path
from typing import Any

from layerprobe.cache.common import metering
from layerprobe.cache.common.errors import InputError
from layerprobe.cache.store.feature_store import FeatureStore
from layerprobe.classify.config import RUNTIME_OPTIONS, EvaluationConfig, StudyConfig
from layerprobe.classify.runs import folder as runfolder
from layerprobe.classify.runs.folder import read_json

PACKAGES = ("numpy", "scipy", "scikit-learn", "xgboost", "optuna", "h5py", "torch")


def begin(
    kind: str,
    *,
    deciding: Mapping[str, Any],
    settings: Mapping[str, Any],
    command: Mapping[str, Any] | None,
    packages: Sequence[str] = PACKAGES,
    **more: Any,
) -> dict[str, Any]:
    """run.json of a run of some kind that begins; its fingerprint covers what is `deciding`."""
    text = json.dumps(deciding, sort_keys=True)
    return {
        "schema": 1,
        "kind": kind,
        "fingerprint": hashlib.sha256(text.encode()).hexdigest()[:16],
        "finished": False,
        "command": dict(command or {}),
        "config": dict(settings),
        **more,
        "versions": {"python": platform.python_version(), **{name: version(name) for name in packages}},
        "hardware": {
            "machine": platform.machine(),
            "system": platform.system(),
            "processor": _processor(),
            "cores": len(os.sched_getaffinity(0)),
        },
    }


def is_finished(out: Path, run: Mapping[str, Any], *, manner: Collection[str] = RUNTIME_OPTIONS) -> bool:
    """Whether `out` holds this very run, whole. Raises InputError where it holds something else."""
    if not (out / runfolder.RUN).exists():
        strangers = sorted(path.name for path in out.glob("[!.]*"))
        if strangers:
            what = f"is no run folder and is not empty (it holds {strangers[0]})"
            raise InputError(what, where=str(out), do="choose another folder for --out")
        return False
    held = runfolder.read_json(out / runfolder.RUN)
    if held.get("fingerprint") == run["fingerprint"]:
        if not held.get("finished"):
            return False
        if lost := [name for name in runfolder.WHOLE if not (out / name).exists()]:
            told = f"holds a finished run without its {', '.join(lost)}"
            raise InputError(told, where=str(out), do=runfolder.ANEW)
        return True
    if held.get("kind") != run["kind"]:
        told = f"holds a run of {held.get('kind')}"
        raise InputError(told, where=str(out), do="choose another folder, or delete this one")
    before, now = held.get("config", {}), json.loads(json.dumps(run["config"]))
    changed = [
        f"{name} {before.get(name)} → {now[name]}"
        for name in now
        if name not in manner and before.get(name) != now[name]
    ]
    whole = run.get("whole_kernels")
    if not changed and held.get("whole_kernels", whole) != whole:  # earlier versions did not tell
        ways = ("whole" if one.get("whole_kernels") else "approximated" for one in (held, run))
        told = "holds a run whose kernels are {}, and here they would be {}".format(*ways)
        raise InputError(told, where=str(out), do=f"give --memory as it was: {before.get('memory')}")
    raise InputError(
        f"holds another run ({', '.join(changed) or 'its clips, labels or states differ'})",
        where=str(out),
        do="choose another folder, or delete this one",
    )


def peak_memory() -> dict[str, int]:
    """Bytes: the most this process held, and the most that any one worker held."""
    return {
        "main": metering.peak_memory(resource.RUSAGE_SELF),
        "worker": metering.peak_memory(resource.RUSAGE_CHILDREN),
    }


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()


@dataclass(frozen=True, kw_only=True)
class RecordedRun:
    """What a run was made from; the columns as `embed.manifest.clips.read_manifest` takes them."""

    table: Path
    path_column: str | None
    speaker_column: str | None
    store: FeatureStore
    config: StudyConfig
    evaluation: EvaluationConfig


def read_recorded(record: Path, *, manner: dict[str, Any]) -> RecordedRun:
    """Read run.json, or the one of a run folder.

    manner: processes and storage of the new run, and its memory if that is not to be the recorded one.

    Raises InputError where it is no record of `classify`, or its store now holds other states.
    """
    path = record / "run.json" if record.is_dir() else record
    raw = read_json(path)
    known = {field.name for field in fields(StudyConfig)}
    try:
        told, command = raw["config"], raw["command"]
        settings: dict[str, Any] = {
            k: tuple(v) if isinstance(v, list) else v for k, v in told.items() if k not in RUNTIME_OPTIONS
        }
        table, folder, states = Path(command["table"]), Path(raw["store"]), raw["states"]
    except (KeyError, TypeError, AttributeError) as error:
        raise InputError(f"is no record of classify (no {error})", where=str(path)) from error
    if set(told) != known:
        odd = ", ".join(sorted(set(told) ^ known))
        raise InputError(f"was written by another version of layerprobe ({odd})", where=str(path))
    store = FeatureStore(folder)
    if store.extraction.fingerprint() != states:
        raise InputError(f"was made on states {states}, and {folder} holds others", where=str(path))
    return RecordedRun(
        table=table,
        path_column=command.get("path_column"),
        speaker_column=command.get("speaker_column"),
        store=store,
        config=StudyConfig(**{**settings, "memory": told["memory"], **manner}),
        # A run made before there were controls is repeated without them.
        evaluation=EvaluationConfig(
            audit=command.get("audit", False), controls=command.get("controls", "none")
        ),
    )
