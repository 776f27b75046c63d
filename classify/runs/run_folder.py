"""The files of a run folder: their names and the functions that write them, each atomically."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any
from zipfile import BadZipFile

import numpy as np

from layerprobe.cache.common.disk import locked, write_atomically
from layerprobe.cache.common.errors import InputError
from layerprobe.cache.common.places import refuse_url
from layerprobe.cache.common.text import guard_cell, spreadsheet_bytes, unguard_cell
from layerprobe.classify.scores.results import ResultRow, StudyId, StudyResult

if TYPE_CHECKING:
    from layerprobe.classify.data.dataset import Dataset
    from layerprobe.classify.data.splits import OuterFold

RUN = "run.json"
SPLITS = "splits.json"
RESULTS = "results.csv"
PREDICTIONS = "predictions.csv"
SUMMARY = "summary.json"
FINISHED_FILES = (SPLITS, RESULTS, PREDICTIONS, SUMMARY)  # of a finished run, in addition to run.json
LOCK = ".lock"  # held by the process that works on the run
PARTIAL_RESULTS = "outcomes"  # folder of the finished studies of an unfinished run
CONTROLS = "controls"  # folder with a file for each control, and a run folder for each baseline
RESTORE_OR_RERUN = "restore an intact copy, or delete the folder and run again"
# Types of what is read from a file that users may have edited, where it has it.
TYPES: Mapping[str, Mapping[str, type]] = {
    RUN: {"config": dict, "command": dict, "fingerprint": str, "kind": str, "versions": dict},
    SUMMARY: {"selected": dict, "layers": list, "data": dict, "audit": dict, "controls": dict, "notes": list},
}


def make_run_folder(out: Path) -> None:
    """Create a run folder. Raises InputError for a URL, and where it cannot be written."""
    refuse_url(str(out), option="out")
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        message = f"cannot be written ({error.strerror})"
        raise InputError(message, where=str(out), do="choose another folder for --out") from error


def write_json(path: Path, value: Mapping[str, Any]) -> None:
    """Write an object atomically; numbers that are not finite become null. Raises InputError."""
    with reporting_damage(path):
        text = json.dumps(_plain(value), indent=2, allow_nan=False) + "\n"
    write_file(path, text)


def write_file(path: Path, content: str | bytes) -> None:
    """Write a file of a run folder atomically. Raises InputError where the disk does not accept it."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, content)
    except OSError as error:
        do = "free some space or choose another folder, and run again: finished trials are kept"
        raise InputError(f"cannot be written ({error.strerror})", where=str(path), do=do) from error


@contextmanager
def locked_run(out: Path, *, do: str = "wait for it") -> Iterator[None]:
    """Hold the lock of a run folder. Raises InputError if another process does, or it cannot be written."""
    with ExitStack() as held:
        try:
            held.enter_context(locked(out / LOCK, wait=False))
        except BlockingIOError:
            raise InputError("another process is working on this run", where=str(out), do=do) from None
        except OSError as error:
            raise InputError(f"cannot be written ({error.strerror})", where=str(out / LOCK)) from error
        yield


@contextmanager
def reporting_damage(path: Path) -> Iterator[None]:
    """Turn errors of using what a file of a run folder says into an InputError that names the file."""
    try:
        yield
    except (LookupError, TypeError, ValueError, AttributeError, ArithmeticError, RecursionError) as error:
        reason = f"{type(error).__name__}: {error}"
        raise InputError(f"is damaged ({reason})", where=str(path), do=RESTORE_OR_RERUN) from error


@contextmanager
def reading_table(path: Path) -> Iterator[None]:
    """Turn errors of reading a CSV file of a run folder into an InputError that names the file."""
    try:
        yield
    except (OSError, csv.Error, LookupError, TypeError, ValueError) as error:
        reason = error.strerror or error if isinstance(error, OSError) else error
        raise InputError(f"cannot be read ({reason})", where=str(path), do=RESTORE_OR_RERUN) from error


def read_json(path: Path, *, do: str | None = None, holding: str | None = None) -> dict[str, Any]:
    """Read an object. Raises InputError if the file is missing, damaged or lacks the key `holding`.

    do: the advice in that error; by default that for a file of a run folder.
    """
    advice = do or RESTORE_OR_RERUN
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise InputError(
            f"cannot be read ({reason})", where=str(path), do=do or "name a run folder"
        ) from error
    except (ValueError, RecursionError) as error:
        raise InputError(f"is not JSON ({error})", where=str(path), do=advice) from error
    if not isinstance(value, dict):
        raise InputError("is not a JSON object", where=str(path), do=advice)
    for name, kind in TYPES.get(path.name, {}).items():
        if not isinstance(value.get(name), kind | None):
            found = type(value[name]).__name__
            raise InputError(
                f"is damaged: '{name}' is a {found}, no {kind.__name__}", where=str(path), do=advice
            )
    if holding is not None and holding not in value:
        raise InputError(f"is damaged: it holds no '{holding}'", where=str(path), do=advice)
    return value


def write_csv(
    path: Path, header: Sequence[str], rows: Iterable[Sequence[object]], *, spreadsheet: bool = False
) -> None:
    """Write a table atomically; `guard_cell` marks text that a spreadsheet would run as a formula.

    spreadsheet: whether people will open it, see `spreadsheet_bytes`; files of a run folder are for programs.
    """
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(header)
    writer.writerows([guard_cell(c) if isinstance(c, str) else c for c in row] for row in rows)
    write_file(path, spreadsheet_bytes(text.getvalue()) if spreadsheet else text.getvalue())


def read_csv(path: Path) -> Iterator[list[str]]:
    """The header and rows of a table that `write_csv` wrote, for a block of `reading_table`."""
    with path.open(encoding="utf-8-sig", newline="") as file:  # as spreadsheets save it
        for line in csv.reader(file, strict=True):
            yield list(map(unguard_cell, line))


def write_splits(out: Path, data: Dataset, folds: Sequence[OuterFold]) -> None:
    """Write splits.json: clip ids of outer folds and of inner test partitions, which train on the rest."""

    def ids(rows: np.ndarray) -> list[str]:
        return [data.ids[row] for row in rows]

    entries = [
        {
            "fold": number,
            "train": ids(fold.outer.train),
            "test": ids(fold.outer.test),
            "inner": [{"test": ids(inner.test)} for inner in fold.inner],
        }
        for number, fold in enumerate(folds)
    ]
    write_json(out / SPLITS, {"schema": 1, "folds": entries})


def write_results(out: Path, rows: Sequence[ResultRow]) -> None:
    """Write results.csv: one line for each outer fold, layer and head."""
    cells = [_result_cells(row) for row in rows]
    write_csv(out / RESULTS, list(cells[0]), [list(map(_cell, line.values())) for line in cells])


def _result_cells(row: ResultRow) -> dict[str, object]:
    """Column → cell, with a column for each score in place of all."""
    cells: dict[str, object] = {}
    for name, value in vars(row).items():
        cells |= value if name == "scores" else {name: value}
    return cells


def write_predictions(
    out: Path,
    data: Dataset,
    folds: Sequence[OuterFold],
    systems: Iterable[tuple[str, Sequence[StudyResult]]],
) -> None:
    """Write predictions.csv: out-of-fold predictions. systems: (name, its result on each fold).

    label and predicted are classes, sets of labels with the table's separator, shares of votes such as
    `angry=0.75;sad=0.25`, or the numbers of a regression.
    """
    probabilities = (f"p_{name}" for name in data.classes)
    header = ["clip", "fold", "speaker", "system", "label", "predicted", *probabilities]

    def lines() -> Iterable[list[str]]:
        for system, results in systems:
            for result in results:
                fold = result.id.fold
                rows = zip(folds[fold].outer.test, result.predicted, result.probability, strict=True)
                for row, predicted, p in rows:
                    speaker = "" if data.speakers is None else data.speaker_names[data.speakers[row]]
                    labels = [_label(data, value) for value in (data.y[row], predicted)]
                    yield [data.ids[row], str(fold), speaker, system, *labels, *map("{:.5f}".format, p)]

    write_csv(out / PREDICTIONS, header, lines())


def _label(data: Dataset, value: Any) -> str:
    """The name of a class number, the names of a set, shares of votes, or the shortest text of a number."""
    if data.task == "multilabel":
        names = (name for name, own in zip(data.classes, value, strict=True) if own)
        return data.reading.separator.join(names)
    if data.task == "soft":
        from layerprobe.classify.tasks.votes import text_of  # which imports SciPy

        return text_of(value, data.classes)
    return data.classes[value] if data.classes else repr(float(value))


def save_result(out: Path, result: StudyResult) -> None:
    """Write the result of a finished study, so that a resumed run does not fit it again."""
    facts = {name: getattr(result, name) for name in ("params", "inner_score", "trials", "pruned", "details")}
    packed = io.BytesIO()
    text = np.array(json.dumps(facts))
    np.savez(packed, facts=text, predicted=result.predicted, probability=result.probability)
    write_file(out / PARTIAL_RESULTS / _partial_file(result.id), packed.getvalue())


def load_result(out: Path, id: StudyId) -> StudyResult | None:
    """Read the result of a finished study; None if it is not finished, or its file is damaged."""
    try:
        with np.load(out / PARTIAL_RESULTS / _partial_file(id), allow_pickle=False) as held:
            facts = json.loads(str(held["facts"]))
            return StudyResult(id=id, predicted=held["predicted"], probability=held["probability"], **facts)
    except (OSError, ValueError, LookupError, TypeError, EOFError, BadZipFile):
        return None


def _partial_file(id: StudyId) -> str:
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


def _cell(value: object) -> object:
    return f"{value:.6f}" if isinstance(value, float) else value
