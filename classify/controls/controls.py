"""The controls of a finished run: each in a file of its own, made once, together in the summary."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from layerprobe.classify.config import TrustConfig
from layerprobe.classify.controls.baselines import rivals_of
from layerprobe.classify.controls.checkpoint import clear
from layerprobe.classify.controls.learning_curve import label_economy
from layerprobe.classify.controls.probe_targets import usual_columns
from layerprobe.classify.controls.probes import probe_columns
from layerprobe.classify.controls.refit import chosen_of
from layerprobe.classify.controls.shuffled_labels import shuffled_labels
from layerprobe.classify.runs import folder as runfolder
from layerprobe.classify.search.jobs import Plan
from layerprobe.embed.manifest.clips import Clip

FOLDER = "controls"


def controls_of(
    out: Path, plan: Plan, clips: Sequence[Clip], summary: Mapping[str, Any], trust: TrustConfig
) -> dict[str, Any]:
    """What `trust` asks for, made where it is not there yet.

    out: the run. The runs beside it, if any, lie in `out/controls`; see `classify.controls.baselines`.
    """
    folder = out / FOLDER
    if trust.controls == "none":
        return {}
    chosen = chosen_of(summary)
    told: dict[str, Any] = {
        "shuffled": _once(folder, "shuffled", lambda: shuffled_labels(out, folder, plan, chosen)),
        "probes": _once(folder, "probes", lambda: _probes(folder, plan, clips)),
    }
    if trust.controls == "full":
        told["economy"] = _once(folder, "economy", lambda: label_economy(folder, plan, chosen))
        told["runs"] = rivals_of(out, folder, plan)
    clear(folder)
    return told


def _once(folder: Path, name: str, make: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    file = folder / f"{name}.json"
    if not file.exists():
        folder.mkdir(exist_ok=True)
        runfolder.write_json(file, make())
    return runfolder.read_json(file)


def _probes(folder: Path, plan: Plan, clips: Sequence[Clip]) -> dict[str, Any]:
    names = usual_columns(clips, plan.config.target)
    return probe_columns(folder, plan.store, plan.data, clips, names, jobs=plan.jobs, seed=plan.config.seed)
