"""The classifiers a study may use, by name. A new one is a file like these and an entry here."""

from __future__ import annotations

from collections.abc import Sequence

from cache.errors import InputError
from classify.bilstm import BILSTM
from classify.head import Head
from classify.logreg import LOGREG
from classify.majority import MAJORITY
from classify.svm import SVM
from classify.trees import XGBOOST

HEADS: dict[str, Head] = {
    "logreg": LOGREG,
    "svm": SVM,
    "xgboost": XGBOOST,
    "bilstm": BILSTM,
    "majority": MAJORITY,
}


def want_frames(names: Sequence[str]) -> bool:
    """Whether these heads read every frame of a clip. Raises InputError where some do and some do not."""
    frames, statistics = (
        ", ".join(name for name in names if name in HEADS and HEADS[name].reads == kind)
        for kind in ("frames", "statistics")
    )
    if frames and statistics:
        raise InputError(
            f"{frames} reads every frame, {statistics} statistics over frames",
            do="search them in two runs; `compare` sets these side by side",
        )
    return bool(frames)
