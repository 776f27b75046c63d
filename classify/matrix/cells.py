"""Scores of every pair of training and test corpora, from the predictions of the matrix's runs."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from layerprobe.classify.data.cross_corpus import COLUMN
from layerprobe.classify.matrix.plan import CorpusRun, MatrixPlan
from layerprobe.classify.runs.read_predictions import SystemPredictions, read_system
from layerprobe.classify.runs.run_folder import SUMMARY, read_json
from layerprobe.classify.scores.intervals import score_intervals
from layerprobe.classify.scores.paired import differences
from layerprobe.classify.tasks.registry import TASKS
from layerprobe.classify.tasks.task import clip_counts


def matrix_cells(plan: MatrixPlan, out: Path, *, seed: int) -> list[dict[str, Any]]:
    """One entry for each training set and test corpus, row by row of the matrix.

    train: the training corpora. test: the tested one. kind: as in `CorpusRun`. Every metric has an interval
    that resamples the test corpus's speakers; the training corpora are taken as they are. minus_within: the
    first score of the task minus that within the test corpus, with the same speakers resampled; None there.
    layer, head: most often selected. run: folder in `out`.
    """
    corpus_of = {clip.id: clip.labels[COLUMN] for run in plan.runs for clip in run.clips}
    names = [size.name for size in plan.corpora]
    within: dict[str, np.ndarray] = {}
    cells: list[dict[str, Any]] = []
    for run in plan.runs:
        predictions = read_system(out / run.name)
        of = np.array([corpus_of[clip] for clip in predictions.clips.tolist()])
        for test in sorted(set(of.tolist()), key=names.index):
            counts = _counts(predictions, of == test, plan)
            if run.kind == "within":
                within[test] = counts
            cells.append({**_cell(run, out, test), **_scores(counts, within[test], run, plan, seed=seed)})

    def place(cell: dict[str, Any]) -> tuple[int, int]:
        row = len(names) if cell["kind"] == "without" else names.index(cell["train"][0])
        return row, names.index(cell["test"])

    return sorted(cells, key=place)


def _cell(run: CorpusRun, out: Path, test: str) -> dict[str, Any]:
    selected = read_json(out / run.name / SUMMARY, holding="selected")["selected"]
    train = [run.corpus] if run.kind == "within" else list(run.config.train_corpus)
    return {
        "train": train,
        "test": test,
        "kind": run.kind,
        "run": run.name,
        "layer": selected["layer"],
        "head": selected["head"],
    }


def _counts(predictions: SystemPredictions, rows: np.ndarray, plan: MatrixPlan) -> np.ndarray:
    """(clusters, 1, *S) statistics of each speaker, or of each clip where speakers are unknown."""
    y, predicted = predictions.labels[rows], predictions.predicted[rows]
    if plan.labels:
        number_of = {name: number for number, name in enumerate(plan.labels)}
        y, predicted = (np.array([number_of[name] for name in own.tolist()]) for own in (y, predicted))
    clusters = predictions.clips if predictions.speakers is None else predictions.speakers
    return TASKS[plan.task].statistics(y, predicted, clusters[rows], len(plan.labels))[:, None]


def _scores(
    counts: np.ndarray, within: np.ndarray, run: CorpusRun, plan: MatrixPlan, *, seed: int
) -> dict[str, Any]:
    task = TASKS[plan.task]
    tested = int((counts.sum((0, 1)).sum(1) > 0).sum()) if plan.labels else 0
    entry: dict[str, Any] = {
        "clips": int(clip_counts(counts[:, 0]).sum()),
        "clusters": len(counts),
        "chance": task.chance(np.eye(tested, dtype=bool)),
    }
    for metric in task.measures:
        (interval,) = score_intervals(counts, metric=metric, seed=seed)
        entry[metric] = asdict(interval)
    entry["minus_within"] = None
    if run.kind != "within":
        both = np.concatenate([counts, within], axis=1)
        (difference,) = differences(both, [(0, 1)], metric=task.main, seed=seed)
        entry["minus_within"] = asdict(difference)
    return entry
