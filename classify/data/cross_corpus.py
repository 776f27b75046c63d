"""Training on some corpora and testing on others, of one table with a column `corpus`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

from layerprobe.cache.common.errors import InputError
from layerprobe.cache.common.text import format_list
from layerprobe.classify.data.dataset import NOT_A_LABEL
from layerprobe.embed.manifest.clips import Clip

COLUMN = "corpus"  # as `manifest join` writes it


def corpus_folds(
    clips: Sequence[Clip], *, train: Sequence[str], test: Sequence[str], target: str
) -> list[Clip]:
    """The clips of the corpora named, with `train` or `test` as their split; clips of others are left out.

    Raises InputError for corpora that the table does not hold or that are on both sides, and for a class that
    is tested but never trained on.
    """
    held = Counter(clip.labels.get(COLUMN, "") for clip in clips)
    if not any(held):
        do = "make the table with `manifest join`"
        raise InputError(f"no column '{COLUMN}' in the table, by which to train and test", do=do)
    for option, names in (("--train-corpus", train), ("--test-corpus", test)):
        for name in names:
            if name not in held:
                known = ", ".join(sorted(filter(None, held)))
                raise InputError(
                    f"{option} {name}, but the table has no such corpus", do=f"choose from {known}"
                )
    both = sorted(set(train) & set(test))
    if both:
        raise InputError(
            f"corpus {format_list(both)} is to be trained on and tested", do="name it on one side only"
        )
    part = {**dict.fromkeys(train, "train"), **dict.fromkeys(test, "test")}
    used = [
        replace(clip, split=part[clip.labels[COLUMN]]) for clip in clips if clip.labels.get(COLUMN) in part
    ]
    _check_classes(used, train=train, test=test, target=target)
    return used


def _check_classes(clips: Sequence[Clip], *, train: Sequence[str], test: Sequence[str], target: str) -> None:
    labels = {
        part: {clip.labels.get(target, "").strip() for clip in clips if clip.split == part}
        for part in ("train", "test")
    }
    labels = {
        part: {name for name in names if name.lower() not in NOT_A_LABEL} for part, names in labels.items()
    }
    untrained = sorted(labels["test"] - labels["train"])
    if untrained and labels["train"]:
        raise InputError(
            f"{target} {format_list(untrained)} of {format_list(list(test))} is not among the labels of "
            f"{format_list(list(train))} ({format_list(sorted(labels['train']))})",
            do=f"give both the same labels: manifest join … --map {test[0]}/{target}:{untrained[0]}=NEW",
        )
