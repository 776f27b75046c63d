"""Work that trials share: for one layer and one fold, every array is made once and kept under a budget."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import scipy.linalg

from cache.errors import InputError

Scaling = Literal["none", "standard", "speaker", "l2"]
BOTH = "+"  # joins the names of statistics used side by side


@dataclass(frozen=True)
class Prep:
    """How a clip's numbers become a head's input.

    stats: statistics, joined by `+` where several are used. scaling: `none`, `standard` (zero mean and unit
    variance over the training clips), `speaker` (the same over each speaker's own clips) or `l2` (unit length).
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

    def columns(self, stats: str) -> np.ndarray:
        """(N, s*D) view or copy of the given statistics."""
        width = self.X.shape[1] // len(self.stats)
        blocks = [self.stats.index(name) for name in stats.split(BOTH)]
        if blocks == list(range(blocks[0], blocks[-1] + 1)):
            return self.X[:, blocks[0] * width : (blocks[-1] + 1) * width]
        return np.hstack([self.X[:, b * width : (b + 1) * width] for b in blocks])


class Shared:
    """What the trials of one fold share; `train` and `test` are row numbers of `states`.

    Arrays are centred on the training clips' mean, which changes no head's solution (each has a free intercept)
    and spares rounding. `budget` bytes are kept; the array that was not used for longest goes first.
    """

    def __init__(
        self, states: States, y: np.ndarray, *, train: np.ndarray, test: np.ndarray, classes: int, budget: int
    ) -> None:
        self.states, self.train, self.test, self.classes = states, train, test, classes
        self.y = y[train]
        self.groups = None if states.speakers is None else states.speakers[train]
        self._budget, self._kept = budget, OrderedDict[Any, tuple[Any, int]]()

    def arrays(self, prep: Prep) -> tuple[np.ndarray, np.ndarray]:
        """(n, d) and (m, d) float32: the training and test clips' inputs."""
        if prep.pca == 0:
            return self.keep(("arrays", prep), lambda: self._scaled(prep))
        train, test = self.arrays(Prep(prep.stats, prep.scaling))
        axes = self._axes(prep)[:, : prep.pca]
        return self.keep(("arrays", prep), lambda: (train @ axes, test @ axes))

    def power(self, prep: Prep) -> float:
        """The training clips' mean squared length: the sum of the columns' variances.

        Penalties and kernel widths are given relative to it, so that one range suits every layer and scaling.
        """
        train, _ = self.arrays(prep)
        return self.keep(("power", prep), lambda: float(np.einsum("ij,ij->", train, train) / len(train)))

    def gram(self, prep: Prep) -> tuple[np.ndarray, np.ndarray]:
        """(n, n) and (m, n) float32: inner products with the training clips, divided by `power`."""

        def make() -> tuple[np.ndarray, np.ndarray]:
            train, test = self.arrays(prep)
            scaled = train.T / np.float32(self.power(prep))
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

    def keep(self, key: tuple[Any, ...], make: Callable[[], Any]) -> Any:
        """What `make` gave for `key` before, or gives now."""
        if key in self._kept:
            self._kept.move_to_end(key)
            return self._kept[key][0]
        value = make()
        size = _size(value)
        self._kept[key] = value, size
        total = sum(held for _, held in self._kept.values())
        while total > self._budget and len(self._kept) > 1:
            _, (_, freed) = self._kept.popitem(last=False)
            total -= freed
        return value

    def _scaled(self, prep: Prep) -> tuple[np.ndarray, np.ndarray]:
        columns = self.states.columns(prep.stats)
        if prep.scaling == "speaker":
            columns = self.keep(("speaker", prep.stats), lambda: by_speaker(columns, self.states.speakers))
        train, test = columns[self.train], columns[self.test]
        if prep.scaling == "l2":
            train, test = _unit(train), _unit(test)
        mean = train.mean(0, dtype=np.float64)
        train, test = (train - mean).astype(np.float32), (test - mean).astype(np.float32)
        if prep.scaling in ("standard", "speaker"):
            scale = deviation(train)
            train, test = train / scale, test / scale
        if not train.any():
            raise InputError(
                f"every training clip has the same {prep.stats}", do="nothing can be learnt from these states"
            )
        return train, test

    def _axes(self, prep: Prep) -> np.ndarray:
        """(D, k) the leading principal axes, k enough for `prep.pca`; the largest loading is positive."""

        def make() -> np.ndarray:
            train, _ = self.arrays(Prep(prep.stats, prep.scaling))
            return principal_axes(train, MOST_AXES)

        axes = self.keep(("axes", prep.stats, prep.scaling), make)
        return axes


MOST_AXES = 64  # of PCA; a larger basis costs more than it was seen to give


def principal_axes(train: np.ndarray, most: int) -> np.ndarray:
    """(D, min(most, D, n - 1)) leading principal axes of centred rows, float32, signs as in scikit-learn."""
    n, width = train.shape
    count = min(most, width, n - 1)
    wide = width > n
    inner = (train @ train.T if wide else train.T @ train).astype(np.float64)
    size = len(inner)
    values, vectors = scipy.linalg.eigh(
        inner, subset_by_index=(size - count, size - 1), check_finite=False, overwrite_a=True
    )
    values, vectors = values[::-1], vectors[:, ::-1]
    if wide:
        vectors = (train.T.astype(np.float64) @ vectors) / np.sqrt(np.maximum(values, 1e-12))
    largest = vectors[np.abs(vectors).argmax(0), np.arange(count)]
    return (vectors * np.where(largest < 0, -1, 1)).astype(np.float32)


def deviation(train: np.ndarray) -> np.ndarray:
    """(D,) standard deviations of centred columns; 1 for columns that are constant but for rounding."""
    scale = np.sqrt(np.einsum("ij,ij->j", train, train, dtype=np.float64) / len(train))
    return np.where(scale > 1e-6 * scale.max(initial=0), scale, 1).astype(np.float32)


def by_speaker(X: np.ndarray, speakers: np.ndarray | None) -> np.ndarray:
    """(N, D) each speaker's clips brought to zero mean and unit variance; raises InputError without speakers."""
    if speakers is None:
        raise InputError("the table names no speakers to scale by", do="leave 'speaker' out of the scalings")
    out = np.empty_like(X)
    for speaker in np.unique(speakers):
        rows = speakers == speaker
        centred = X[rows] - X[rows].mean(0, dtype=np.float64)
        out[rows] = centred / deviation(centred)
    return out


def _unit(X: np.ndarray) -> np.ndarray:
    length = np.linalg.norm(X, axis=1, keepdims=True)
    return X / np.where(length > 0, length, 1)


def _size(value: Any) -> int:
    if isinstance(value, tuple):
        return sum(_size(part) for part in value)
    return int(getattr(value, "nbytes", 0))
