"""A run folder: what a study leaves behind, each file written whole or not at all."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from layerprobe.cache.common.disk import write_atomically
from layerprobe.cache.common.errors import InputError
from layerprobe.classify.scores.results import ResultRow, StudyId, StudyResult

if TYPE_CHECKING:
    from layerprobe.classify.data.dataset import Dataset
    from layerprobe.classify.data.splits import OuterFold

RUN, SPLITS, RESULTS, PREDICTIONS, SUMMARY = (
    "run.json",
    "splits.json",
    "results.csv",
    "predictions.csv",
    "summary.json",
)
WHOLE = (SPLITS, RESULTS, PREDICTIONS, SUMMARY)  # what a finished run has beside run.json
ANEW = "copy it back from where it is whole, or delete the folder and run again"
PARTIAL_RESULTS = "outcomes"  # of finished studies, until the run is whole


def write_json(path: Path, value: Mapping[str, Any]) -> None:
    """Numbers that are not finite are written as null."""
    write_atomically(path, json.dumps(_plain(value), indent=2, allow_nan=False) + "\n")


def read_json(path: Path, *, do: str | None = None, holding: str | None = None) -> dict[str, Any]:
    """Raises InputError where the file is missing or damaged, as it is without the key `holding`.

    do: what to advise then; else it is what helps with a file of a run folder.
    """
    mend = do or ANEW
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        told = (error.strerror or str(error)).lower()
        raise InputError(f"cannot be read ({told})", where=str(path), do=do or "name a run folder") from error
    except ValueError as error:
        raise InputError(f"is no JSON ({error})", where=str(path), do=mend) from error
    if not isinstance(value, dict):
        raise InputError("holds no object", where=str(path), do=mend)
    if holding is not None and holding not in value:
        raise InputError(f"is damaged: it holds no '{holding}'", where=str(path), do=mend)
    return value


def write_csv(path: Path, header: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(rows)
    write_atomically(path, text.getvalue())


def write_splits(out: Path, data: Dataset, folds: Sequence[OuterFold]) -> None:
    """Outer folds by clip id, and the test parts of their inner folds, which train on the rest of `train`."""

    def ids(rows: np.ndarray) -> list[str]:
        return [data.ids[row] for row in rows]

    nested = [
        {
            "fold": number,
            "train": ids(fold.outer.train),
            "test": ids(fold.outer.test),
            "inner": [{"test": ids(inner.test)} for inner in fold.inner],
        }
        for number, fold in enumerate(folds)
    ]
    write_json(out / SPLITS, {"schema": 1, "folds": nested})


def write_results(out: Path, rows: Sequence[ResultRow]) -> None:
    header = list(ResultRow.__dataclass_fields__)
    write_csv(out / RESULTS, header, ([_text(value) for value in asdict(row).values()] for row in rows))


def write_predictions(
    out: Path,
    data: Dataset,
    folds: Sequence[OuterFold],
    systems: Iterable[tuple[str, Sequence[StudyResult]]],
) -> None:
    """Out-of-fold predictions. systems: (name, its outcome on each fold)."""
    header = [
        "clip",
        "fold",
        "speaker",
        "system",
        "label",
        "predicted",
        *(f"p_{name}" for name in data.classes),
    ]

    def lines() -> Iterable[list[str]]:
        for system, outcomes in systems:
            for outcome in outcomes:
                fold = outcome.id.fold
                known = zip(folds[fold].outer.test, outcome.predicted, outcome.probability, strict=True)
                for row, predicted, p in known:
                    speaker = "" if data.speakers is None else data.speaker_names[data.speakers[row]]
                    labels = (data.classes[data.y[row]], data.classes[predicted])
                    yield [data.ids[row], str(fold), speaker, system, *labels, *map("{:.5f}".format, p)]

    write_csv(out / PREDICTIONS, header, lines())


def save_result(out: Path, outcome: StudyResult) -> None:
    """Keep a finished study's outcome, so that a resumed run does not fit it again."""
    folder = out / PARTIAL_RESULTS
    folder.mkdir(exist_ok=True)
    facts = {
        "params": outcome.params,
        "inner_score": outcome.inner_score,
        "trials": outcome.trials,
        "pruned": outcome.pruned,
    }
    packed = io.BytesIO()
    np.savez(
        packed,
        facts=np.array(json.dumps(facts)),
        predicted=outcome.predicted,
        probability=outcome.probability,
    )
    write_atomically(folder / _file(outcome.id), packed.getvalue())


def load_result(out: Path, id: StudyId) -> StudyResult | None:
    """A finished study's outcome; None where it is not finished."""
    try:
        with np.load(out / PARTIAL_RESULTS / _file(id), allow_pickle=False) as held:
            facts = json.loads(str(held["facts"]))
            return StudyResult(id=id, predicted=held["predicted"], probability=held["probability"], **facts)
    except FileNotFoundError:
        return None


def _file(id: StudyId) -> str:
    return f"{id.fold}-{id.layer}-{id.head}.npz"


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(v) for v in value]
    if isinstance(value, np.ndarray | np.generic):
        return _plain(value.tolist())
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value


def _text(value: object) -> object:
    return f"{value:.6f}" if isinstance(value, float) else value
