"""Work that trials share: for one fold, every array is made once and kept under a budget."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Hashable
from copy import copy
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from classify.config import Scaling
from classify.kept import Kept
from classify.scaling import by_speaker, orthogonal_columns, principal_axes, standardise, unit

if TYPE_CHECKING:
    from classify.frames import Frames

BOTH = "+"  # joins the names of statistics used side by side


EXACT_CLIPS = 20_000  # training clips above which a whole kernel is too much for any machine we know
ANCHORS = 1000
LEAST_AXES = 64  # principal axes that are found at once


@dataclass(frozen=True)
class Prep:
    """How a clip's numbers become a head's input.

    stats: statistics, joined by `+` where several are used. scaling: `none`, `standard` (zero mean and unit
    variance over the training clips), `speaker` (the same over each speaker's clips first) or `l2`
    (standard, and at the end each clip at unit length).
    pca: number of leading principal components of the training clips, taken after scaling; 0 for all columns.
    layer: which of the fold's layers. mix: instead, a weight for each of them, for kernels.
    """

    stats: str
    scaling: Scaling
    pca: int = 0
    layer: int = 0
    mix: tuple[float, ...] = ()


def no_frames() -> Frames:
    raise RuntimeError("these states are statistics over frames")


@dataclass(frozen=True)
class States:
    """One layer of N clips.

    load: gives X (N, S*width) float32, statistics side by side in the order of `stats`. frames: gives every
    frame instead, where the store keeps these.
    """

    load: Callable[[], np.ndarray]
    stats: tuple[str, ...]
    width: int
    speakers: np.ndarray | None
    frames: Callable[[], Frames] = no_frames

    def columns(self, stats: str) -> np.ndarray:
        """(N, s*width): the given statistics."""
        X = self.load()
        picked = [self.stats.index(name) for name in stats.split(BOTH)]
        if picked == list(range(picked[0], picked[-1] + 1)):
            return X[:, picked[0] * self.width : (picked[-1] + 1) * self.width]
        return np.hstack([X[:, i * self.width : (i + 1) * self.width] for i in picked])


class Shared:
    """What the trials of one fold share.

    layers: one, or all of a mix. train, test: row numbers. y: classes of the training rows. anchors: places
    among the training rows that kernels are taken with; None for all of them.

    Inputs are centred on the training clips' mean, which changes no head's solution (each has a free
    intercept) and spares rounding. At most `budget` bytes are kept.
    """

    def __init__(
        self,
        layers: tuple[States, ...],
        y: np.ndarray,
        *,
        train: np.ndarray,
        test: np.ndarray,
        classes: int,
        budget: int,
        anchors: np.ndarray | None = None,
    ) -> None:
        self.layers, self.train, self.test, self.classes = layers, train, test, classes
        self.y, self.anchors = y[train], anchors
        self.labels = ""  # tells classes apart in what is kept; see `relabelled`
        self._kept = Kept(budget)

    def arrays(self, prep: Prep) -> tuple[np.ndarray, np.ndarray]:
        """(n, d) and (m, d) float32: the training and test clips' inputs."""
        return self.keep(("arrays", prep), lambda: self._arrays(prep))

    def basis(self, prep: Prep) -> tuple[np.ndarray, np.ndarray]:
        """(n, r) and (m, r) float32, r ≤ n: the inputs turned so that the training columns are orthogonal."""
        if prep.pca:
            return self.arrays(prep)
        return self.keep(("basis", prep), lambda: orthogonal_columns(*self.arrays(prep)))

    def power(self, prep: Prep) -> float:
        """The training clips' mean squared length: the sum of the inputs' variances.

        Penalties and kernel widths are given relative to it, so that one range suits every layer and scaling.
        """

        def make() -> float:
            train, _ = self.arrays(prep)
            return float(np.square(train).sum(dtype=np.float64) / len(train))

        return self.keep(("power", prep), make)

    def gram(self, prep: Prep) -> tuple[np.ndarray, np.ndarray]:
        """(n, a) and (m, a) float32: inner products with the anchors, divided by `power`.

        Of a mix, the layers' weighted sum.
        """
        return self._kernel("gram", prep, self._gram)

    def distances(self, prep: Prep) -> tuple[np.ndarray, np.ndarray]:
        """(n, a) and (m, a) float32: squared distances to the anchors, divided by `power`.

        Of a mix, the layers' weighted sum.
        """
        return self._kernel("distances", prep, self._distances)

    def weights(self, kind: str) -> np.ndarray:
        """(n,) weights of the training rows: `none`, one each; `balanced`, as much for each class in all."""
        if kind == "none":
            return np.ones(len(self.y))
        return (len(self.y) / (self.classes * np.bincount(self.y, minlength=self.classes)))[self.y]

    def keep(self, key: Hashable, make: Callable[[], Any], *, size: int | None = None) -> Any:
        """What `make` gave for `key` before, or gives now; see `Kept`."""
        return self._kept.get(key, make, size=size)

    def relabelled(self, y: np.ndarray) -> Shared:
        """The same rows with other classes, y (N,); what does not hang on classes is made once for both."""
        other = copy(self)
        other.y = y[self.train]
        other.labels = hashlib.sha256(other.y.tobytes()).hexdigest()
        return other

    def _kernel(
        self, name: str, prep: Prep, make: Callable[[Prep], tuple[np.ndarray, np.ndarray]]
    ) -> tuple[np.ndarray, np.ndarray]:
        if not prep.mix:
            return self.keep((name, prep), lambda: make(prep))
        sums: list[np.ndarray] = []
        for layer, weight in enumerate(prep.mix):
            single = replace(prep, layer=layer, mix=())
            parts = [np.float32(weight) * part for part in self._kernel(name, single, make)]
            sums = (
                parts
                if not sums
                else [np.add(total, part, out=total) for total, part in zip(sums, parts, strict=True)]
            )
        return sums[0], sums[1]

    def _gram(self, prep: Prep) -> tuple[np.ndarray, np.ndarray]:
        train, test = self.arrays(prep)
        anchors = self._anchored(train)
        products = train @ anchors.T, test @ anchors.T
        for part in products:
            part *= np.float32(1 / self.power(prep))
        return products

    def _distances(self, prep: Prep) -> tuple[np.ndarray, np.ndarray]:
        train, test = self.arrays(prep)
        power = np.float32(self.power(prep))
        own, other = (np.einsum("ij,ij->i", rows, rows) / power for rows in (train, test))
        at = self._anchored(own)
        near, far = (np.float32(-2) * products for products in self.gram(prep))
        for lengths, distances in ((own, near), (other, far)):
            distances += lengths[:, None]
            distances += at
            np.maximum(distances, 0, out=distances)
        if self.anchors is None:
            np.fill_diagonal(near, 0)
        return near, far

    def _anchored(self, rows: np.ndarray) -> np.ndarray:
        return rows if self.anchors is None else rows[self.anchors]

    def _arrays(self, prep: Prep) -> tuple[np.ndarray, np.ndarray]:
        if prep.scaling == "l2":
            train, test = self.arrays(replace(prep, scaling="standard"))
            return standardise(unit(train), unit(test), variance=False)
        if prep.pca:
            whole = replace(prep, pca=0)
            train, test = self.arrays(whole)
            count = max(prep.pca, LEAST_AXES)  # those of fewer are among those of more
            axes = self.keep(("axes", whole, count), lambda: principal_axes(train, count))[:, : prep.pca]
            # In double precision: a value that rounding moves across a bin's edge can grow another tree.
            return (train @ axes).astype(np.float32), (test @ axes).astype(np.float32)
        states = self.layers[prep.layer]
        columns = states.columns(prep.stats)
        if prep.scaling == "speaker":
            key = ("speaker", prep.stats, prep.layer)
            columns = self.keep(key, lambda: by_speaker(columns, states.speakers))
        return standardise(columns[self.train], columns[self.test], variance=prep.scaling != "none")


def kernel_bytes(rows: int) -> int:
    """What a whole kernel of so many training clips takes: single precision, and double for the solver."""
    return 16 * rows * rows


def exact_limit(memory: int) -> int:
    """The most training clips whose whole kernel is used, if `memory` bytes may be kept."""
    return min(EXACT_CLIPS, math.isqrt(memory // kernel_bytes(1)))


def anchors(rows: int, *, seed: int) -> np.ndarray:
    """Places of the rows that kernels are taken with where a whole one is too large."""
    return np.sort(np.random.default_rng(seed).choice(rows, min(rows, ANCHORS), replace=False))
