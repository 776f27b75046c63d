"""Charts of the selected system: its errors, speakers, calibration and learning curve; and all of a run."""

from __future__ import annotations

from typing import Any

import numpy as np

from layerprobe.classify.config import task_of
from layerprobe.classify.report.figures.charts import (
    Bars,
    Chart,
    Curves,
    Grid,
    Reference,
    Scatter,
    Series,
    score_series,
    with_deviation,
)
from layerprobe.classify.report.figures.layer_charts import (
    controls,
    layer_curves,
    layer_grid,
    layer_weights,
)
from layerprobe.classify.report.figures.probe_charts import probe_charts
from layerprobe.classify.report.run_data import RunData
from layerprobe.classify.score_names import AXIS_NAMES, SCORE_NAMES
from layerprobe.classify.tasks.registry import TASKS

BINS = 10  # of confidence, as in `confusion.calibration_error`
MOST_BARS = 40  # speakers that have a bar of their own


def run_charts(run: RunData) -> dict[str, Chart]:
    """Every chart that the run has data for, by name, in the order of the page."""
    drawn = (
        *(layer_curves(run), layer_weights(run), layer_grid(run), controls(run), *probe_charts(run)),
        *_errors(run),
        *(speakers(run), learning_curve(run), few_shot(run), training_curves(run)),
    )
    return {chart.name: chart for chart in drawn if chart is not None}


def confusion(run: RunData) -> Chart:
    """The selected system's confusion matrix, all test clips together."""
    found = run.summary["selected"]["confusion"]
    pairs = [list(zip(*rows, strict=True)) for rows in zip(found["counts"], found["rates"], strict=True)]
    return Grid(
        name="confusion",
        title="Confusion matrix of the selected system",
        alt="For each true class the share of its clips that were predicted as each class.",
        x_label="predicted",
        y_label="true class",
        rows=run.classes,
        columns=run.classes,
        values=tuple(tuple(rate for _, rate in row) for row in pairs),
        texts=tuple(tuple(f"{rate:.0%}\n{count}" for count, rate in row) for row in pairs),
        colour_label="share of the true class",
    )


def _errors(run: RunData) -> tuple[Chart, ...]:
    if run.numbers is not None:
        return (scatter(run),)
    return (label_bars(run),) if run.sets is not None else (confusion(run), calibration(run))


def label_bars(run: RunData) -> Chart:
    """Of sets of labels, or of shares above 1 / K, F1 of each."""
    entries = run.summary["selected"]["labels"]
    return Bars(
        name="labels",
        title="F1 of each label",
        alt="F1 of each label, all test clips together.",
        x_label="F1",
        names=tuple(entry["label"] for entry in entries),
        values=tuple(entry["f1"] or 0.0 for entry in entries),
        references=(Reference(name="mean over labels", value=run.summary["selected"][run.metric]["value"]),),
    )


def scatter(run: RunData) -> Chart:
    """Of a regression, each test clip's prediction against its true number."""
    assert run.numbers is not None  # for the type checker
    true, predicted = run.numbers
    target = run.summary["target"]
    return Scatter(
        name="scatter",
        title="Predicted against true numbers",
        alt=f"Each test clip as a point: the predicted {target} against the true one, and the line y = x.",
        x_label=f"true {target}",
        y_label=f"predicted {target}",
        x=true,
        y=predicted,
        labels=tuple(run.clips.tolist()),
    )


def speaker_scores(run: RunData) -> list[tuple[str, int, float]]:
    """(speaker, test clips, score), the lowest score first.

    UAR over the classes that a speaker has; of a regression CCC, without speakers who have one number only.
    """
    if run.speakers is None:
        return []
    task, classes = TASKS[task_of(run.summary)], len(run.classes)
    labels, predicted = run.labels, run.predicted
    if run.numbers is not None:
        labels, predicted = run.numbers
    if run.sets is not None:
        labels, predicted = run.sets if run.shares is None else run.shares
    rows = []
    for name in np.unique(run.speakers).tolist():
        own = run.speakers == name
        scores = task.scores(task.statistics(labels[own], predicted[own], None, classes))
        rows.append((name, int(own.sum()), scores[task.main]))
    return sorted((row for row in rows if row[2] == row[2]), key=lambda row: (row[2], row[0]))


def speakers(run: RunData) -> Chart | None:
    """The score of each speaker: bars, or for many speakers a curve over their ranks."""
    rows = speaker_scores(run)
    if not rows:
        return None
    shared: dict[str, Any] = {
        "name": "speakers",
        "title": f"{SCORE_NAMES[run.metric]} of each speaker",
        "alt": f"The {AXIS_NAMES[run.metric]} of each speaker's test clips, the lowest first.",
    }
    lines = (
        Reference(name="all clips", value=run.summary["selected"][run.metric]["value"]),
        Reference(name="chance", value=run.summary["chance"]),
    )
    if len(rows) <= MOST_BARS:
        names, _, values = zip(*rows, strict=True)
        return Bars(**shared, x_label=AXIS_NAMES[run.metric], names=names, values=values, references=lines)
    ranks = [float(rank) for rank in range(1, len(rows) + 1)]
    steps = Series(name="speaker", x=ranks, y=[row[2] for row in rows], style="steps")
    return Curves(
        **shared,
        x_label="speakers, the lowest score first",
        y_label=AXIS_NAMES[run.metric],
        series=(steps,),
        references=lines,
    )


def calibration(run: RunData) -> Chart:
    """Share of correct predictions in bins of confidence (a reliability diagram), and the bins' sizes."""
    confidence = run.confidence
    bins = np.minimum((confidence * BINS).astype(int), BINS - 1)
    used = np.unique(bins)
    correct = run.predicted == run.labels
    sizes = [int((bins == b).sum()) for b in used]
    return Curves(
        name="calibration",
        title="Calibration of the selected system",
        alt="Share of correct predictions against the confidence of the prediction, in ten bins.",
        x_label="confidence (probability of the predicted class)",
        y_label="share of correct predictions",
        series=(
            Series(
                name="selected system (numbers: clips in the bin)",
                x=[float(confidence[bins == b].mean()) for b in used],
                y=[float(correct[bins == b].mean()) for b in used],
                labels=[f"{size}" for size in sizes],
            ),
        ),
        diagonal=True,
    )


def learning_curve(run: RunData) -> Chart | None:
    """The score of the selected system with fewer training speakers, mean over draws and deviation."""
    curve = run.summary["controls"].get("learning_curve")
    if not curve or not curve["points"]:
        return None
    of, points = curve["of"], curve["points"]
    series = score_series(
        "mean over draws, ± one standard deviation",
        [point[of] for point in points],
        [with_deviation(point[run.metric]) for point in points],
    )
    return Curves(
        name="learning_curve",
        title=f"Learning curve over training {of}",
        alt=f"The {AXIS_NAMES[run.metric]} against the number of training {of}.",
        x_label=f"training {of} per fold",
        y_label=AXIS_NAMES[run.metric],
        series=(series,),
        references=(Reference(name="chance", value=run.summary["chance"]),),
    )


def few_shot(run: RunData) -> Chart | None:
    """UAR with few training clips, and with few clips of the tested speakers."""
    found = run.summary["controls"].get("few_shot")
    if not found or not found["clips"]:
        return None
    curves = {
        "training clips of each class": found["clips"],
        "clips of each class of a test speaker, beside all training clips": found["own_clips"] or (),
    }
    series = [
        score_series(
            name, [point["shots"] for point in points], [with_deviation(point["uar"]) for point in points]
        )
        for name, points in curves.items()
        if points
    ]
    return Curves(
        name="few_shot",
        title="Few-shot curves, mean over draws ± one standard deviation",
        alt="Unweighted average recall against the number of clips of each class.",
        x_label="clips of each class",
        y_label=AXIS_NAMES["uar"],
        series=tuple(series),
        references=(Reference(name="chance", value=run.summary["chance"]),),
    )


def training_curves(run: RunData) -> Chart | None:
    """Of a fine-tuning: the validation score, or the training loss, of each fold over the epochs."""
    score = f"validation_{run.summary['metric']}"
    column = score if any(score in row for row in run.curves) else "loss"
    rows = [row for row in run.curves if column in row]
    if not rows:
        return None
    series = []
    for fold in sorted({row["fold"] for row in rows}):
        own = [row for row in rows if row["fold"] == fold]
        x, y = [row["epoch"] for row in own], [row[column] for row in own]
        series.append(Series(name=f"fold {fold:.0f}", x=x, y=y))
    label = column.replace("_", " ").replace("uar", "UAR")
    return Curves(
        name="training",
        title="Training curves",
        alt=f"The {label} of each fold after each epoch.",
        x_label="epoch",
        y_label=label,
        series=tuple(series),
    )
