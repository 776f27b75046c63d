"""How a run was made: its configuration, versions and inputs, and the command that repeats it."""

from __future__ import annotations

import shlex
from dataclasses import asdict
from typing import Any

from layerprobe.cache.common.text import program
from layerprobe.classify.config import RUNTIME_OPTIONS, StudyConfig
from layerprobe.classify.finetune.config import FinetuneConfig
from layerprobe.classify.layer_names import FUSION
from layerprobe.classify.report.run_data import RunData
from layerprobe.classify.report.tables import Table
from layerprobe.classify.runs.run_folder import RUN


def settings(run: RunData) -> list[Table]:
    """Configuration, versions and machine: for the page alone."""
    facts = {
        name: run.record.get(name) for name in ("kind", "model", "states", "store", "revision", "weights")
    }
    facts |= {
        "table": (run.record.get("command") or {}).get("table"),
        "precision": run.record.get("precision"),
    }
    seconds = {f"seconds of {name}": f"{value:.1f}" for name, value in run.record.get("seconds", {}).items()}
    listed = {
        "configuration": ("Configuration", run.record["config"]),
        "inputs": ("Inputs and machine", {**facts, **run.record.get("hardware", {}), **seconds}),
        "versions": ("Versions", run.record.get("versions", {})),
    }
    return [
        Table(
            name=name,
            title=title,
            columns=("name", "value"),
            rows=[[k, text] for k, v in values.items() if (text := _plain(v))],
        )
        for name, (title, values) in listed.items()
    ]


def repeat_command(run: RunData) -> str:
    """The command that makes the run again."""
    if run.record.get("kind") == FUSION:
        return _repeat_fusion(run)
    if not run.finetuned:
        words = ["classify", "--from", str(run.folder / RUN), "--out", "NEW_FOLDER"]
        return f"{program()} {shlex.join(words)}"
    command, config = run.record.get("command") or {}, run.record["config"]
    words = ["finetune", command.get("table", "TABLE"), "--model", run.record["model"]]
    words += ["--splits", command.get("splits", "SPLITS"), "--out", "NEW_FOLDER"]
    given = {k: v for k, v in command.items() if k in ("path_column", "speaker_column", "revision") and v}
    defaults = vars(FinetuneConfig())
    given |= {k: v for k, v in config.items() if k != "split" and k in defaults and v != defaults[k]}
    for name, value in given.items():
        option = f"--{name.replace('_', '-')}"
        if isinstance(value, bool):
            words.append(option if value else f"--no-{option[2:]}")
        else:
            words += [option, str(value)]
    return f"{program()} {shlex.join(words)}"


def _repeat_fusion(run: RunData) -> str:
    command, config, defaults = run.record.get("command") or {}, run.record["config"], asdict(StudyConfig())
    words = ["classify", command.get("table", "TABLE"), "--model", ",".join(run.record["models"])]
    words += ["--fuse", config["fuse"], "--out", "NEW_FOLDER"]
    changed = {k: v for k, v in config.items() if k in defaults and v != _as_json(defaults[k])}
    for name, value in changed.items():
        if name not in RUNTIME_OPTIONS:
            text = ",".join(value) if isinstance(value, list) else str(value)
            words += [f"--{name.replace('_', '-')}", text]
    return f"{program()} {shlex.join(words)}"


def _as_json(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


def _plain(value: Any) -> str:
    if value is None:
        return ""
    return ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
