"""Work that trials share: for one layer and one fold, every array is made once and kept under a budget."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from classify.config import Scaling
from classify.scaling import by_speaker, principal_axes, standardise, unit

BOTH = "+"  # joins the names of statistics used side by side


@dataclass(frozen=True)
class Prep:
    """How a clip's numbers become a head's input.

    stats: statistics, joined by `+` where several are used. scaling: `none`, `standard` (zero mean and unit
    variance over the training clips), `speaker` (the same over each speaker's clips first) or `l2`
    (standard, then each clip at unit length).
    pca: number of leading principal components of the training clips; 0 for all columns.
    """

    stats: str
    scaling: Scaling
    pca: int = 0


@dataclass(frozen=True)
class States:
    """One layer: X (N, S*D) float32, statistics side by side, in the order of `stats`."""

    X: np.ndarray
    stats: tuple[str, ...]
    speakers: np.ndarray | None

    @property
    def width(self) -> int:
        """Columns of one statistic."""
        return int(self.X.shape[1]) // len(self.stats)

    def columns(self, stats: str) -> np.ndarray:
        """(N, s*D): the given statistics."""
        picked = [self.stats.index(name) for name in stats.split(BOTH)]
        if picked == list(range(picked[0], picked[-1] + 1)):
            return self.X[:, picked[0] * self.width : (picked[-1] + 1) * self.width]
        return np.hstack([self.X[:, i * self.width : (i + 1) * self.width] for i in picked])


class Shared:
    """What the trials of one fold share.

    train, test: row numbers of `states`. y: classes of the training rows.

    Inputs are centred on the training clips' mean, which changes no head's solution (each has a free
    intercept) and spares rounding. `budget` bytes are kept; what was not used for longest goes first.
    """

    def __init__(
        self,
        states: States,
        y: np.ndarray,
        *,
        train: np.ndarray,
        test: np.ndarray,
        classes: int,
        budget: int,
    ) -> None:
        self.states, self.train, self.test, self.classes = states, train, test, classes
        self.y = y[train]
        self._budget = budget
        self._kept: OrderedDict[tuple[Any, ...], tuple[Any, int]] = OrderedDict()  # value, bytes

    def arrays(self, prep: Prep) -> tuple[np.ndarray, np.ndarray]:
        """(n, d) and (m, d) float32: the training and test clips' inputs."""
        if prep.pca == 0:
            return self.keep(("arrays", prep), lambda: self._scaled(prep))
        train, test = self.basis(replace(prep, pca=0))
        return train[:, : prep.pca], test[:, : prep.pca]

    def basis(self, prep: Prep) -> tuple[np.ndarray, np.ndarray]:
        """(n, r) and (m, r) float32: the inputs along the training clips' principal axes, largest first.

        A rotation: lengths, distances and inner products with training clips are those of `arrays`. Signs are
        scikit-learn's, so that the first columns are what its PCA gives.
        """
        if prep.pca:
            return self.arrays(prep)

        def make() -> tuple[np.ndarray, np.ndarray]:
            train, test = self.arrays(prep)
            axes = principal_axes(train)
            return train @ axes, test @ axes

        return self.keep(("basis", prep), make)

    def power(self, prep: Prep) -> float:
        """The training clips' mean squared length: the sum of the inputs' variances.

        Penalties and kernel widths are given relative to it, so that one range suits every layer and scaling.
        """

        def make() -> float:
            train, _ = self.arrays(prep)
            return float(np.einsum("ij,ij->", train, train, dtype=np.float64) / len(train))

        return self.keep(("power", prep), make)

    def gram(self, prep: Prep) -> tuple[np.ndarray, np.ndarray]:
        """(n, n) and (m, n) float32: inner products with the training clips, divided by `power`."""

        def make() -> tuple[np.ndarray, np.ndarray]:
            train, test = self.arrays(prep)
            scaled = (train / np.float32(self.power(prep))).T
            return train @ scaled, test @ scaled

        return self.keep(("gram", prep), make)

    def distances(self, prep: Prep) -> tuple[np.ndarray, np.ndarray]:
        """(n, n) and (m, n) float32: squared distances to the training clips, divided by `power`."""

        def make() -> tuple[np.ndarray, np.ndarray]:
            own, other = self.gram(prep)
            _, test = self.arrays(prep)
            lengths = np.diagonal(own).copy()
            across = np.einsum("ij,ij->i", test, test) / np.float32(self.power(prep))
            near = np.maximum(lengths[:, None] + lengths - 2 * own, 0)
            np.fill_diagonal(near, 0)
            return near, np.maximum(across[:, None] + lengths - 2 * other, 0)

        return self.keep(("distances", prep), make)

    def weights(self, kind: str) -> np.ndarray:
        """(n,) weights of the training rows: `none`, one each; `balanced`, as much for each class in all."""
        if kind == "none":
            return np.ones(len(self.y))
        return (len(self.y) / (self.classes * np.bincount(self.y, minlength=self.classes)))[self.y]

    def keep(self, key: tuple[Any, ...], make: Callable[[], Any], *, size: int | None = None) -> Any:
        """What `make` gave for `key` before, or gives now; `size` in bytes of what is no array."""
        if key not in self._kept:
            value = make()
            self._kept[key] = value, _size(value) if size is None else size
            total = sum(held for _, held in self._kept.values())
            while total > self._budget and len(self._kept) > 1:
                total -= self._kept.popitem(last=False)[1][1]
        self._kept.move_to_end(key)
        return self._kept[key][0]

    def _scaled(self, prep: Prep) -> tuple[np.ndarray, np.ndarray]:
        columns = self.states.columns(prep.stats)
        if prep.scaling == "speaker":
            columns = self.keep(("speaker", prep.stats), lambda: by_speaker(columns, self.states.speakers))
        train, test = columns[self.train], columns[self.test]
        train, test = standardise(train, test, variance=prep.scaling != "none")
        if prep.scaling == "l2":
            train, test = standardise(unit(train), unit(test), variance=False)
        return train, test


def _size(value: Any) -> int:
    if isinstance(value, tuple):
        return sum(_size(part) for part in value)
    return int(getattr(value, "nbytes", 0))
