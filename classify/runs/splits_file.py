"""splits.json of a run → which clips are trained on and tested in each fold, checked against a table."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from layerprobe.cache.common.errors import InputError
from layerprobe.cache.common.text import format_list
from layerprobe.classify.data.splits import Assignment
from layerprobe.classify.runs.run_folder import RUN, read_json
from layerprobe.embed.manifest.clips import Clip

ADVICE = "give the splits.json of a run folder"


def read_assignment(splits: Path, clips: Sequence[Clip]) -> Assignment:
    """The ids of the training and test clips of each outer fold.

    Raises InputError for a file that is not a splits.json, and for one that does not fit the table.
    """
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
    for number, (train, test) in enumerate(folds):
        what = ""
        if not train or not test:
            what = f"fold {number} has no clips to {'train on' if not train else 'test'}"
        elif both := sorted(set(train) & set(test)):
            what = f"fold {number} trains on clips that it tests ({format_list(both)})"
        if what:
            raise InputError(what, where=str(splits), do=ADVICE)
    return folds


def split_name(splits: Path) -> str | None:
    """The protocol or split (`speaker`, …) of the run that splits.json belongs to; None if unknown."""
    record = splits.with_name(RUN)
    if not record.is_file():
        return None
    config = dict(read_json(record).get("config") or {})
    name = config.get("protocol") or config.get("split")
    return name if isinstance(name, str) else None
