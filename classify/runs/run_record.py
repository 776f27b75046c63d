"""run.json: what a run is and which states it used; whether a folder holds it already; how to repeat it."""

from __future__ import annotations

import hashlib
import json
import os
import platform
import resource
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from importlib.metadata import version
from pathlib import Path
from typing import Any

from layerprobe.cache.common import metering
from layerprobe.cache.common.errors import InputError
from layerprobe.cache.store.feature_store import FeatureStore
from layerprobe.classify.config import LATER, RUNTIME_OPTIONS, EvaluationConfig, StudyConfig
from layerprobe.classify.layer_names import FUSION
from layerprobe.classify.runs.run_folder import (
    FINISHED_FILES,
    RESTORE_OR_RERUN,
    RUN,
    read_json,
    reporting_damage,
)
from layerprobe.classify.tasks.votes import join_votes
from layerprobe.embed.manifest.channels import stored_channels
from layerprobe.embed.manifest.clips import Clip, read_manifest

PACKAGES = ("numpy", "scipy", "scikit-learn", "xgboost", "optuna", "h5py", "torch")


def new_record(
    kind: str,
    *,
    deciding: Mapping[str, Any],
    settings: Mapping[str, Any],
    command: Mapping[str, Any] | None,
    packages: Sequence[str] = PACKAGES,
    **more: Any,
) -> dict[str, Any]:
    """run.json of a new run of some kind. deciding: what the results depend on; the fingerprint covers it."""
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


def recorded_settings(config: Any, *, later: Collection[str]) -> dict[str, Any]:
    """The options of a dataclass, without those of `later` that have their default.

    later: options that earlier versions did not record.
    """
    settings = asdict(config)
    defaults = {field.name: field.default for field in fields(config)}
    return {name: v for name, v in settings.items() if name not in later or v != defaults[name]}


def is_finished(out: Path, run: Mapping[str, Any], *, ignored: Collection[str] = RUNTIME_OPTIONS) -> bool:
    """Whether `out` holds this run, complete. Raises InputError if it holds something else.

    ignored: settings that may differ.
    """
    if not (out / RUN).exists():
        foreign = sorted(path.name for path in out.glob("[!.]*"))
        if foreign:
            what = f"is no run folder and is not empty (it holds {foreign[0]})"
            raise InputError(what, where=str(out), do="choose another folder for --out")
        return False
    previous = read_json(out / RUN)
    if previous.get("fingerprint") == run["fingerprint"]:
        if not previous.get("finished"):
            return False
        if missing := [name for name in FINISHED_FILES if not (out / name).exists()]:
            what = f"holds a finished run without its {', '.join(missing)}"
            raise InputError(what, where=str(out), do=RESTORE_OR_RERUN)
        return True
    do = "choose another folder, or delete this one"
    if previous.get("kind") != run["kind"]:
        raise InputError(f"holds a run of {previous.get('kind')}", where=str(out), do=do)
    before = previous.get("config", {})
    changed = _differences(previous, run, ignored=ignored)
    exact = run.get("whole_kernels")
    if not changed and previous.get("whole_kernels", exact) != exact:  # earlier versions did not record it
        was, is_now = ("exact" if one.get("whole_kernels") else "approximated" for one in (previous, run))
        what = f"holds a run whose kernels are {was}, and now they would be {is_now}"
        raise InputError(what, where=str(out), do=f"give --memory as it was: {before.get('memory')}")
    linear, were = (one.get("linear_only", []) for one in (run, previous))
    if not changed and linear != were:
        was, is_now = ("are left out" if one else "are searched" for one in (were, linear))
        what = f"holds a run in which RBF kernels {was}, and now they {is_now}"
        raise InputError(what, where=str(out), do=f"give --memory as it was: {before.get('memory')}")
    differences = ", ".join(changed) or "its clips, labels or speakers differ"
    raise InputError(f"holds another run ({differences})", where=str(out), do=do)


def _differences(
    previous: Mapping[str, Any], run: Mapping[str, Any], *, ignored: Collection[str]
) -> list[str]:
    """What a run.json and a new one differ in, as `name before → now`: model, states, table, settings."""
    commands = [one.get("command", {}) for one in (previous, run)]
    named = [{"model": one.get("model"), "states": one.get("states")} for one in (previous, run)]
    before, now = ({**a, "table": b.get("table")} for a, b in zip(named, commands, strict=True))
    if before["model"] != now["model"]:  # then the states differ too
        del now["states"]
    before |= previous.get("config", {})
    settings = json.loads(json.dumps(run["config"]))
    now |= {name: value for name, value in settings.items() if name not in ignored}
    now |= {name: None for name in before if name == "processes" and name not in now}  # of a fine-tuning
    return [f"{name} {before.get(name)} → {now[name]}" for name in now if before.get(name) != now[name]]


def peak_memory() -> dict[str, int]:
    """Peak memory in bytes of this process and of the largest worker."""
    return {
        "main": metering.peak_memory(resource.RUSAGE_SELF),
        "worker": metering.peak_memory(resource.RUSAGE_CHILDREN),
    }


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    names = (line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.processor())


@dataclass(frozen=True, kw_only=True)
class RecordedRun:
    """The inputs and settings of a run; the columns as `embed.manifest.clips.read_manifest` takes them."""

    table: Path
    path_column: str | None
    speaker_column: str | None
    store: FeatureStore
    config: StudyConfig
    evaluation: EvaluationConfig

    def read_clips(self) -> Sequence[Clip]:
        """The table's clips, as the store holds them."""
        clips = read_manifest(
            self.table,
            path_column=self.path_column,
            speaker_column=self.speaker_column,
            must_exist=False,
        )
        stored = stored_channels(clips, self.store)
        return join_votes(stored, self.config.target) if self.config.task == "soft" else stored


def read_recorded(path: Path, *, runtime: Mapping[str, Any]) -> RecordedRun:
    """Read run.json, or that of a run folder, to repeat the run.

    runtime: `jobs` and `storage` of the new run, and `memory` if it is not to be the recorded one.

    Raises InputError if it is not a record of `classify`, or if its store now holds other states.
    """
    path = path / RUN if path.is_dir() else path
    record = read_json(path)
    known = {field.name for field in fields(StudyConfig)}
    if record.get("kind") == FUSION:
        what = "is a run of several models, which --from cannot repeat"
        do = "give its command again; `bundle make` makes a bundle of each run in its folder models"
        raise InputError(what, where=str(path), do=do)
    try:
        config, command = record["config"], record["command"]
        settings: dict[str, Any] = {
            k: tuple(v) if isinstance(v, list) else v for k, v in config.items() if k not in RUNTIME_OPTIONS
        }
        table, folder, states = Path(command["table"]), Path(record["store"]), record["states"]
    except (KeyError, TypeError, AttributeError) as error:
        raise InputError(f"is not a record of classify (no {error})", where=str(path)) from error
    if differing := ", ".join(sorted({*config, *LATER} ^ known)):
        raise InputError(f"was written by another version of layerprobe ({differing})", where=str(path))
    store = FeatureStore(folder)
    if store.extraction.fingerprint() != states:
        raise InputError(f"was made on states {states}, and {folder} holds others", where=str(path))
    with reporting_damage(path):
        return RecordedRun(
            table=table,
            path_column=command.get("path_column"),
            speaker_column=command.get("speaker_column"),
            store=store,
            config=StudyConfig(**{**settings, "memory": config["memory"], **runtime}),
            # A run of an earlier version, without controls, is repeated without them.
            evaluation=EvaluationConfig(
                audit=command.get("audit", False), controls=command.get("controls", "none")
            ),
        )
