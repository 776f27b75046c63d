"""What `classify` prints at the end of a study: the table, the selected system fold by fold, what to know."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from layerprobe.cache.common.console import print_json, print_table, say
from layerprobe.classify.audit.findings import count, span
from layerprobe.classify.controls.console import tell_trust
from layerprobe.classify.search.score_table import tell_scores

if TYPE_CHECKING:
    from layerprobe.classify.search.jobs import Plan

SHOWN = 12  # rows of the table; all are in results.csv and summary.json
NAMES = {"uar": "UAR", "accuracy": "accuracy", "macro_f1": "macro F1"}
FEW_SPEAKERS = 6  # below which an interval is half as wide again, and wider, for their number alone
PREPARATION = ("stats", "scaling", "pca")  # parameters of the input, told after the head's own


def tell_summary(out: Path, summary: Mapping[str, Any], *, as_json: bool) -> None:
    """The study's result: layers × heads by their metric, the selected system, what its reader must know."""
    if as_json:
        print_json({"out": out, **summary})
        return
    _tell_table(out, summary)
    print()
    _tell_selected(summary)
    print()
    tell_scores(summary)
    for line in remarks(summary):
        say(f"note: {line}")
    tell_trust(out, summary)
    print()
    _tell_memory(out)
    print(f"run folder  {out}")
    for path in sorted((out / "figures").glob("*.svg")):
        print(f"figure      {path}")


def tell_plan(plan: Plan) -> None:
    """What is about to be searched, with how many processes and within which memory."""
    from layerprobe.cache.common.space import human
    from layerprobe.classify.scores.selection import approximated

    config, studies = plan.config, plan.studies()
    layers, heads = (len({getattr(id, name) for id in studies}) for name in ("layer", "head"))
    pairs = len(studies) // len(plan.folds)
    told = count(layers, "layer"), count(heads, "head")
    # The mix of layers goes with heads on kernels alone.
    systems = " × ".join(told) if pairs == layers * heads else f"{pairs} pairs of {' and '.join(told)}"
    say(
        f"classify {plan.store.extraction.model}: {count(len(plan.folds), 'outer fold')} × {systems}, "
        f"{count(config.trials, 'trial')} each, {plan.jobs} process{'es' * (plan.jobs != 1)}, "
        f"at most {human(config.memory)} of shared work kept"
    )
    for line in approximated(plan):
        say(f"note: {line}")


def _tell_memory(out: Path) -> None:
    """What the processes held at most, beside what they were allowed to keep."""
    from layerprobe.cache.common.space import human
    from layerprobe.classify.runs.folder import RUN, read_json

    if not (out / RUN).is_file():
        return
    run = read_json(out / RUN)
    peak, jobs = run["peak_memory"], run["jobs"]
    workers = f" and {human(peak['worker'])} at most in each of {jobs} workers" if jobs > 1 else ""
    print(f"memory      {human(peak['main'])} in the main process{workers}; ", end="")
    print(f"shared work within {human(run['config']['memory'])}")


def remarks(summary: Mapping[str, Any]) -> list[str]:
    """What a reader of the score must know: what the split leaks, which clips are not in it, the notes."""
    told = []
    leaked = summary["audit"]["test_clips_of_training_speakers"]
    if leaked:
        told.append(
            f"{leaked:.1%} of the test clips are of speakers seen in training; the score says how well known "
            "voices are recognised, not new ones (--split speaker tells that)"
        )
    speakers = summary["data"]["speakers"]
    if speakers == 1:
        told.append("of a single speaker there are no intervals: nobody to resample")
    elif speakers and speakers < FEW_SPEAKERS:
        told.append(f"with only {speakers} speakers the intervals are wide: few tell little of new voices")
    excluded = summary["data"]["excluded"]
    if excluded["count"]:
        reasons = ", ".join(f"{clips} {reason}" for reason, clips in excluded["reasons"].items())
        told.append(f"{count(excluded['count'], 'clip')} in neither training nor test: {reasons}")
    return [*told, *summary["notes"]]


def short(params: Mapping[str, Any]) -> str:
    """Parameters in a few words, the head's own first: `rbf, C 3, gamma 1, balanced, mean+std`."""
    own = {name: value for name, value in params.items() if name not in PREPARATION}
    words = []
    for name, value in {**own, **params}.items():
        told = name.replace("_", " ")
        if value is True:
            words.append(told)
        elif value and value != "none":
            words.append(f"{told} {value:.3g}" if isinstance(value, float) else f"{told} {value}")
            if isinstance(value, str):
                words[-1] = value
    return ", ".join(words)


def _tell_table(out: Path, summary: Mapping[str, Any]) -> None:
    metric = summary["metric"]
    ranked = metric if all(metric in row for row in summary["layers"]) else "uar"  # as early runs told
    near = {(entry["layer"], entry["head"]) for entry in summary.get("near_best", ())}
    best = "best" if metric == "uar" else f"best ({NAMES[metric]})"
    rows = [
        {
            "layer": row["layer"],
            "head": row["head"],
            "UAR": row["uar"]["value"],
            "95 % interval": _interval(row["uar"]),
            **({} if ranked == "uar" else {NAMES[ranked]: row[ranked]["value"]}),
            "": f"within noise of the {best}" if (row["layer"], row["head"]) in near else "",
        }
        for row in sorted(summary["layers"], key=lambda row: -row[ranked]["value"])
    ]
    if metric == ranked:
        rows[0][""] = best
    print_table(rows[:SHOWN])
    if len(rows) > SHOWN:
        print(f"… and {len(rows) - SHOWN} more in {out / 'summary.json'}")
    if near:
        print(f"{len(near)} of {len(rows)} layers and heads are within noise of the best")


def _tell_selected(summary: Mapping[str, Any]) -> None:
    chosen = summary["selected"]
    folds = chosen["folds"]
    rows = [
        {
            "fold": fold["fold"],
            "layer": fold["layer"],
            "head": fold["head"],
            f"inner {NAMES[summary['metric']]}": fold["inner_score"],
            "UAR": fold["uar"],
            "parameters": short(fold["params"]),
        }
        for fold in folds
    ]
    _fit(rows, "parameters", shutil.get_terminal_size().columns)
    print("Chosen on inner folds, scored on the outer test part:")
    print_table(rows)
    print()
    agreed = {name: round(share * len(folds)) for name, share in chosen["stability"].items()}
    print(f"selected on inner folds, split: {chosen['split']}")
    if len(folds) > 1:
        print(
            f"  most often {chosen['head']} on layer {chosen['layer']}: {agreed['system']} of {len(folds)} "
            f"folds; same layer in {agreed['layer']}, same head in {agreed['head']}"
        )
    uar, accuracy = chosen["uar"], chosen["accuracy"]["value"]
    around = f" {_interval(uar)}".rstrip()
    print(f"  UAR {uar['value']:.3f}{around}, accuracy {accuracy:.3f}, chance {summary['chance']:.3f}")


def _fit(rows: list[dict[str, Any]], last: str, columns: int) -> None:
    """Cut the cells of the last column so that no line is wider than the terminal."""
    names = [name for name in rows[0] if name != last]
    widest = [max(len(name), *(len(_cell(row[name])) for row in rows)) for name in names]
    room = max(columns - sum(widest) - 2 * len(names), len(last))
    for row in rows:
        if len(row[last]) > room:
            row[last] = f"{row[last][: room - 1]}…"


def _cell(value: object) -> str:
    return f"{value:.3f}" if isinstance(value, float) else str(value)


def _interval(score: Mapping[str, Any]) -> str:
    return span(score.get("low"), score.get("high"))
