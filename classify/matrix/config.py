"""What every run of a matrix searches: a study whose split and corpora the matrix decides."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from layerprobe.cache.common.options import INTERNAL
from layerprobe.classify.config import *  # noqa: F403 - the inherited annotations are evaluated in this module
from layerprobe.classify.config import StudyConfig


@dataclass(frozen=True, kw_only=True)
class MatrixStudy(StudyConfig):
    """The options of a study of classes, without those about which clips are trained on and tested."""

    split: Annotated[str, INTERNAL] = StudyConfig.split
    task: Annotated[TaskName, INTERNAL] = "classification"  # noqa: F405
    levels: Annotated[tuple[str, ...], INTERNAL] = ()
    protocol: Annotated[str | None, INTERNAL] = None
    splits: Annotated[str | None, INTERNAL] = None
    train_corpus: Annotated[tuple[str, ...], INTERNAL] = ()
    test_corpus: Annotated[tuple[str, ...], INTERNAL] = ()
