"""Run every study of a matrix of corpora, each in a run folder, and score the pairs of corpora."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from layerprobe.cache.common.errors import InputError, MissingStatesError
from layerprobe.cache.common.interrupts import Interrupted
from layerprobe.cache.store.feature_store import FeatureStore
from layerprobe.classify.config import StudyConfig
from layerprobe.classify.matrix.cells import matrix_cells
from layerprobe.classify.matrix.figure import draw_matrix
from layerprobe.classify.matrix.plan import CorpusRun, MatrixPlan, plan_matrix
from layerprobe.classify.matrix.table import write_table
from layerprobe.classify.runs.run_folder import RUN, write_json
from layerprobe.classify.search.plan import make_plan
from layerprobe.classify.search.progress import live_display
from layerprobe.classify.search.study import run_study
from layerprobe.embed.manifest.clips import Clip, write_manifest

MATRIX, TABLE, FIGURES, TABLES = "matrix.json", "matrix.csv", "figures", "tables"


def run_matrix(clips: Sequence[Clip], store: FeatureStore, out: Path, config: StudyConfig) -> dict[str, Any]:
    """Write the run folders, matrix.json, matrix.csv and figures/ of a matrix into `out`; the result.

    clips: of all corpora, as `join_tables` gives them. config: of every run; its split and corpora are set
    here. Layers, heads and parameters are selected inside the training corpora only.

    An interrupted matrix resumes, and finished runs are not repeated. Raises InputError before anything is
    searched if the corpora share too few labels or one cannot be split, and Interrupted on Ctrl-C.
    """
    plan = plan_matrix(clips, config)
    if (out / RUN).exists():
        raise InputError("holds a run of its own", where=str(out), do="choose another folder for --out")
    for run in plan.runs:
        try:
            make_plan(run.clips, store, run.config).studies()
        except MissingStatesError:
            raise
        except InputError as error:
            raise InputError(error.what, where=_described(run), do=error.do) from error
    try:
        out.mkdir(parents=True, exist_ok=True)
        for number, run in enumerate(plan.runs, start=1):
            _run(run, store, out, label=f"{number}/{len(plan.runs)} {_described(run)}")
    except OSError as error:
        what = f"cannot be written ({error.strerror})"
        raise InputError(what, where=str(out), do="choose another folder for --out") from error
    except KeyboardInterrupt:
        raise Interrupted(f"finished trials are kept in {out}; the same command resumes") from None
    return _finish(plan, store, out, config)


def _described(run: CorpusRun) -> str:
    return {
        "within": f"within {run.corpus}",
        "from": f"from {run.corpus} to the others",
        "without": f"to {run.corpus} from all others",
    }[run.kind]


def _run(run: CorpusRun, store: FeatureStore, out: Path, *, label: str) -> None:
    """Run one study; its clips are written as a table, so that `classify --from` can repeat it."""
    table = out / TABLES / f"{run.name}.csv"
    table.parent.mkdir(exist_ok=True)
    if not table.exists():
        write_manifest(run.clips, table)
    command = {"table": str(table.resolve()), "path_column": None, "speaker_column": None, "matrix": str(out)}
    with live_display(label) as report:
        run_study(run.clips, store, out / run.name, run.config, command=command, report=report)


def _finish(plan: MatrixPlan, store: FeatureStore, out: Path, config: StudyConfig) -> dict[str, Any]:
    result = {
        "model": store.extraction.model,
        "target": plan.target,
        "task": plan.task,
        "labels": list(plan.labels),
        "corpora": [vars(size) for size in plan.corpora],
        "notes": list(plan.notes),
        "cells": matrix_cells(plan, out, seed=config.seed),
    }
    write_json(out / MATRIX, result)
    write_table(result, out / TABLE)
    draw_matrix(result, out / FIGURES)
    return result
