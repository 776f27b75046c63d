"""Work that trials share: for one fold, every array is made once and kept under a budget."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Hashable
from copy import copy
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from layerprobe.classify.config import Scaling
from layerprobe.classify.features.lru_cache import LruCache
from layerprobe.classify.features.scaling import (
    constant_features_error,
    is_wide,
    orthogonal_columns,
    principal_axes,
    scale,
    scale_by_speaker,
    standardise,
    unit_rows,
)

if TYPE_CHECKING:
    from layerprobe.classify.features.frames import Frames

BOTH = "+"  # joins the names of statistics used side by side


EXACT_CLIPS = 20_000  # training clips above which a whole kernel is too much for any machine we know
LANDMARKS = 1000
LEAST_AXES = 64  # principal axes that are found at once
ROWS_PER_COLUMN = 2  # up to which products of rows are worth making in double precision


@dataclass(frozen=True)
class Preprocessing:
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

    def each(self) -> list[Preprocessing]:
        """The same with one statistic each."""
        return [replace(self, stats=name) for name in self.stats.split(BOTH)]


def no_frames() -> Frames:
    raise RuntimeError("these states are statistics over frames")


@dataclass(frozen=True)
class LayerStates:
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


class FoldFeatures:
    """What the trials of one fold share.

    layers: one, or all of a mix. train, test: row numbers. y: classes of the training rows. anchors: places
    among the training rows that kernels are taken with; None for all of them.

    Inputs are centred on the training clips' mean, which changes no head's solution (each has a free
    intercept) and spares rounding. What is made is kept in `cache`, which folds may share by parts.
    """

    def __init__(
        self,
        layers: tuple[LayerStates, ...],
        y: np.ndarray,
        *,
        train: np.ndarray,
        test: np.ndarray,
        classes: int,
        cache: LruCache,
        landmarks: np.ndarray | None = None,
    ) -> None:
        self.layers, self.train, self.test, self.classes = layers, train, test, classes
        self.y, self.landmarks = y[train], landmarks
        self.labels = ""  # tells classes apart in what is kept; see `relabelled`
        self._cache = cache

    def arrays(self, prep: Preprocessing) -> tuple[np.ndarray, np.ndarray]:
        """(n, d) and (m, d) float32: the training and test clips' inputs.

        Raises InputError where all training clips have the same.
        """
        if prep.pca or prep.scaling == "l2" or BOTH in prep.stats:
            return self.cached(("arrays", prep), lambda: self._arrays(prep))
        train, test, varies = self._scaled(prep)
        if not varies:
            raise constant_features_error()
        return train, test

    def scaled(self, prep: Preprocessing) -> tuple[np.ndarray, np.ndarray]:
        """As `arrays` for one statistic without principal components; zeros where it is constant."""
        return self._scaled(prep)[:2]

    def inner(self, prep: Preprocessing) -> np.ndarray | None:
        """(n, n) float64: the training rows' inner products; None where rows are too many for it to pay.

        Kernels, principal axes and bases come from them: they are made once, each statistic's on its own.
        """
        few = len(self.train) <= ROWS_PER_COLUMN * self.layers[prep.layer].width
        if prep.pca or prep.scaling == "l2" or self.landmarks is not None or not few:
            return None
        return self._inner(prep)

    def basis(self, prep: Preprocessing) -> tuple[np.ndarray, np.ndarray]:
        """(n, r) and (m, r) float32, r ≤ n: the inputs turned so that the training columns are orthogonal."""
        if prep.pca:
            return self.arrays(prep)
        return self.cached(("basis", prep), lambda: self._basis(prep))

    def power(self, prep: Preprocessing) -> float:
        """The training clips' mean squared length: the sum of the inputs' variances.

        Penalties and kernel widths are given relative to it, so that one range suits every layer and scaling.
        """

        def make() -> float:
            train, _ = self.arrays(prep)
            return float(np.square(train).sum(dtype=np.float64) / len(train))

        return self.cached(("power", prep), make)

    def weights(self, kind: str) -> np.ndarray:
        """(n,) weights of the training rows: `none`, one each; `balanced`, as much for each class in all."""
        if kind == "none":
            return np.ones(len(self.y))
        return (len(self.y) / (self.classes * np.bincount(self.y, minlength=self.classes)))[self.y]

    def cached(self, key: Hashable, make: Callable[[], Any], *, size: int | None = None) -> Any:
        """What `make` gave for `key` before, or gives now; see `LruCache`."""
        return self._cache.get(key, make, size=size)

    def make_room(self, nbytes: int) -> None:
        """Before something large is made; see `LruCache`."""
        self._cache.make_room(nbytes)

    def relabelled(self, y: np.ndarray) -> FoldFeatures:
        """The same rows with other classes, y (N,); what does not hang on classes is made once for both."""
        other = copy(self)
        other.y = y[self.train]
        other.labels = hashlib.sha256(other.y.tobytes()).hexdigest()
        return other

    def at_landmarks(self, rows: np.ndarray) -> np.ndarray:
        """Those of the training rows that kernels are taken with."""
        return rows if self.landmarks is None else rows[self.landmarks]

    def _arrays(self, prep: Preprocessing) -> tuple[np.ndarray, np.ndarray]:
        if prep.scaling == "l2":
            train, test = self.arrays(replace(prep, scaling="standard"))
            return standardise(unit_rows(train), unit_rows(test), variance=False)
        if prep.pca:
            exact_kernels_fit = replace(prep, pca=0)
            train, test = self.arrays(exact_kernels_fit)
            count = max(prep.pca, LEAST_AXES)  # those of fewer are among those of more
            axes = self.cached(
                ("axes", exact_kernels_fit, count), lambda: self._axes(exact_kernels_fit, count)
            )[:, : prep.pca]
            # In double precision: a value that rounding moves across a bin's edge can grow another tree.
            return (train @ axes).astype(np.float32), (test @ axes).astype(np.float32)
        parts = [self._scaled(part) for part in prep.each()]
        if not any(varies for *_, varies in parts):
            raise constant_features_error()
        return np.hstack([train for train, *_ in parts]), np.hstack([test for _, test, _ in parts])

    def _scaled(self, prep: Preprocessing) -> tuple[np.ndarray, np.ndarray, bool]:
        """One statistic's training and test rows, and whether the training rows differ."""

        def make() -> tuple[np.ndarray, np.ndarray, bool]:
            states = self.layers[prep.layer]
            columns = states.columns(prep.stats)
            if prep.scaling == "speaker":
                columns = scale_by_speaker(columns, states.speakers)
            train, test = scale(columns[self.train], columns[self.test], variance=prep.scaling != "none")
            return train, test, bool(train.any())

        return self.cached(("scaled", prep), make)

    def _inner(self, prep: Preprocessing) -> np.ndarray:
        def make() -> np.ndarray:
            if BOTH in prep.stats:
                return np.sum([self._inner(part) for part in prep.each()], axis=0)
            exact = self.scaled(prep)[0].astype(np.float64)
            return exact @ exact.T

        found: np.ndarray = self.cached(("inner", prep), make)
        return found

    def _axes(self, exact_kernels_fit: Preprocessing, count: int) -> np.ndarray:
        train, _ = self.arrays(exact_kernels_fit)
        return principal_axes(train, count, inner=self.inner(exact_kernels_fit) if is_wide(train) else None)

    def _basis(self, prep: Preprocessing) -> tuple[np.ndarray, np.ndarray]:
        train, test = self.arrays(prep)
        return orthogonal_columns(train, test, inner=self.inner(prep) if is_wide(train) else None)


def exact_kernels_fit(rows: int, *, nbytes: int, memory: int) -> bool:
    """Whether kernels are taken with all of so many training clips, which takes `nbytes` of `memory`.

    They are where there are few, and else up to a number and if their memory is allowed.
    """
    return rows <= LANDMARKS or (rows <= EXACT_CLIPS and nbytes <= memory)


def nystroem_landmarks(rows: int, *, seed: int) -> np.ndarray:
    """Places of the rows that kernels are taken with where a whole one is too large."""
    return np.sort(np.random.default_rng(seed).choice(rows, min(rows, LANDMARKS), replace=False))
