"""Predictions as rows, for tables, CSV and JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from layerprobe.cache.common.disk import write_atomically
from layerprobe.cache.common.errors import InputError
from layerprobe.classify.config import StudyConfig
from layerprobe.classify.predict.results.prediction import Prediction
from layerprobe.classify.runs.run_folder import write_csv

Row = dict[str, Any]


def as_rows(predictions: Sequence[Prediction], labels: Sequence[str], *, windows: bool) -> list[Row]:
    """One row for each prediction: file, channel if each is predicted, start and end in seconds, label (None
    if unsure), probabilities.

    Of a regression: the number instead of label and probabilities; of sets of labels: labels.

    windows: whether start and end are given although no recording is a segment.
    """
    segments = windows or any(one.clip.start is not None or one.clip.end is not None for one in predictions)
    rows: list[Row] = []
    for one in predictions:
        times = {"start": one.clip.start, "end": one.clip.end} if segments else {}
        channel = {} if one.clip.own_channel is None else {"channel": one.clip.own_channel}
        if one.number is not None:
            rows.append({"file": one.clip.file, **channel, **times, "number": one.number})
            continue
        probabilities = dict(zip(labels, one.probabilities, strict=True))
        if one.labels is not None:
            named = {"labels": list(one.labels), "probabilities": probabilities}
            rows.append({"file": one.clip.file, **channel, **times, **named})
            continue
        rows.append(
            {
                "file": one.clip.file,
                **channel,
                **times,
                "label": one.label,
                "confidence": one.confidence,
                **({} if one.label_set is None else {"label_set": list(one.label_set)}),
                "probabilities": probabilities,
            }
        )
    return rows


def join_labels(row: Mapping[str, Any], *, separator: str) -> Row:
    """A row with sets of labels as text. separator: that of the study's table."""
    between = {"labels": separator, "label_set": "|"}
    return {name: between[name].join(value) if name in between else value for name, value in row.items()}


def write_predictions(
    out: Path,
    rows: Sequence[Row],
    labels: Sequence[str],
    *,
    failed: Mapping[str, str],
    separator: str = StudyConfig.separator,
) -> None:
    """Write CSV (a column `p_LABEL` for each label, an empty label where unsure) or JSON, by the suffix.

    failed: recording → why it has no prediction; JSON lists them. separator: as of `join_labels`; JSON has
    lists. Raises InputError.
    """
    try:
        if out.suffix.lower() == ".json":
            document = {"labels": list(labels), "predictions": list(rows), "failed": dict(failed)}
            write_atomically(out, json.dumps(document, indent=2) + "\n")
            return
        fixed = [name for name in rows[0] if name != "probabilities"]
        lines = [
            [
                *(_cell(row[name]) for name in fixed),
                *(f"{row['probabilities'][label]:.6f}" for label in labels if "probabilities" in row),
            ]
            for row in (join_labels(each, separator=separator) for each in rows)
        ]
        write_csv(out, [*fixed, *(f"p_{label}" for label in labels)], lines, spreadsheet=True)
    except OSError as error:
        raise InputError(f"cannot be written ({error.strerror})", where=str(out)) from error


def _cell(value: object) -> object:
    if value is None:
        return ""
    return f"{value:.6g}" if isinstance(value, float) else value
