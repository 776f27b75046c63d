"""The heads that a study can use, by name. To add one, write a file like these and add a line to `HEADS`, or
to the heads of another task."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from layerprobe.cache.common.errors import InputError
from layerprobe.cache.common.options import check_choices
from layerprobe.classify.config import TaskName
from layerprobe.classify.heads.base import Head
from layerprobe.classify.heads.boosting import XGBOOST
from layerprobe.classify.heads.closed_form import LDA, RIDGE
from layerprobe.classify.heads.fitted import Constant, Kernel, Linear, Neighbours, Trees, VectorMachine
from layerprobe.classify.heads.frames.attention import ATTENTION, Attentive
from layerprobe.classify.heads.frames.bilstm import BILSTM, Recurrent
from layerprobe.classify.heads.logreg import LOGREG
from layerprobe.classify.heads.majority import MAJORITY
from layerprobe.classify.heads.neighbours import KNN
from layerprobe.classify.heads.nonlinear.gaussian_process import GP
from layerprobe.classify.heads.nonlinear.laplace import Laplace
from layerprobe.classify.heads.nonlinear.mlp import MLP
from layerprobe.classify.heads.regression.mean import MEAN
from layerprobe.classify.heads.regression.ridge import RIDGE_REGRESSION
from layerprobe.classify.heads.regression.svr import SVR_HEAD
from layerprobe.classify.heads.regression.trees import XGBOOST_REGRESSION
from layerprobe.classify.heads.solvers.network import Network
from layerprobe.classify.heads.structured.one_vs_rest import OneVsRest, one_vs_rest
from layerprobe.classify.heads.structured.ordinal import ORDINAL_LOGISTIC, Cumulative
from layerprobe.classify.heads.structured.shares import mean_shares, on_copies, on_shares
from layerprobe.classify.heads.svm import SVM
from layerprobe.classify.heads.weights import WEIGHTS

HEADS: dict[str, Head] = {
    "logreg": LOGREG,
    "svm": SVM,
    "xgboost": XGBOOST,
    "ridge": RIDGE,
    "lda": LDA,
    "knn": KNN,
    "mlp": MLP,
    "gp": GP,
    "weights": WEIGHTS,
    "bilstm": BILSTM,
    "attention": ATTENTION,
    "majority": MAJORITY,
}
REGRESSION_HEADS: dict[str, Head] = {
    "ridge": RIDGE_REGRESSION,
    "svm": SVR_HEAD,
    "xgboost": XGBOOST_REGRESSION,
    "mean": MEAN,
}
_OF_TASK: dict[TaskName, dict[str, Head]] = {
    "classification": HEADS,
    "regression": REGRESSION_HEADS,
    "ordinal": {"ordinal": ORDINAL_LOGISTIC, **HEADS},
    "multilabel": {
        name: one_vs_rest(head)
        for name, head in HEADS.items()
        if head.reads != "frames" and not head.together
    },
    "soft": {
        "logreg": on_shares(LOGREG),
        "xgboost": on_copies(XGBOOST),
        "weights": on_shares(WEIGHTS),
        "bilstm": on_shares(BILSTM),
        "attention": on_shares(ATTENTION),
        "majority": mean_shares(MAJORITY),
    },
}
# Heads after their fit, by the name that a bundle has for them.
KINDS: dict[str, Any] = {
    kind.kind: kind
    for kind in (
        *(Linear, Kernel, VectorMachine, Trees, Constant, Neighbours),
        *(Network, Cumulative, OneVsRest, Recurrent, Attentive, Laplace),
    )
}


def heads_of(task: TaskName) -> dict[str, Head]:
    """The heads that fit a task, by name."""
    return _OF_TASK[task]


def check_known(names: Sequence[str], task: TaskName) -> None:
    """Raise InputError for a head that does not exist, or that this task cannot use."""
    known = heads_of(task)
    for name in names:
        if task == "soft" and name in HEADS and name not in known:
            what = f"{name} cannot be fitted to shares of votes: it has no log loss of a distribution"
            raise InputError(what, do=f"choose --heads from {', '.join(known)}")
    check_choices("--heads", names, tuple(known))


def head_of(task: TaskName, name: str, *, streamed: bool) -> Head:
    """One head; streamed: as it is on states that are read in blocks."""
    head = heads_of(task)[name]
    return head.streamed or head if streamed else head


def needs_frames(names: Sequence[str]) -> bool:
    """Whether these heads read every frame. Raises InputError if some read frames and others statistics."""
    frames, statistics = (
        ", ".join(name for name in names if name in HEADS and HEADS[name].reads == kind)
        for kind in ("frames", "statistics")
    )
    if frames and statistics:
        raise InputError(
            f"{frames} reads every frame, {statistics} statistics over frames",
            do="search them in two runs, and compare these with `compare`",
        )
    return bool(frames)
