"""The folds of a fine-tuning: training, validation and test partition of each.

The validation partition picks the epoch. It is taken from the training partition of the splits.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np

from layerprobe.cache.common.errors import InputError
from layerprobe.classify.data.dataset import Dataset
from layerprobe.classify.data.group_folds import balanced_group_folds, stratified_folds
from layerprobe.classify.data.splits import PARTITIONS, Assignment, Fold, OuterFold
from layerprobe.classify.finetune.config import FinetuneConfig

SUBSETS = 5  # the training partition is divided into; one is set aside
SPLITS_BY_COLUMN = ("column", "corpus")  # splits under which validation clips marked in the table are used
WITHOUT_VALIDATION = "give --validation none, which trains for all --epochs"


def validation_folds(data: Dataset, assignment: Assignment, config: FinetuneConfig) -> list[OuterFold]:
    """Row numbers of each fold; `inner` is its one training and validation partition, or empty for
    `validation="none"`.

    assignment: ids of (training, test) clips of each fold; ids that `data` lacks are ignored. The validation
    partition is what the table marks as validation, if the split follows the table's column, else a fifth of
    the training partition, speaker-disjoint if speakers are named. Raises InputError with all faults.
    """
    row_of = {id: row for row, id in enumerate(data.ids)}
    folds, faults = [], []
    for number, (train_ids, test_ids) in enumerate(assignment):
        train, test = (
            np.array(sorted(row_of[id] for id in ids if id in row_of), np.int64)
            for ids in (train_ids, test_ids)
        )
        if not len(test):
            faults.append(f"fold {number} has no usable test clip")
        absent = _absent_classes(data, train)
        if absent:
            faults.append(f"fold {number} has no training clip of {absent}")
            continue
        inner = () if config.validation == "none" else (_set_aside(data, train, number, config),)
        folds.append(OuterFold(Fold(train, test), inner))
    counts = Counter(id for _, test in assignment for id in test)
    repeated = sorted(id for id, count in counts.items() if count > 1)
    if repeated:
        faults.append(f"{len(repeated)} clips are tested more than once, such as {repeated[0]}")
    if faults:
        raise InputError(
            f"the splits cannot be used for training: {'; '.join(faults)}",
            do="test each clip once and train on each class, or split again with classify",
        )
    return folds


def validation_note(data: Dataset, folds: Sequence[OuterFold]) -> str:
    """How the epoch was chosen, as a note of the summary."""
    if not folds[0].inner:
        return "the last of all epochs is tested: no clips were set aside to choose an epoch"
    sizes = [len(fold.inner[0].test) for fold in folds]
    count = f"{min(sizes)}" if min(sizes) == max(sizes) else f"{min(sizes)} to {max(sizes)}"
    speakers = "" if data.speakers is None else ", of other speakers,"
    return f"{count} clips of each training partition{speakers} were set aside to pick the epoch"


def _set_aside(data: Dataset, train: np.ndarray, number: int, config: FinetuneConfig) -> Fold:
    """Split the rows `train` of fold `number` into training and validation partition."""
    where = f"fold {number}"
    marked = train[[PARTITIONS.get(data.partitions[row].lower()) == "validation" for row in train]]
    if config.split in SPLITS_BY_COLUMN and len(marked):
        rest = np.setdiff1d(train, marked)
        absent = _absent_classes(data, rest)
        if absent:
            raise InputError(f"no clip marked train is of {absent}", where=where, do="mark some")
        return Fold(rest, marked)
    seed = config.seed + 1 + number
    if data.speakers is None:
        return _best_subset(data, train, stratified_folds(data.y[train], SUBSETS, seed=seed), where=where)
    names, speaker = np.unique(data.speakers[train], return_inverse=True)
    if len(names) < 2:
        raise InputError(
            f"{data.speaker_names[names[0]]} is the only training speaker: none is left to pick the epoch",
            where=where,
            do=WITHOUT_VALIDATION,
        )
    subset = balanced_group_folds(data.y[train], speaker, folds=min(SUBSETS, len(names)), seed=seed)[speaker]
    return _best_subset(data, train, subset, where=where)


def _best_subset(data: Dataset, train: np.ndarray, subset: np.ndarray, *, where: str) -> Fold:
    """Validate on the subset with most classes, then with the size nearest to a fifth, among those whose
    removal leaves every class in training. subset: (len(train),) number of each row's subset."""
    classes = len(np.unique(data.y[train]))
    candidates = []
    for number in range(int(subset.max()) + 1):
        validation, rest = train[subset == number], train[subset != number]
        if len(np.unique(data.y[rest])) == classes:
            missing = classes - len(np.unique(data.y[validation]))
            candidates.append((missing, abs(len(validation) - len(train) / SUBSETS), number))
    if not candidates:
        raise InputError(
            "no validation partition can be set aside without removing a class from training",
            where=where,
            do=WITHOUT_VALIDATION,
        )
    best = min(candidates)[2]
    return Fold(train[subset != best], train[subset == best])


def _absent_classes(data: Dataset, rows: np.ndarray) -> str:
    """The classes that none of these rows has, as text."""
    absent = np.setdiff1d(np.arange(len(data.classes)), data.y[rows])
    return ", ".join(f"'{data.classes[label]}'" for label in absent)
