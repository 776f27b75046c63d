"""Every score of the selected system as `classify` prints it: pooled, over folds, over speakers, by class."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from typing import Any

from layerprobe.cache.common.console import print_table
from layerprobe.classify.audit.findings import span

SCORES = {
    "uar": "UAR",
    "accuracy": "accuracy",
    "macro_f1": "macro F1",
    "log_loss": "log loss",
    "calibration_error": "calibration error",
}


def tell_scores(summary: Mapping[str, Any]) -> None:
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
    return f"{score['value']:.3f} {span(score['low'], score['high'])}".rstrip()


def _classes(chosen: Mapping[str, Any], *, answers: bool) -> list[dict[str, object]]:
    names = [entry["class"] for entry in chosen["classes"]]
    rows = []
    for place, entry in enumerate(chosen["classes"]):
        row: dict[str, object] = {name: entry[name] for name in ("class", "clips", "recall", "precision")}
        if answers:
            counts, rates = (chosen["confusion"][kind][place] for kind in ("counts", "rates"))
            for name, count, rate in zip(names, counts, rates, strict=True):
                row[f"as {name}"] = f"{count} ({rate:.2f})"
        rows.append(row)
    return rows


def _width(rows: list[dict[str, object]]) -> int:
    """Columns that a table takes on a terminal."""
    told = [
        list(rows[0]),
        *([str(v) if not isinstance(v, float) else "0.000" for v in r.values()] for r in rows),
    ]
    return sum(max(map(len, column)) + 2 for column in zip(*told, strict=True)) - 2
