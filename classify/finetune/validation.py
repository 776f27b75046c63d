"""Given splits → folds of a fine-tuning: training part, the part of it that picks the epoch, test part."""

from __future__ import annotations

from collections import Counter

import numpy as np

from layerprobe.cache.common.errors import InputError
from layerprobe.classify.data.dataset import Dataset
from layerprobe.classify.data.group_folds import balanced_group_folds
from layerprobe.classify.data.splits import PARTITIONS, Assignment, Fold, OuterFold, stratified_folds
from layerprobe.classify.finetune.config import FinetuneConfig

SHARE = 5  # a fifth of the training part picks the epoch
BY_COLUMN = ("column", "corpus")  # splits under which the table's own validation clips are kept for that


def folds_of(data: Dataset, assignment: Assignment, config: FinetuneConfig) -> list[OuterFold]:
    """Row numbers of each fold; `inner` is one fold of its training part, or none with `validation="none"`.

    assignment: ids of (training, test) clips; those that `data` leaves out are passed over. Where the table
    itself marks validation clips and the split goes by that, these are the validation part; else a fifth is,
    of other speakers than the rest where speakers are named. Raises InputError, naming folds and classes.
    """
    row_of = {id: row for row, id in enumerate(data.ids)}
    folds, faults = [], []
    for number, (train_ids, test_ids) in enumerate(assignment):
        train, test = (
            np.array(sorted(row_of[id] for id in ids if id in row_of), np.int64)
            for ids in (train_ids, test_ids)
        )
        if not len(test):
            faults.append(f"fold {number} has no test clip that can be used")
        absent = _absent(data, train)
        if absent:
            faults.append(f"fold {number} has no training clip of {absent}")
            continue
        inner = () if config.validation == "none" else (_validation(data, train, number, config),)
        folds.append(OuterFold(Fold(train, test), inner))
    often = Counter(id for _, test in assignment for id in test)
    repeated = sorted(id for id, count in often.items() if count > 1)
    if repeated:
        faults.append(f"{len(repeated)} clips are tested more than once, such as {repeated[0]}")
    if faults:
        raise InputError(
            f"the splits cannot be trained on: {'; '.join(faults)}",
            do="test each clip once and train on each class, or split again with classify",
        )
    return folds


def _validation(data: Dataset, train: np.ndarray, number: int, config: FinetuneConfig) -> Fold:
    marked = train[[PARTITIONS.get(data.parts[row].lower()) == "validation" for row in train]]
    where = f"fold {number}"
    if config.split in BY_COLUMN and len(marked):
        rest = np.setdiff1d(train, marked)
        absent = _absent(data, rest)
        if absent:
            raise InputError(f"no clip marked train is of {absent}", where=where, do="mark some")
        return Fold(rest, marked)
    seed = config.seed + 1 + number
    if data.speakers is None:
        part_of = stratified_folds(data.y[train], SHARE, seed=seed)
    else:
        names, speaker = np.unique(data.speakers[train], return_inverse=True)
        if len(names) < 2:
            raise InputError(
                f"only speaker {data.speaker_names[names[0]]} is trained on, and nobody can pick the epoch",
                where=where,
                do="give --validation none, which trains for all --epochs",
            )
        parts = min(SHARE, len(names))
        part_of = balanced_group_folds(data.y[train], speaker, folds=parts, seed=seed)[speaker]
    return _best_part(data, train, part_of, where=where)


def _best_part(data: Dataset, train: np.ndarray, part_of: np.ndarray, *, where: str) -> Fold:
    """The part with most classes in it, then nearest to an even share, that leaves no class untrained."""
    known = np.unique(data.y[train])
    candidates = []
    for part in range(int(part_of.max()) + 1):
        held, rest = train[part_of == part], train[part_of != part]
        if len(np.unique(data.y[rest])) == len(known):
            missing = len(known) - len(np.unique(data.y[held]))
            candidates.append((missing, abs(len(held) - len(train) / SHARE), part))
    if not candidates:
        raise InputError(
            "nobody can be set aside to pick the epoch without a class being lost to training",
            where=where,
            do="give --validation none, which trains for all --epochs",
        )
    part = min(candidates)[2]
    return Fold(train[part_of != part], train[part_of == part])


def _absent(data: Dataset, rows: np.ndarray) -> str:
    """Classes of which none of these rows is, in words."""
    absent = np.setdiff1d(np.arange(len(data.classes)), data.y[rows])
    return ", ".join(f"'{data.classes[label]}'" for label in absent)
