"""Labels and predictions of run folders, read as text, as what the scores of their task are computed from."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from layerprobe.classify.runs.read_predictions import SystemPredictions
from layerprobe.classify.tasks.label_sets import members_of
from layerprobe.classify.tasks.ordinal import by_size
from layerprobe.classify.tasks.task import Reading
from layerprobe.classify.tasks.votes import classes_of, shares_of


def label_codes(
    first: SystemPredictions, predicted: Sequence[np.ndarray]
) -> tuple[int, np.ndarray, list[np.ndarray]]:
    """The number of classes, and labels and predictions as indices into them; numbers and shares stay."""
    if first.task == "regression":
        return 0, first.labels, list(predicted)
    if first.task == "multilabel":
        separator = first.config.get("separator", Reading.separator)
        several = [each.tolist() for each in (first.labels, *predicted)]
        known = sorted(
            {part for texts in several for text in texts for part in text.split(separator) if part}
        )
        own, *others = (members_of(texts, known, separator=separator) for texts in several)
        return len(known), own, others
    if first.task == "soft":
        texts = [each.tolist() for each in (first.labels, *predicted)]
        classes = classes_of([text for of_one in texts for text in of_one])
        own, *others = (shares_of(of_one, classes) for of_one in texts)
        return len(classes), own, others
    names, flat = np.unique([first.labels, *predicted], return_inverse=True)
    if first.task == "ordinal":
        levels = first.config.get("levels") or by_size(names.tolist(), str(first.config.get("target")))
        flat = np.array([levels.index(name) for name in names.tolist()])[flat]
        names = np.array(levels)
    labels, *codes = flat.reshape(1 + len(predicted), -1)
    return len(names), labels, codes
