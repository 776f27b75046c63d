"""`Prediction`: what a system says about one clip."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from layerprobe.cache.common.errors import ClipError
from layerprobe.classify.config import TaskName
from layerprobe.classify.scores.conformal import prediction_sets
from layerprobe.embed.manifest.clips import Clip

# What systems predict that give no single label, by task.
PREDICTS: dict[TaskName, str] = {
    "regression": "predicts a number",
    "multilabel": "predicts a set of labels",
    "soft": "predicts shares of votes",
}


@dataclass(frozen=True, kw_only=True)
class Prediction:
    """What a system says about one clip. label: None below the confidence that was asked for.

    number: of a regression, which has no label, confidence and probabilities. labels: of sets of labels,
    those that are more probable than not.
    probabilities: (K,), in the order of the bundle's labels. label_set: the prediction set, if a coverage was
    asked for. error: why there is no prediction; the rest is then empty.
    """

    clip: Clip
    label: str | None = None
    confidence: float = 0.0
    probabilities: tuple[float, ...] = ()
    label_set: tuple[str, ...] | None = None
    number: float | None = None
    labels: tuple[str, ...] | None = None
    error: ClipError | None = None


def make_prediction(
    clip: Clip,
    row: np.ndarray,
    labels: Sequence[str],
    *,
    task: TaskName,
    least: float,
    threshold: float | None,
) -> Prediction:
    """From what `Bundle.outputs` gives: probabilities (K,) in the order of `labels`, or a number (1,).

    least: probability below which there is no label. threshold: of `scores.conformal`, for a set of labels.
    """
    if task == "regression":
        return Prediction(clip=clip, number=float(row[0]))
    probabilities = tuple(row.tolist())
    if task == "multilabel":
        return Prediction(clip=clip, labels=likely(row, labels), probabilities=probabilities)
    best = int(row.argmax())
    confidence = float(row[best])
    within: tuple[str, ...] | None = None
    if threshold is not None:
        (members,) = prediction_sets(row[None], threshold)
        within = tuple(label for label, member in zip(labels, members, strict=True) if member)
    return Prediction(
        clip=clip,
        label=labels[best] if confidence >= least else None,
        confidence=confidence,
        probabilities=probabilities,
        label_set=within,
    )


def likely(probability: np.ndarray, labels: Sequence[str]) -> tuple[str, ...]:
    """The labels that are more probable than not, of (K,)."""
    return tuple(label for label, p in zip(labels, probability, strict=True) if p > 0.5)
