"""The clips on which the selected system errs most."""

from __future__ import annotations

import numpy as np

from layerprobe.classify.report.run_data import RunData
from layerprobe.classify.report.tables import Cell, Table
from layerprobe.classify.tasks.votes import losses

HARDEST = 20  # clips


def hardest_rows(run: RunData) -> np.ndarray:
    """Rows of the predictions that are wrong, the most confident first, or with the largest errors."""
    if run.numbers is not None:
        true, predicted = run.numbers
        return np.argsort(-np.abs(predicted - true), kind="stable")[:HARDEST]
    if run.sets is not None:
        if run.shares is not None:
            return np.argsort(-losses(*run.shares), kind="stable")[:HARDEST]
        true, predicted = run.sets
        wrong = np.flatnonzero((true != predicted).any(1))
        surprise = -np.log(np.clip(np.where(true, run.probability, 1 - run.probability), 1e-15, None)).mean(1)
        return wrong[np.argsort(-surprise[wrong], kind="stable")][:HARDEST]
    wrong = np.flatnonzero(run.predicted != run.labels)
    return wrong[np.argsort(-run.confidence[wrong], kind="stable")][:HARDEST]


def hardest(run: RunData) -> Table | None:
    """The clips that are classified wrongly with the highest confidence, or whose errors are the largest."""
    rows: list[list[Cell]] = []
    for row in hardest_rows(run).tolist():
        speaker = "" if run.speakers is None else str(run.speakers[row])
        if run.numbers is not None:
            number, guess = run.numbers[:, row].tolist()
            rows.append([str(run.clips[row]), speaker, number, guess, guess - number])
            continue
        if run.sets is not None:
            names = np.array([entry["label"] for entry in run.summary["selected"]["labels"]])
            both = [" + ".join(names[own]) for own in run.sets[:, row]]
            if run.shares is not None:
                both = [_shares(names, own) for own in run.shares[:, row]]
            rows.append([str(run.clips[row]), speaker, *both])
            continue
        pair = (run.classes[run.labels[row]], run.classes[run.predicted[row]])
        rows.append([str(run.clips[row]), speaker, *pair, float(run.confidence[row])])
    columns: tuple[str, ...] = ("clip", "speaker", "true class", "predicted", "confidence")
    title = "The hardest clips: wrong with the highest confidence"
    if run.numbers is not None:
        columns = ("clip", "speaker", "true", "predicted", "error")
        title = "The hardest clips: those with the largest errors"
    if run.sets is not None:
        columns = ("clip", "speaker", "true labels", "predicted")
        title = "The hardest clips: wrong labels with the highest confidence"
    if run.shares is not None:
        columns = ("clip", "speaker", "votes", "predicted")
        title = "The hardest clips: those with the largest log loss"
    return Table(name="hardest", title=title, columns=columns, rows=rows) if rows else None


def _shares(names: np.ndarray, shares: np.ndarray) -> str:
    """The largest first: `angry 0.67, sad 0.33`."""
    order = np.argsort(-shares, kind="stable")
    return ", ".join(f"{names[k]} {shares[k]:.2f}" for k in order if shares[k] >= 0.005)
