"""Sets of labels: any head for classes, fitted once for each label against clips without it.

The fits of all labels share scaled inputs, bases and kernels, and have the same parameters. The score of a
label is positive for clips that have it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from copy import copy
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from layerprobe.classify.features.fold_features import FoldFeatures, Preprocessing
from layerprobe.classify.heads.base import Head, Params
from layerprobe.classify.heads.fitted import FittedHead, TrainingRows
from layerprobe.classify.heads.numbered import save_part, saved_part


@dataclass(frozen=True)
class OneVsRest:
    """A fitted head of two classes for each label; in a bundle, each file begins with the label's number."""

    kind: ClassVar[str] = "one_vs_rest"
    heads: tuple[FittedHead, ...]

    def scores(self, Z: np.ndarray) -> np.ndarray:
        return np.stack([_margin(head.scores(Z)) for head in self.heads], axis=1)

    def save(self, folder: Path) -> dict[str, Any]:
        saved = []
        for number, head in enumerate(self.heads):
            saved.append({"kind": head.kind, "settings": save_part(folder, number, head.save)})
        return {"heads": saved}

    @classmethod
    def load(cls, folder: Path, settings: Mapping[str, Any]) -> OneVsRest:
        from layerprobe.classify.heads.registry import KINDS  # which imports this module

        heads = []
        for number, one in enumerate(settings["heads"]):
            with saved_part(folder, number) as own:
                heads.append(KINDS[one["kind"]].load(own, one["settings"]))
        return cls(tuple(heads))


def one_vs_rest(head: Head) -> Head:
    """The head for sets of labels that `head` is for classes."""
    count = head.parameters

    def fit(
        features: FoldFeatures, prep: Preprocessing, params: Params, values: Sequence[float], seed: int
    ) -> list[np.ndarray]:
        # One label after the other, not value by value: the trees of all share XGBoost's random numbers.
        by_label = [
            [_margin(scores) for scores in head.fit(of_label(features, number), prep, params, values, seed)]
            for number in range(features.classes)
        ]
        return [np.stack(each, axis=1) for each in zip(*by_label, strict=True)]

    def refit(rows: TrainingRows, params: Params, value: float, seed: int) -> FittedHead:
        own = [replace(rows, y=y.astype(np.int64), classes=2) for y in rows.y.T]
        return OneVsRest(tuple(head.refit(one, params, value, seed) for one in own))

    def parameters(columns: int, classes: int, params: Params) -> int:
        assert count is not None  # for the type checker
        return classes * count(columns, 2, params)

    return replace(
        head,
        fit=fit,
        refit=refit,
        parameters=None if count is None else parameters,
        streamed=None if head.streamed is None else one_vs_rest(head.streamed),
    )


def of_label(features: FoldFeatures, number: int) -> FoldFeatures:
    """The same rows with two classes: without and with a label, of sets of labels y (n, K) bool."""
    other = copy(features)
    other.y, other.classes = features.y[:, number].astype(np.int64), 2
    other.labels_digest = hashlib.sha256(other.y.tobytes()).hexdigest()
    return other


def _margin(scores: np.ndarray) -> np.ndarray:
    """(m, 2) scores of clips without and with a label → (m,)."""
    return np.asarray(scores[:, 1] - scores[:, 0])
