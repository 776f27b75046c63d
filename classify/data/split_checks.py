"""Data that cannot be split as asked: refusals that name the class or the speakers, and say what to do."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from layerprobe.cache.common.errors import InputError
from layerprobe.cache.common.text import format_count, format_list
from layerprobe.classify.data.dataset import Dataset

FEWEST_SPEAKERS = 3  # of nested folds: one to test, one to choose by, one to train on
LEAVE_OUT = "leave the class out (empty its labels)"


def speakers_of(data: Dataset) -> np.ndarray:
    """(N,) speaker of each clip. Raises InputError for a table without speakers."""
    if data.speakers is None:
        raise InputError(
            "the table names no speakers, so folds cannot be speaker-disjoint",
            do="name their column with --speaker-column; --split random scores known speakers only",
        )
    return data.speakers


def check_nesting(data: Dataset) -> None:
    """Raises InputError if there are too few speakers for an outer test, an inner test and training."""
    speakers_of(data)
    count = len(data.speaker_names)
    if count < FEWEST_SPEAKERS:
        raise InputError(
            f"speaker-disjoint nested folds require {FEWEST_SPEAKERS} speakers, and the table names {count}",
            do="add some, or give --speaker-column; --split random scores known speakers only",
        )


def check_speakers(speakers: int, folds: int, *, what: str, place: str) -> None:
    """Raises InputError for fewer speakers than folds. what: the option. place: where they were counted."""
    if speakers < folds:
        do = f"give {speakers} folds or fewer"
        if speakers < 2:
            do = "add speakers, or give more outer folds, each of which then trains on more of them"
        count = format_count(speakers, "speaker")
        raise InputError(f"{what}, but there {'is' if speakers == 1 else 'are'} {count}{place}", do=do)


def check_clips(data: Dataset, rows: np.ndarray, folds: int, *, what: str) -> None:
    """Raises InputError if a class has fewer clips among `rows` than there are folds. what: the option."""
    if not data.classes and len(rows) < folds:
        raise InputError(f"{what} {folds}, but there are {len(rows)} clips", do="label more, or give fewer")
    counts = data.members[rows].sum(0)
    rare = [label for label in np.argsort(counts, kind="stable").tolist() if counts[label] < folds]
    if rare:
        place = "" if len(rows) == len(data) else " in the training partition of an outer fold"
        fewer = f", label more of it, or give fewer {what}" if folds > 2 else " or label more of it"
        raise InputError(
            f"class '{data.classes[rare[0]]}' has too few clips ({counts[rare[0]]}{place}) for {folds} folds"
            f"{_likewise(data, rare[1:])}",
            do=f"{LEAVE_OUT}{fewer}",
        )


def check_training_part(data: Dataset, rows: np.ndarray, *, where: str) -> None:
    """Raises InputError if nothing can be learnt from `rows`: a class is absent, or in all clips."""
    absent, always = np.flatnonzero(~data.members[rows].any(0)), np.flatnonzero(data.members[rows].all(0))
    if len(always):
        what = f"every training clip has the label '{data.classes[int(always[0])]}'"
        raise InputError(what, where=where, do="leave the label out, or add speakers without it")
    if not data.classes and len(np.unique(data.y[rows])) < 2:
        what = "the training clips have fewer than two different numbers"
        raise InputError(what, where=where, do="label more clips, or give other folds")
    if len(absent):
        name = data.classes[int(absent[0])]
        raise InputError(
            f"class '{name}' is missing from the training clips ({_support(data, int(absent[0]))})",
            where=where,
            do=f"{LEAVE_OUT}, add speakers of it, give other folds, or try --split random",
        )


def check_test_parts(data: Dataset, outer: list[np.ndarray]) -> None:
    """Raises InputError if a class is missing from the test clips of an outer fold."""
    speakers = [len(np.unique(speakers_of(data)[rows])) for rows in data.members.T]
    rare = [label for label in np.argsort(speakers, kind="stable").tolist() if speakers[label] < len(outer)]
    if rare:
        # With two, one is tested and the other trained on, which leaves none for inner folds.
        fewer = f"give {speakers[rare[0]]} --folds" if speakers[rare[0]] > 2 else "try --split random"
        raise InputError(
            f"class '{data.classes[rare[0]]}' has too few speakers ({_support(data, rare[0])}) for "
            f"{len(outer)} folds without shared speakers{_likewise(data, rare[1:])}",
            do=f"{LEAVE_OUT}, add speakers of it, or {fewer}",
        )
    for number, rows in enumerate(outer):
        absent = np.flatnonzero(~data.members[rows].any(0))
        if len(absent):
            name = data.classes[int(absent[0])]
            raise InputError(
                f"class '{name}' is missing from the test clips ({_support(data, int(absent[0]))})",
                where=f"outer fold {number}",
                do=f"{LEAVE_OUT}, add speakers of it, or give fewer --folds",
            )


def _support(data: Dataset, label: int) -> str:
    """The clips and speakers of a class, as text."""
    rows = data.members[:, label]
    clips = int(rows.sum())
    if data.speakers is None:
        return format_count(clips, "clip")
    names = [data.speaker_names[number] for number in np.unique(data.speakers[rows])]
    return f"{format_count(clips, 'clip')} of {format_count(len(names), 'speaker')}: {format_list(names)}"


def _likewise(data: Dataset, labels: Sequence[int]) -> str:
    """The end of a message that applies to other classes too."""
    names = format_list([f"'{data.classes[label]}'" for label in labels])
    return f", and so {'has' if len(labels) == 1 else 'have'} {names}" if labels else ""
