"""splits.json of a run → which clips are trained on and tested in each fold, checked against a table."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from layerprobe.cache.common.errors import InputError
from layerprobe.cache.common.text import format_list
from layerprobe.classify.data.splits import Assignment
from layerprobe.classify.runs.folder import RUN, read_json
from layerprobe.embed.manifest.clips import Clip

ADVICE = "give the splits.json of a run folder"


def read_assignment(splits: Path, clips: Sequence[Clip]) -> Assignment:
    """The ids of training and test clips of each outer fold. Raises InputError, also for another table's."""
    try:
        told = read_json(splits, do=ADVICE)["folds"]
        folds = [(list(fold["train"]), list(fold["test"])) for fold in told]
        if not all(isinstance(name, str) for fold in folds for part in fold for name in part):
            raise TypeError("an id is no text")
    except (KeyError, TypeError) as error:
        raise InputError("is no splits.json", where=str(splits), do=ADVICE) from error
    if not folds:
        raise InputError("holds no fold", where=str(splits), do=ADVICE)
    strangers = {name for fold in folds for part in fold for name in part} - {clip.id for clip in clips}
    if strangers:
        told = f"{len(strangers)} of its clips are not in the table, such as {min(strangers)}"
        raise InputError(told, where=str(splits), do="give the splits of a run on this very table")
    for number, (train, test) in enumerate(folds):
        if not train or not test:
            told = f"fold {number} has no clips to {'train on' if not train else 'test'}"
            raise InputError(told, where=str(splits), do=ADVICE)
        both = sorted(set(train) & set(test))
        if both:
            told = f"fold {number} trains on clips that it tests ({format_list(both)})"
            raise InputError(told, where=str(splits), do=ADVICE)
    return folds


def split_name(splits: Path) -> str | None:
    """What the run beside splits.json calls its split (`speaker`, a protocol, …); None where none tells."""
    record = splits.with_name(RUN)
    if not record.is_file():
        return None
    config = dict(read_json(record).get("config") or {})
    name = config.get("protocol") or config.get("split")
    return name if isinstance(name, str) else None
