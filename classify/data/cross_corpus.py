"""Cross-corpus splits: train on some corpora of a table with a column `corpus`, test on others."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

from layerprobe.cache.common.errors import InputError
from layerprobe.cache.common.text import format_list
from layerprobe.embed.manifest.clips import Clip

COLUMN = "corpus"  # as `manifest join` writes it


def corpus_folds(
    clips: Sequence[Clip], *, train: Sequence[str], test: Sequence[str], target: str, numbers: bool = False
) -> list[Clip]:
    """The clips of these corpora, with `train` or `test` as their split; other clips are excluded.

    numbers: whether labels are numbers, of which any may be tested. Raises InputError for corpora that are
    missing from the table or on both sides, and for a class that is tested but not trained on.
    """
    corpora = Counter(clip.labels.get(COLUMN, "") for clip in clips)
    if not any(corpora):
        do = "make the table with `manifest join`"
        raise InputError(f"no column '{COLUMN}' in the table, by which to train and test", do=do)
    for option, names in (("--train-corpus", train), ("--test-corpus", test)):
        for name in names:
            if name not in corpora:
                known = ", ".join(sorted(filter(None, corpora)))
                raise InputError(
                    f"{option} {name}, but the table has no such corpus", do=f"choose from {known}"
                )
    both = sorted(set(train) & set(test))
    if both:
        raise InputError(
            f"corpus {format_list(both)} is to be trained on and tested", do="name it on one side only"
        )
    split_of = {**dict.fromkeys(train, "train"), **dict.fromkeys(test, "test")}
    used = [
        replace(clip, split=split_of[clip.labels[COLUMN]])
        for clip in clips
        if clip.labels.get(COLUMN) in split_of
    ]
    if not numbers:
        _check_classes(used, train=train, test=test, target=target)
    return used


def _check_classes(clips: Sequence[Clip], *, train: Sequence[str], test: Sequence[str], target: str) -> None:
    labels: dict[str | None, set[str]] = {"train": set(), "test": set()}
    for clip in clips:
        label = clip.labels.get(target, "").strip()
        if label:
            labels[clip.split].add(label)
    untrained = sorted(labels["test"] - labels["train"])
    if untrained and labels["train"]:
        raise InputError(
            f"{target} {format_list(untrained)} of {format_list(list(test))} is not among the labels of "
            f"{format_list(list(train))} ({format_list(sorted(labels['train']))})",
            do=f"give both the same labels: manifest join … --map {test[0]}/{target}:{untrained[0]}=NEW",
        )
