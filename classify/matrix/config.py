"""What every run of a matrix searches: a study whose split and corpora the matrix decides."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from layerprobe.cache.common.errors import InputError
from layerprobe.cache.common.options import INTERNAL
from layerprobe.classify.config import *  # noqa: F403 - the inherited annotations are evaluated in this module
from layerprobe.classify.config import StudyConfig, TaskName

TASKS_OF_MATRIX = ("classification", "regression", "ordinal")


@dataclass(frozen=True, kw_only=True)
class MatrixStudy(StudyConfig):
    """The options of a study, without those about which clips are trained on and tested."""

    task: TaskName = "classification"
    """What the label is: one of several classes, a number to predict (regression) or a level of an order
    (ordinal)."""
    split: Annotated[str, INTERNAL] = StudyConfig.split
    separator: Annotated[str, INTERNAL] = StudyConfig.separator
    protocol: Annotated[str | None, INTERNAL] = None
    splits: Annotated[str | None, INTERNAL] = None
    train_corpus: Annotated[tuple[str, ...], INTERNAL] = ()
    test_corpus: Annotated[tuple[str, ...], INTERNAL] = ()

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.task not in TASKS_OF_MATRIX:
            what = f"matrix has no --task {self.task}"
            raise InputError(what, do=f"choose from {', '.join(TASKS_OF_MATRIX)}")
