"""--splits: which clips are trained on and tested in each fold, checked against a table.

They come from splits.json of a run, or from the folds of a benchmark (`emobox:FOLDER`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from layerprobe.cache.common.console import say
from layerprobe.cache.common.errors import InputError
from layerprobe.cache.common.text import format_list
from layerprobe.classify.config import EMOBOX, WITHOUT_ONE_LABEL, StudyConfig, name_of_splits, task_of
from layerprobe.classify.data import emobox
from layerprobe.classify.data.dataset import Dataset
from layerprobe.classify.data.protocols import find_protocol
from layerprobe.classify.data.splits import Assignment, OuterFold, fixed_folds
from layerprobe.classify.runs.run_folder import RUN, read_json
from layerprobe.embed.manifest.clips import Clip

ADVICE = "give the splits.json of a run folder, or emobox:FOLDER"


@dataclass(frozen=True, kw_only=True)
class Splits:
    """Outer folds that were made elsewhere.

    validation: for each fold, training clips to choose by; empty lists where inner folds choose. deviations:
    why a score on this table is not comparable with others on these folds.
    """

    assignment: Assignment
    validation: Sequence[Sequence[str]]
    deviations: tuple[str, ...] = ()

    @property
    def ids(self) -> set[str]:
        """All clips in a fold."""
        return {id for fold in self.assignment for ids in fold for id in ids}


def resolve_splits(splits: str, clips: Sequence[Clip]) -> str:
    """--splits as it is recorded: an absolute path, and of a checkout the corpus that the table holds.

    Raises InputError as `read_splits` does.
    """
    if splits.startswith(EMOBOX):
        folder = Path(splits.removeprefix(EMOBOX)).absolute()
        return f"{EMOBOX}{emobox.find_corpus(folder, clips)}"
    return str(Path(splits).resolve())


def read_splits(splits: str, clips: Sequence[Clip], *, target: str | None = None) -> Splits:
    """The folds that --splits names. target: label column to compare with a benchmark's classes.

    Raises InputError for a file that is not a splits.json, a folder that is no checkout, and for one that
    does not fit the table.
    """
    if splits.startswith(EMOBOX):
        folder = Path(resolve_splits(splits, clips).removeprefix(EMOBOX))
        folds = emobox.read_folds(folder, clips, target=target)
        found = Splits(
            assignment=list(zip(folds.train, folds.test, strict=True)),
            validation=folds.validation,
            deviations=folds.deviations,
        )
        _check_folds(found.assignment, where=str(folder))
        return found
    assignment = _read_file(Path(splits), clips)
    return Splits(assignment=assignment, validation=[[] for _ in assignment])


def read_assignment(splits: Path, clips: Sequence[Clip]) -> Assignment:
    """The ids of the training and test clips of each outer fold; says where a benchmark's differ.

    Raises InputError as `read_splits` does.
    """
    found = read_splits(str(splits), clips)
    for line in found.deviations:
        say(f"note: {splits}: {line}")
    return found.assignment


def _read_file(splits: Path, clips: Sequence[Clip]) -> Assignment:
    try:
        folds = [(list(fold["train"]), list(fold["test"])) for fold in read_json(splits, do=ADVICE)["folds"]]
        if not all(isinstance(id, str) for fold in folds for partition in fold for id in partition):
            raise TypeError("a clip id is no text")
    except (KeyError, TypeError) as error:
        raise InputError("is not a splits.json", where=str(splits), do=ADVICE) from error
    if not folds:
        raise InputError("holds no fold", where=str(splits), do=ADVICE)
    unknown = {id for fold in folds for partition in fold for id in partition} - {clip.id for clip in clips}
    if unknown:
        what = f"{len(unknown)} of its clips are not in the table, such as {min(unknown)}"
        raise InputError(what, where=str(splits), do="give the splits of a run on this very table")
    _check_folds(folds, where=str(splits))
    return folds


def _check_folds(folds: Assignment, *, where: str) -> None:
    for number, (train, test) in enumerate(folds):
        what = ""
        if not train or not test:
            what = f"fold {number} has no clips to {'train on' if not train else 'test'}"
        elif both := sorted(set(train) & set(test)):
            what = f"fold {number} trains on clips that it tests ({format_list(both)})"
        if what:
            raise InputError(what, where=where, do=ADVICE)


def check_classes(splits: Path) -> None:
    """Raise InputError for the splits.json of a run that does not predict classes."""
    record = splits.with_name(RUN)
    task = task_of(read_json(record).get("config") or {}) if record.is_file() else "classification"
    without = {**WITHOUT_ONE_LABEL, "soft": "a study of votes"}
    if task in without:
        what = f"belongs to {without[task]}, and finetune trains on classes"
        raise InputError(what, where=str(splits), do="give the splits of a classification")


def split_name(splits: Path) -> str | None:
    """The protocol or split (`speaker`, …) of the run that splits.json belongs to; None if unknown."""
    if str(splits).startswith(EMOBOX):
        return name_of_splits(str(splits))
    record = splits.with_name(RUN)
    if not record.is_file():
        return None
    config = dict(read_json(record).get("config") or {})
    name = config.get("protocol") or name_of_splits(config.get("splits")) or config.get("split")
    return name if isinstance(name, str) else None


def given_folds(splits: Splits, data: Dataset, config: StudyConfig) -> list[OuterFold]:
    """The folds of --protocol or --splits. Inner folds are speaker-disjoint if these are."""
    if config.protocol is not None:
        grouped = find_protocol(config.protocol).rule.speaker_disjoint
    else:
        speakers = {} if data.speakers is None else dict(zip(data.ids, data.speakers.tolist(), strict=True))
        grouped = not any(
            {speakers.get(id) for id in train} & {speakers.get(id) for id in test} - {None}
            for train, test in splits.assignment
        )
    return fixed_folds(
        data,
        splits.assignment,
        grouped=grouped,
        inner_folds=config.inner_folds,
        seed=config.seed,
        validation=splits.validation,
    )
