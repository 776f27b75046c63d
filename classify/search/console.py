"""What `classify` prints at the end of a study: the table, the selected system fold by fold, what to know."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from layerprobe.cache.common.console import print_table, say
from layerprobe.cache.common.text import format_bytes, format_count, format_interval

if TYPE_CHECKING:
    from layerprobe.classify.search.plan import Plan

SCORES = {
    "uar": "UAR",
    "accuracy": "accuracy",
    "macro_f1": "macro F1",
    "log_loss": "log loss",
    "calibration_error": "calibration error",
}

SHOWN = 12  # rows of the table; all are in results.csv and summary.json
NAMES = {"uar": "UAR", "accuracy": "accuracy", "macro_f1": "macro F1"}
FEW_SPEAKERS = 6  # below which an interval is half as wide again, and wider, for their number alone
PREPARATION = ("stats", "scaling", "pca")  # parameters of the input, told after the head's own


def print_plan(plan: Plan) -> None:
    """What is about to be searched, with how many processes and within which memory."""
    from layerprobe.classify.search.summary import approximated

    config, studies = plan.config, plan.studies()
    layers, heads = (len({getattr(id, name) for id in studies}) for name in ("layer", "head"))
    pairs = len(studies) // len(plan.folds)
    told = format_count(layers, "layer"), format_count(heads, "head")
    # The mix of layers goes with heads on kernels alone.
    systems = " × ".join(told) if pairs == layers * heads else f"{pairs} pairs of {' and '.join(told)}"
    say(
        f"classify {plan.store.extraction.model}: {format_count(len(plan.folds), 'outer fold')} × {systems}, "
        f"{format_count(config.trials, 'trial')} each, {plan.jobs} process{'es' * (plan.jobs != 1)}, "
        f"at most {format_bytes(config.memory)} of shared work kept"
    )
    for line in approximated(plan):
        say(f"note: {line}")


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
        told.append(f"{format_count(excluded['count'], 'clip')} in neither training nor test: {reasons}")
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
    return format_interval(score.get("low"), score.get("high"))


def print_scores(summary: Mapping[str, Any]) -> None:
    """Print the selected system's scores, and how each class fares."""
    chosen, known = summary["selected"], summary["data"]["speakers"]
    rows = [_score(chosen, name, speakers=bool(known)) for name in SCORES]
    over = "speakers" if known else "clips"
    print_table(rows, title=f"Scores of the selected system; [95 % over {over}], ± s.d. of the folds:")
    print()
    plain, confused = _classes(chosen, answers=False), _classes(chosen, answers=True)
    if _width(confused) <= shutil.get_terminal_size().columns:
        print_table(
            confused, title="Each class, folds pooled; what it was taken for, and the share of its clips:"
        )
    else:
        print_table(plain, title="Each class, folds pooled; what it was taken for is in summary.json:")
    print()


def _score(chosen: Mapping[str, Any], name: str, *, speakers: bool) -> dict[str, object]:
    """One row: the score of all folds' test clips together, its mean over folds, its mean over speakers."""
    row: dict[str, object] = {"score": SCORES[name], "folds pooled": _told(chosen[name])}
    if len(chosen["folds"]) > 1:
        by_fold = chosen["over_folds"].get(name)  # an early run has no such mean of the last two
        row["mean of folds"] = "" if by_fold is None else f"{by_fold['mean']:.3f} ± {by_fold['sd']:.3f}"
    if speakers:
        mean = chosen["over_speakers"].get(name)
        row["mean of speakers"] = "" if mean is None else _told(mean)
    return row


def _told(score: Mapping[str, Any] | float) -> str:
    """`0.558 [0.503, 0.622]`, or a score that has no interval."""
    if not isinstance(score, Mapping):
        return f"{score:.3f}"
    return f"{score['value']:.3f} {format_interval(score['low'], score['high'])}".rstrip()


def _classes(chosen: Mapping[str, Any], *, answers: bool) -> list[dict[str, object]]:
    names = [entry["class"] for entry in chosen["classes"]]
    rows = []
    for place, entry in enumerate(chosen["classes"]):
        row: dict[str, object] = {name: entry[name] for name in ("class", "clips", "recall", "precision")}
        if answers:
            counts, rates = (chosen["confusion"][kind][place] for kind in ("counts", "rates"))
            for name, format_count, rate in zip(names, counts, rates, strict=True):
                row[f"as {name}"] = f"{format_count} ({rate:.2f})"
        rows.append(row)
    return rows


def _width(rows: list[dict[str, object]]) -> int:
    """Columns that a table takes on a terminal."""
    told = [
        list(rows[0]),
        *([str(v) if not isinstance(v, float) else "0.000" for v in r.values()] for r in rows),
    ]
    return sum(max(map(len, column)) + 2 for column in zip(*told, strict=True)) - 2
