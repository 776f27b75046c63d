"""What `classify` says beside a score: its protocol, its audit, its controls."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from layerprobe.cache.common.console import print_json, print_table, say
from layerprobe.cache.common.text import format_bytes, format_interval
from layerprobe.classify.search.console import _tell_selected, _tell_table, print_scores, remarks

MOVABLE = 0.5  # share of training clips below which shuffling within speakers changes too little


def print_evaluation(out: Path, summary: Mapping[str, Any]) -> None:
    """Print what a reader needs to judge the score of the run in `out`."""
    _tell_protocol(summary.get("protocol"))
    _tell_audit(out, summary["audit"])
    _tell_controls(summary)


def _tell_protocol(protocol: Mapping[str, Any] | None) -> None:
    if protocol is None:
        return
    say(f"note: protocol {protocol['name']} leaks: {protocol['leaks']}")
    if protocol["deviations"]:
        told = "; ".join(protocol["deviations"])
        say(f"note: this is not {protocol['name']} as published, so others' scores do not compare: {told}")


def _tell_audit(out: Path, audit: Mapping[str, Any]) -> None:
    if "verdict" not in audit:
        return
    named = {
        verdict: ", ".join(found["item"] for found in audit["findings"] if found["verdict"] == verdict)
        for verdict in ("leak", "look")
    }
    told = "; ".join(f"{verdict}: {items}" for verdict, items in named.items() if items) or "fine"
    say(f"audit: {told}; see {out / 'audit.json'}")


def _tell_controls(summary: Mapping[str, Any]) -> None:
    controls = summary.get("controls", {})
    if "shuffled" not in controls:
        return
    shuffled, majority = controls["shuffled"], controls["majority"]["uar"]
    spread = f"± {shuffled['uar']['sd']:.3f}"
    rows = [
        ("selected", summary["selected"]["uar"]["value"], interval(summary["selected"]["uar"]), None),
        *(
            (run["model"], run["uar"]["value"], interval(run["uar"]), run["selected_minus_it"])
            for run in controls.get("runs", ())
        ),
        ("shuffled labels", shuffled["uar"]["value"], spread, shuffled["selectivity"]),
        ("majority class", majority["value"], "", None),
    ]
    print()
    print_table(
        [
            {
                "control": name,
                "UAR": value,
                "95 % interval": around,
                "selected minus it": "" if apart is None else f"{apart['value']:+.3f} {interval(apart)}",
            }
            for name, value, around, apart in rows
        ]
    )
    if shuffled["movable"] < MOVABLE:
        say(
            f"note: labels are shuffled within each speaker, and {1 - shuffled['movable']:.0%} of the "
            "training clips are of speakers with one class only, whose labels stay: the control is weak"
        )
    print()
    print_probes(controls["probes"])
    for point in controls.get("economy", {}).get("points", ()):
        of, score = controls["economy"]["of"], point["uar"]
        spread = "" if score["sd"] is None else f" ± {score['sd']:.3f} over {point['draws']} draws"
        print(
            f"with {point['share']:.0%} of the training {of} ({point[of]:.0f}): "
            f"UAR {score['value']:.3f}{spread}"
        )


def print_probes(probes: Mapping[str, Any]) -> None:
    """One row for each thing that linear probes looked for: where in the layers it is found best."""
    rows = []
    for target in probes["targets"]:
        layers = target["layers"]
        best = max(layers, key=lambda entry: entry["uar"]["value"])
        rows.append(
            {
                "linear probe for": target["target"],
                "classes": target["classes"],
                "chance": target["chance"],
                f"layer {layers[0]['layer']}": layers[0]["uar"]["value"],
                f"layer {layers[-1]['layer']}": layers[-1]["uar"]["value"],
                "best": best["uar"]["value"],
                "95 % interval": interval(best["uar"]),
                "on layer": best["layer"],
            }
        )
    print_table(rows)
    for name, reason in probes["left_out"].items():
        say(f"note: no probe for {name}: {reason}")


def interval(score: Mapping[str, Any]) -> str:
    """`[0.412, 0.538]`; empty where there is none."""
    return format_interval(score.get("low"), score.get("high"))


def print_summary(out: Path, summary: Mapping[str, Any], *, as_json: bool) -> None:
    """The study's result: layers × heads by their metric, the selected system, what its reader must know."""
    if as_json:
        print_json({"out": out, **summary})
        return
    _tell_table(out, summary)
    print()
    _tell_selected(summary)
    print()
    print_scores(summary)
    for line in remarks(summary):
        say(f"note: {line}")
    print_evaluation(out, summary)
    print()
    _tell_memory(out)
    print(f"run folder  {out}")
    for path in sorted((out / "figures").glob("*.svg")):
        print(f"figure      {path}")


def _tell_memory(out: Path) -> None:
    """What the processes held at most, beside what they were allowed to keep."""
    from layerprobe.classify.runs.folder import RUN, read_json

    if not (out / RUN).is_file():
        return
    run = read_json(out / RUN)
    peak, jobs = run["peak_memory"], run["jobs"]
    workers = f" and {format_bytes(peak['worker'])} at most in each of {jobs} workers" if jobs > 1 else ""
    print(f"memory      {format_bytes(peak['main'])} in the main process{workers}; ", end="")
    print(f"shared work within {format_bytes(run['config']['memory'])}")
