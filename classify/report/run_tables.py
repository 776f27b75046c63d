"""The tables of a report, from what a run folder holds."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from layerprobe.classify.config import BASELINES, METRICS, task_of
from layerprobe.classify.report.figures.system_charts import speaker_scores
from layerprobe.classify.report.hardest import hardest
from layerprobe.classify.report.probe_tables import probe_tables
from layerprobe.classify.report.run_data import RunData
from layerprobe.classify.report.tables import INTERVAL, Cell, Table
from layerprobe.classify.score_names import SCORE_NAMES, score_interval, score_text
from layerprobe.classify.search.console import format_params

VERDICTS = ("leak", "look", "fine")


def run_tables(run: RunData) -> list[Table]:
    """The tables of results that the run has data for; they are also written as LaTeX and Markdown."""
    made = [scores(run), layers(run), layer_weights(run), folds(run), controls(run), *probe_tables(run)]
    made += [fusion(run), classes(run), confusions(run), speakers(run), hardest(run), audit(run)]
    return [table for table in made if table is not None]


def scores(run: RunData) -> Table:
    """The selected system's scores: folds pooled, mean of folds, mean of speakers."""
    selected = run.summary["selected"]
    rows: list[list[Cell]] = []
    for name in METRICS[task_of(run.summary)]:
        over_folds = selected["over_folds"].get(name)  # early versions lack some
        over_speakers = (selected["over_speakers"] or {}).get(name)
        rows.append(
            [
                SCORE_NAMES[name],
                selected[name]["value"],
                score_interval(selected[name]),
                "" if not over_folds or over_folds["sd"] is None else _mean_sd(over_folds),
                score_text(over_speakers) if over_speakers else "",
            ]
        )
    more = {"log_loss": "log loss (nats)", "calibration_error": "calibration error"}
    rows += [[label, selected[name], "", "", ""] for name, label in more.items() if name in selected]
    columns = ("score", "folds pooled", INTERVAL, "mean of folds ± s.d.", "mean of speakers")
    return Table(name="scores", title="Scores of the selected system", columns=columns, rows=rows)


def layers(run: RunData) -> Table | None:
    """Every layer and head, best first."""
    if run.finetuned:
        return None
    near = {(entry["layer"], entry["head"]) for entry in run.summary.get("near_best", ())}
    metric = run.metric
    ranked = sorted(run.summary["layers"], key=lambda entry: -entry[metric]["value"])
    rows = [
        [
            entry["layer"],
            entry["head"],
            entry[metric]["value"],
            score_interval(entry[metric]),
            "yes" if (entry["layer"], entry["head"]) in near else "no",
        ]
        for entry in ranked
    ]
    return Table(
        name="layers",
        title="Scores of all layers and heads",
        columns=("layer", "head", SCORE_NAMES[metric], INTERVAL, "within noise of the best"),
        rows=rows,
        note="Choosing the best row of this table selects on test scores. The selected system was "
        "selected on inner folds.",
    )


def layer_weights(run: RunData) -> Table | None:
    """The weights that a head learnt for the layers."""
    learnt = run.summary.get("layer_weights")
    if learnt is None:
        return None
    rows: list[list[Cell]] = [
        [entry["layer"], entry["weight"]["value"], score_interval(entry["weight"])]
        for entry in learnt["layers"]
    ]
    return Table(
        name="layer_weights",
        title=f"Weights of layers that {learnt['head']} learnt",
        columns=("layer", "weight", INTERVAL),
        rows=rows,
        note="Means over outer folds. Intervals are over folds, corrected for the overlap of their training "
        "partitions (Nadeau & Bengio 2003).",
    )


def fusion(run: RunData) -> Table | None:
    """The fusions of several models, and what they gain over the best single one."""
    found = run.summary.get("fusion")
    if found is None:
        return None
    best = found["best_single"]["uar"]
    rows: list[list[Cell]] = [["best single model", best["value"], score_interval(best), ""]]
    for entry in found["kinds"]:
        gain = entry["minus_best_single"]
        difference = score_text(gain, sign="+")
        rows.append(
            [f"{entry['kind']} fusion", entry["uar"]["value"], score_interval(entry["uar"]), difference]
        )
    return Table(
        name="fusion",
        title="What fusion gains over the best single model",
        columns=("system", "UAR", INTERVAL, "minus the best single"),
        rows=rows,
        note="The best single model of each outer fold is the one with the best inner score.",
    )


def folds(run: RunData) -> Table:
    """The system selected in each outer fold."""
    first, second, *_ = METRICS[task_of(run.summary)]
    rows = [
        [
            fold["fold"],
            *(() if run.finetuned else (fold["layer"], fold["head"])),
            fold["inner_score"],
            fold[first],
            fold[second],
            format_params(fold["params"]),
        ]
        for fold in run.summary["selected"]["folds"]
    ]
    inner = f"{'validation' if run.finetuned else 'inner'} {SCORE_NAMES[run.summary['metric']]}"
    named = () if run.finetuned else ("layer", "head")
    return Table(
        name="folds",
        title="The system of each outer fold",
        columns=(
            "fold",
            *named,
            inner,
            f"test {SCORE_NAMES[first]}",
            f"test {SCORE_NAMES[second]}",
            "parameters",
        ),
        rows=rows,
    )


def controls(run: RunData) -> Table | None:
    """The selected system and its controls."""
    found, metric = run.summary["controls"], run.metric
    if "shuffled" not in found:
        return None
    shuffled = found["shuffled"]
    rows: list[list[Cell]] = [
        [
            "selected system",
            run.summary["selected"][metric]["value"],
            score_interval(run.summary["selected"][metric]),
            "",
        ]
    ]
    for one in found.get("runs", ()):
        rows.append(
            [
                one["model"],
                one[metric]["value"],
                score_interval(one[metric]),
                score_text(one["selected_minus_it"], sign="+"),
            ]
        )
    spread = f"± {shuffled[metric]['sd']:.3f}"
    rows.append(
        ["shuffled labels", shuffled[metric]["value"], spread, score_text(shuffled["selectivity"], sign="+")]
    )
    key, name = BASELINES[task_of(run.summary)]
    rows.append([name, found[key][metric]["value"], "", ""])
    columns = ("control", SCORE_NAMES[metric], INTERVAL, "selected minus control")
    return Table(name="controls", title="The score and its controls", columns=columns, rows=rows)


def classes(run: RunData) -> Table | None:
    if run.sets is not None:
        scores = ("label", "clips", "recall", "precision", "f1", "uar", "ap")
        of_labels = [[entry[name] for name in scores] for entry in run.summary["selected"]["labels"]]
        columns = ("label", "clips", "recall", "precision", "F1", "UAR", "AP")
        return Table(name="classes", title="Scores of each label", columns=columns, rows=of_labels)
    if run.numbers is not None:
        return None
    entries = run.summary["selected"]["classes"]
    keys = ("class", "clips", "recall", "precision")
    rows: list[list[Cell]] = [[entry[key] for key in keys] for entry in entries]
    return Table(name="classes", title="Scores of each class", columns=keys, rows=rows)


def confusions(run: RunData) -> Table | None:
    if run.numbers is not None or run.sets is not None:
        return None
    counts = run.summary["selected"]["confusion"]["counts"]
    rows: list[list[Cell]] = [[name, *map(int, row)] for name, row in zip(run.classes, counts, strict=True)]
    columns = ("true class", *(f"as {name}" for name in run.classes))
    return Table(name="confusion", title="Confusion matrix (clips)", columns=columns, rows=rows)


def speakers(run: RunData) -> Table | None:
    rows = speaker_scores(run)
    columns = ("speaker", "test clips", SCORE_NAMES[run.metric])
    return (
        Table(name="speakers", title="Scores of each speaker", columns=columns, rows=rows) if rows else None
    )


def audit(run: RunData) -> Table | None:
    """The findings of the audit, leaks first."""
    if run.audit is None:
        return None
    # Early versions call the message `told`.
    findings = [
        [finding["verdict"], finding["item"], finding.get("message", finding.get("told", ""))]
        for finding in run.audit["findings"]
    ]
    findings.sort(key=lambda row: VERDICTS.index(row[0]) if row[0] in VERDICTS else 0)
    findings += [["not checked", item, reason] for item, reason in _unchecked(run.audit)]
    columns = ("verdict", "item", "finding")
    return Table(name="audit", title="Audit of the data", columns=columns, rows=findings)


def _unchecked(audit: Mapping[str, Any]) -> list[tuple[str, str]]:
    """(item, why it was not checked), written as `item: why`."""
    entries = [str(entry).partition(":") for entry in audit.get("unchecked") or ()]
    return [(item, why.strip()) for item, _, why in entries]


def _mean_sd(score: Mapping[str, Any]) -> str:
    return f"{score['mean']:.3f} ± {score['sd']:.3f}"
