"""`print_summary`: everything `classify` prints about a finished run, with its audit and controls."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from layerprobe.cache.common.console import print_json, print_table, say
from layerprobe.cache.common.text import format_bytes, format_count
from layerprobe.classify.config import BASELINES, Metric, main_metric, task_of
from layerprobe.classify.controls.probes.tables import joined, print_probes
from layerprobe.classify.score_names import SCORE_NAMES, score_interval, score_text
from layerprobe.classify.search.console import (
    print_curve,
    print_ranking,
    print_scores,
    print_selected,
    remarks,
)

SHOWN_WEIGHTS = 12
OWN = "clips of each class of the test speaker beside the training clips"
FEW_MOVABLE = 0.5  # share of training clips below which shuffling within speakers changes too little


def print_summary(out: Path, summary: Mapping[str, Any], *, as_json: bool) -> None:
    """Print the result of the run in `out`: layers × heads, the selected system, its evaluation."""
    if as_json:
        print_json({"out": out, **summary})
        return
    from layerprobe.classify.runs.bundle_files import BUNDLE, MANIFEST  # imports numpy
    from layerprobe.classify.runs.run_folder import RUN, SUMMARY, reporting_damage

    with reporting_damage(out / SUMMARY):
        if "quick" in summary:
            print_curve(summary)
        else:
            print_ranking(out, summary)
            print()
            print_selected(summary)
            print()
            print_layer_weights(summary)
            print_scores(summary)
        for line in remarks(summary):
            say(f"note: {line}")
        _print_protocol(summary.get("protocol"))
        _print_audit(out, summary["audit"])
        _print_controls(summary)
    print()
    with reporting_damage(out / RUN):
        _print_memory(out)
    print(f"run folder  {out}")
    if (out / BUNDLE / MANIFEST).is_file():
        print(f"bundle      {out / BUNDLE}")
    for path in sorted((out / "figures").glob("*.svg")):
        print(f"figure      {path}")


def _print_protocol(protocol: Mapping[str, Any] | None) -> None:
    if protocol is None:
        return
    name, deviations = protocol["name"], "; ".join(protocol["deviations"])
    say(f"note: protocol {name} leaks: {protocol['leaks']}")
    if deviations:
        say(f"note: this is not {name} as published, so published scores do not compare: {deviations}")


def _print_audit(out: Path, audit: Mapping[str, Any]) -> None:
    if "verdict" not in audit:
        return
    items = {
        verdict: ", ".join(finding["item"] for finding in audit["findings"] if finding["verdict"] == verdict)
        for verdict in ("leak", "look")
    }
    verdicts = "; ".join(f"{verdict}: {names}" for verdict, names in items.items() if names) or "fine"
    say(f"audit: {verdicts}; see {out / 'audit.json'}")


def _print_controls(summary: Mapping[str, Any]) -> None:
    controls, metric = summary.get("controls", {}), main_metric(summary)
    if "shuffled" not in controls:
        return
    shuffled = controls["shuffled"]
    rows = [_control("selected", summary["selected"], metric)]
    rows += [
        _control(run["model"], run, metric, run["selected_minus_it"]) for run in controls.get("runs", ())
    ]
    rows.append(_control("shuffled labels", shuffled, metric, shuffled["selectivity"]))
    rows[-1]["95 % interval"] = f"± {shuffled[metric]['sd']:.3f}"
    key, name = BASELINES[task_of(summary)]
    rows.append(_control(name, controls[key], metric))
    print()
    print_table(rows)
    if shuffled["movable"] < FEW_MOVABLE:
        say(
            f"note: labels are shuffled within each speaker, and {1 - shuffled['movable']:.0%} of the "
            "training clips are from speakers with one label only, which cannot change: the control is weak"
        )
    print()
    print_probes(joined(*(controls[name] for name in ("probes", "acoustics") if name in controls)))
    curve = controls.get("learning_curve", {"points": ()})
    for point in curve["points"]:
        of, score = curve["of"], point[metric]
        spread = "" if score["sd"] is None else f" ± {score['sd']:.3f} over {point['draws']} draws"
        size = f"{point['share']:.0%} of the training {of} ({point[of]:.0f})"
        print(f"with {size}: {SCORE_NAMES[metric]} {score['value']:.3f}{spread}")
    shots = controls.get("few_shot", {"clips": (), "own_clips": ()})
    for what, points in (("training clips of each class", shots["clips"]), (OWN, shots["own_clips"] or ())):
        for point in points:
            score = point["uar"]
            of = what.replace("clips", "clip", 1) if point["shots"] == 1 else what
            print(f"with {point['shots']} {of}: UAR {score['value']:.3f} ± {score['sd']:.3f}")


def _control(
    name: str, scores: Mapping[str, Any], metric: Metric, difference: Mapping[str, Any] | None = None
) -> dict[str, object]:
    """One row of the table of controls."""
    score = scores[metric]
    change = "" if difference is None else score_text(difference, sign="+")
    return {
        "control": name,
        SCORE_NAMES[metric]: score["value"],
        "95 % interval": score_interval(score),
        "selected minus control": change,
    }


def _print_memory(out: Path) -> None:
    """Peak memory of the processes, next to the budget for shared work."""
    from layerprobe.classify.runs.run_folder import RUN, read_json  # loads numpy

    if not (out / RUN).is_file():
        return
    run = read_json(out / RUN)
    peak, jobs = run["peak_memory"], run["jobs"]
    workers = f" and {format_bytes(peak['worker'])} at most in each of {jobs} workers" if jobs > 1 else ""
    budget = format_bytes(run["config"]["memory"])
    print(
        f"memory      {format_bytes(peak['main'])} in the main process{workers}; shared work within {budget}"
    )


def print_layer_weights(summary: Mapping[str, Any]) -> None:
    """Print the weights that a head learnt for the layers, if one did, largest first."""
    learnt = summary.get("layer_weights")
    if learnt is None:
        return
    ranked = sorted(learnt["layers"], key=lambda entry: -entry["weight"]["value"])
    rows = [
        {
            "layer": entry["layer"],
            "weight": entry["weight"]["value"],
            "95 % interval": score_interval(entry["weight"]),
        }
        for entry in ranked[:SHOWN_WEIGHTS]
    ]
    folds = format_count(len(learnt["folds"]), "outer fold")
    print_table(rows, title=f"Weights of layers that {learnt['head']} learnt, mean of {folds}:")
    if len(ranked) > SHOWN_WEIGHTS:
        print(f"… and {len(ranked) - SHOWN_WEIGHTS} smaller ones in summary.json")
    print()
