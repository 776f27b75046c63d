"""Parts of the output of `classify`: plan, ranking, selected system, scores."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from layerprobe.cache.common.console import print_table, say
from layerprobe.cache.common.text import format_bytes, format_count
from layerprobe.classify.config import METRICS, main_metric, task_of
from layerprobe.classify.score_names import SCORE_NAMES, score_interval, score_text

if TYPE_CHECKING:
    from layerprobe.classify.search.plan import Plan

PROBABILITY_SCORES = ("log_loss", "calibration_error")
SHOWN_ROWS = 12  # of the ranking; all are in results.csv and summary.json
BAR = 24  # characters of the longest bar
FEW_SPEAKERS = 6  # below it, an interval is wider by half or more because of their number alone
PREPROCESSING = ("stats", "scaling", "pca", "sampling")  # parameters printed after the head's own


def print_plan(plan: Plan) -> None:
    """Print what is searched, with how many workers and within how much memory."""
    from layerprobe.classify.data.spellings import spelling_notes
    from layerprobe.classify.search.strategies.halving import first_trials
    from layerprobe.classify.search.summary import approximation_notes, streaming_notes

    config, studies = plan.config, plan.studies()
    layers, heads = (len({getattr(id, name) for id in studies}) for name in ("layer", "head"))
    pairs = len(studies) // len(plan.folds)
    counts = format_count(layers, "layer"), format_count(heads, "head")
    systems = " × ".join(counts) if pairs == layers * heads else f"{pairs} pairs of {' and '.join(counts)}"
    study = f"classify {plan.store.extraction.model}: {format_count(len(plan.folds), 'outer fold')}"
    if config.quick:
        say(f"{study} × {counts[0]}, a fixed linear probe each")
    else:
        first, trials = first_trials(plan), format_count(config.trials, "trial")
        say(
            f"{study} × {systems}, {f'{first} to ' * (first < config.trials)}{trials} each, "
            f"{plan.jobs} process{'es' * (plan.jobs != 1)}, "
            f"at most {format_bytes(config.memory)} for shared arrays"
        )
    data = plan.data
    spellings = spelling_notes(target=config.target, labels=data.classes, speakers=data.speaker_names)
    for line in [data.note, *spellings, *approximation_notes(plan), *streaming_notes(plan)]:
        if line:
            say(f"note: {line}")


def remarks(summary: Mapping[str, Any]) -> list[str]:
    """What limits the score: leaks of the split, few speakers, excluded clips, the summary's notes."""
    lines = []
    leaked = summary["audit"]["test_clips_of_training_speakers"]
    if leaked:
        lines.append(
            f"{leaked:.1%} of the test clips are of speakers seen in training; the score holds for known "
            "speakers, not for new ones (--split speaker measures that)"
        )
    speakers = summary["data"]["speakers"]
    if speakers == 1:
        lines.append("a single speaker cannot be resampled: there are no intervals")
    elif speakers and speakers < FEW_SPEAKERS:
        lines.append(
            f"with only {speakers} speakers the intervals are wide: they say little about new speakers"
        )
    excluded = summary["data"]["excluded"]
    if excluded["count"]:
        reasons = ", ".join(f"{clips} {reason}" for reason, clips in excluded["reasons"].items())
        lines.append(f"{format_count(excluded['count'], 'clip')} in neither training nor test: {reasons}")
    return [*lines, *summary["notes"]]


def format_params(params: Mapping[str, Any]) -> str:
    """Parameters in short, the head's own first: `rbf, C 3, gamma 1, balanced, mean+std`."""
    words = []
    for name, value in sorted(params.items(), key=lambda item: item[0] in PREPROCESSING):
        label = name.replace("_", " ")
        if value is True:
            words.append(label)
        elif isinstance(value, str):
            words += [value] if value not in ("", "none") else []
        elif value:
            words.append(f"{label} {value:.3g}" if isinstance(value, float) else f"{label} {value}")
    return ", ".join(words)


def print_ranking(out: Path, summary: Mapping[str, Any]) -> None:
    """Print layers and heads, best first."""
    metric, main = summary["metric"], main_metric(summary)
    ranked = metric if all(metric in row for row in summary["layers"]) else main  # as early versions wrote it
    near = {(entry["layer"], entry["head"]) for entry in summary.get("near_best", ())}
    best = "best" if metric == main else f"best ({SCORE_NAMES[metric]})"
    rows = [
        {
            "layer": row["layer"],
            "head": row["head"],
            SCORE_NAMES[main]: row[main]["value"],
            "95 % interval": score_interval(row[main]),
            **({} if ranked == main else {SCORE_NAMES[ranked]: row[ranked]["value"]}),
            "": f"within noise of the {best}" if (row["layer"], row["head"]) in near else "",
        }
        for row in sorted(summary["layers"], key=lambda row: -row[ranked]["value"])
    ]
    if metric == ranked:
        rows[0][""] = best
    print_table(rows[:SHOWN_ROWS])
    if len(rows) > SHOWN_ROWS:
        print(f"… and {len(rows) - SHOWN_ROWS} more in {out / 'summary.json'}")
    if near:
        print(f"{len(near)} of {len(rows)} layers and heads are within noise of the best")


def print_curve(summary: Mapping[str, Any]) -> None:
    """Print the layers of a quick look in their order, each with a bar from chance to the best score."""
    metric, main, selected = summary["metric"], main_metric(summary), summary["selected"]
    best, chance = max(row[main]["value"] for row in summary["layers"]), summary["chance"]
    rows = []
    for row in summary["layers"]:
        share = (row[main]["value"] - chance) / max(best - chance, 1e-9)
        extra = {} if metric == main else {SCORE_NAMES[metric]: row[metric]["value"]}
        bar = "█" * max(round(BAR * share), 0)
        rows.append(
            {
                "layer": row["layer"],
                SCORE_NAMES[main]: row[main]["value"],
                "95 % interval": score_interval(row[main]),
                **extra,
                f"from chance, {chance:.3f}": bar,
            }
        )
    print_table(rows)
    print()
    folds, chosen = len(selected["folds"]), f"layer {selected['layer']}"
    if folds > 1:
        chosen += f" in {round(selected['stability']['layer'] * folds)} of {folds} folds"
    print(f"chosen on inner folds ({chosen}): {SCORE_NAMES[main]} {score_text(selected[main])}")


def print_selected(summary: Mapping[str, Any]) -> None:
    """Print the selected system, fold by fold, and how stable the selection is."""
    from layerprobe.classify.scores.results import system_label  # imports numpy

    selected, main = summary["selected"], main_metric(summary)
    folds = selected["folds"]
    rows = [
        {
            "fold": fold["fold"],
            "layer": fold["layer"],
            "head": fold["head"],
            f"inner {SCORE_NAMES[summary['metric']]}": fold["inner_score"],
            SCORE_NAMES[main]: fold[main],
            "parameters": format_params(fold["params"]),
        }
        for fold in folds
    ]
    # Parameters are cut so that no line is wider than the terminal.
    others = [{name: value for name, value in row.items() if name != "parameters"} for row in rows]
    width = max(shutil.get_terminal_size().columns - _width(others) - 2, len("parameters"))
    for row in rows:
        if len(row["parameters"]) > width:
            row["parameters"] = f"{row['parameters'][: width - 1]}…"
    print("Chosen on inner folds, scored on the outer test partition:")
    print_table(rows)
    print()
    agreed = {name: round(share * len(folds)) for name, share in selected["stability"].items()}
    print(f"selected on inner folds, split: {selected['split']}")
    if len(folds) > 1:
        print(
            f"  most often {system_label(selected['layer'], selected['head'])}: {agreed['system']} of "
            f"{len(folds)} folds; same layer in {agreed['layer']}, same head in {agreed['head']}"
        )
    second = METRICS[task_of(summary)][1]
    print(
        f"  {SCORE_NAMES[main]} {score_text(selected[main])}, {SCORE_NAMES[second]} "
        f"{selected[second]['value']:.3f}, chance {summary['chance']:.3f}"
    )


def print_scores(summary: Mapping[str, Any]) -> None:
    """Print the selected system's scores, and of classes recall, precision and confusions of each."""
    selected, speakers = summary["selected"], bool(summary["data"]["speakers"])
    names = [name for name in (*METRICS[task_of(summary)], *PROBABILITY_SCORES) if name in selected]
    rows = [_score_row(selected, name, speakers=speakers) for name in names]
    over = "speakers" if speakers else "clips"
    print_table(rows, title=f"Scores of the selected system; [95 % over {over}], ± s.d. of the folds:")
    print()
    if "labels" in selected:
        print_table(selected["labels"], title="Each label, folds pooled; ap is average precision:")
        print()
        return
    if "classes" not in selected:
        print_table([{"": name, **selected[name]} for name in ("true", "predicted")])
        print()
        return
    title = "Each class, folds pooled; what its clips were predicted as, and the share of its clips:"
    with_confusions = _class_rows(selected, confusions=True)
    if _width(with_confusions) <= shutil.get_terminal_size().columns:
        print_table(with_confusions, title=title)
    else:
        print_table(_class_rows(selected, confusions=False), title="Each class, folds pooled:")
        print()
        print_table(_confusion_rows(selected), title="Clips of each class (row) by predicted class:")
    print()


def _score_row(selected: Mapping[str, Any], name: str, *, speakers: bool) -> dict[str, object]:
    """One score: of all test clips pooled, its mean over folds, its mean over speakers."""
    row: dict[str, object] = {"score": SCORE_NAMES[name], "folds pooled": score_text(selected[name])}
    if len(selected["folds"]) > 1:
        mean = selected["over_folds"].get(name)  # early versions lack the last two
        row["mean of folds"] = "" if mean is None else f"{mean['mean']:.3f} ± {mean['sd']:.3f}"
    if speakers:
        mean = selected["over_speakers"].get(name)
        row["mean of speakers"] = "" if mean is None else score_text(mean)
    return row


def _class_rows(selected: Mapping[str, Any], *, confusions: bool) -> list[dict[str, object]]:
    names = [entry["class"] for entry in selected["classes"]]
    rows = []
    for place, entry in enumerate(selected["classes"]):
        row: dict[str, object] = {name: entry[name] for name in ("class", "clips", "recall", "precision")}
        if confusions:
            counts, rates = (selected["confusion"][kind][place] for kind in ("counts", "rates"))
            for name, count, rate in zip(names, counts, rates, strict=True):
                row[f"as {name}"] = f"{count} ({rate:.2f})"
        rows.append(row)
    return rows


def _confusion_rows(selected: Mapping[str, Any]) -> list[dict[str, object]]:
    """Counts for many classes: columns have the class's number and as much of its name as fits."""
    names, counts = [entry["class"] for entry in selected["classes"]], selected["confusion"]["counts"]
    room = shutil.get_terminal_size().columns - max(map(len, names)) - 4
    width = max(room // len(names) - 5, 0)  # three spaces, and the number
    columns = [f"{number} {name[:width]}".rstrip() for number, name in enumerate(names, 1)]
    return [
        {"class": f"{number} {name}", **dict(zip(columns, row, strict=True))}
        for number, (name, row) in enumerate(zip(names, counts, strict=True), 1)
    ]


def _width(rows: list[dict[str, Any]]) -> int:
    """Columns of a printed table."""
    cells = [[f"{v:.3f}" if isinstance(v, float) else str(v) for v in row.values()] for row in rows]
    return sum(max(map(len, column)) + 2 for column in zip(list(rows[0]), *cells, strict=True)) - 2
