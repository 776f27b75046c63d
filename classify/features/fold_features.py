"""Features of one fold, shared by all trials: computed once, cached within a memory budget."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Hashable
from copy import copy
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from layerprobe.classify.config import Sampling, Scaling
from layerprobe.classify.features.lru_cache import LruCache
from layerprobe.classify.features.row_weights import row_weights
from layerprobe.classify.features.scaling import (
    compress_columns,
    constant_features_error,
    is_wide,
    orthogonal_columns,
    principal_axes,
    scale,
    scale_by_speaker,
    standardise,
    unit_products,
    unit_rows,
)

if TYPE_CHECKING:
    from layerprobe.classify.features.frames import Frames
    from layerprobe.classify.features.streamed.stored import StoredStates

BOTH = "+"  # joins the names of statistics that are concatenated
LEAST_AXES = 64  # principal axes computed at once
ROWS_PER_COLUMN = 2  # up to this many, inner products of rows are computed in double precision


@dataclass(frozen=True)
class Preprocessing:
    """How a clip's states become a head's input.

    stats: names of statistics, joined by `+`. scaling: `none` (centred only), `standard` (zero mean and unit
    variance over the training clips), `speaker` (over each speaker's clips first) or `l2` (standard, then
    every clip scaled to unit length). pca: number of leading principal components, after scaling; 0 for all
    columns. layer: index of the fold's layer. mix: instead, a weight for each layer, for kernels. sampling:
    of the training clips, see `features.sampling`.
    """

    stats: str
    scaling: Scaling
    pca: int = 0
    layer: int = 0
    mix: tuple[float, ...] = ()
    sampling: Sampling = "none"

    def each(self) -> list[Preprocessing]:
        """The same preprocessing for each statistic alone."""
        return [replace(self, stats=name) for name in self.stats.split(BOTH)]


def no_frames() -> Frames:
    """The default of `LayerStates.frames`."""
    raise RuntimeError("these states are statistics over frames")


def no_file() -> StoredStates:
    """The default of `LayerStates.stored`."""
    raise RuntimeError("these states are in memory")


@dataclass(frozen=True)
class LayerStates:
    """One layer of N clips.

    load: returns X (N, S*width) float32, statistics concatenated in the order of `stats`. speakers: (N,)
    numbers, or None. frames: returns every frame, for a store that holds frames. stored: writes the states
    to a temporary file instead, for `streamed.fold`.
    """

    load: Callable[[], np.ndarray]
    stats: tuple[str, ...]
    width: int
    speakers: np.ndarray | None
    frames: Callable[[], Frames] = no_frames
    stored: Callable[[], StoredStates] = no_file

    def columns(self, stats: str) -> np.ndarray:
        """(N, s*width) float32: the given statistics, concatenated."""
        X = self.load()
        picked = [self.stats.index(name) for name in stats.split(BOTH)]
        if picked == list(range(picked[0], picked[-1] + 1)):
            return X[:, picked[0] * self.width : (picked[-1] + 1) * self.width]
        return np.hstack([X[:, i * self.width : (i + 1) * self.width] for i in picked])


class FoldFeatures:
    """The features of one fold's training and test clips, for every preprocessing that trials use.

    layers: one, or all of a mix. y: (N,) classes of all rows; the attribute has those of the training rows,
    (n,). train, test: row numbers, (n,) and (m,). cache: holds what is computed; folds use sections of one
    cache. landmarks: indices into the training rows that kernels are computed against (Nyström); None for all
    rows. shares: (n,) of training rows that count in part; None for 1. The attribute `rows` is N.

    Inputs are centred on the training mean. That changes no head's solution, since all have a free intercept,
    and avoids rounding errors.
    """

    streamed = False  # whether inputs are read in blocks, see `streamed.fold`

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
        shares: np.ndarray | None = None,
    ) -> None:
        self.layers, self.train, self.test, self.classes = layers, train, test, classes
        self.y, self.rows, self.landmarks, self._shares = y[train], len(y), landmarks, shares
        self.labels_digest = ""  # part of the cache keys that depend on classes; see `relabelled`
        self._cache = cache

    def inputs(self, prep: Preprocessing) -> tuple[np.ndarray, np.ndarray]:
        """(n, d) and (m, d) float32: the inputs of training and test clips.

        Raises SameFeaturesError where all training clips are equal.
        """
        if prep.pca or prep.scaling == "l2" or BOTH in prep.stats:
            return self.cached(("inputs", prep), lambda: self._inputs(prep))
        train, test, varies = self._scaled(prep)
        if not varies:
            raise constant_features_error()
        return train, test

    def scaled(self, prep: Preprocessing) -> tuple[np.ndarray, np.ndarray]:
        """As `inputs`, for one statistic without PCA; zeros where it is constant."""
        return self._scaled(prep)[:2]

    def inner_products(self, prep: Preprocessing) -> np.ndarray | None:
        """(n, n) float64 inner products of training rows; None where there are too many rows for it to pay.

        Kernels, principal axes and bases derive from them. Computed once per statistic and summed.
        """
        few = len(self.train) <= ROWS_PER_COLUMN * self.layers[prep.layer].width
        if prep.pca or self.landmarks is not None or not few:
            return None
        return self._inner_products(prep)

    def basis(self, prep: Preprocessing) -> tuple[np.ndarray, np.ndarray]:
        """(n, r) and (m, r) float32, r ≤ n: the inputs rotated so that training columns are orthogonal."""
        if prep.pca:
            return self.inputs(prep)
        return self.cached(("basis", prep), lambda: self._basis(prep))

    def narrow_inputs(self, prep: Preprocessing) -> tuple[np.ndarray, np.ndarray]:
        """(n, r) and (m, r) float32, r ≤ n: the inputs, with fewer columns where these are more than rows.

        Inner products with training rows are preserved. Cheaper than `basis`, for a single fit.
        """
        train, test = self.inputs(prep)
        if not is_wide(train):
            return train, test
        return self.cached(("narrow", prep), lambda: compress_columns(train, test, self.inner_products(prep)))

    def power(self, prep: Preprocessing) -> float:
        """The mean squared length of the training inputs, which is the sum of their variances.

        Penalties and kernel widths are relative to it, so that one search range suits every layer and
        scaling.
        """

        def make() -> float:
            train, _ = self.inputs(prep)
            return float(np.square(train).sum(dtype=np.float64) / len(train))

        return self.cached(("power", prep), make)

    def weights(self, kind: str) -> np.ndarray:
        """(n,) weights of the training rows: `none` (all 1) or `balanced` (equal totals for all classes)."""
        return row_weights(self.y, kind, classes=self.classes, shares=self._shares)

    def cached(self, key: Hashable, make: Callable[[], Any], *, size: int | None = None) -> Any:
        """The value for `key`, computed by `make` unless cached; see `LruCache.get`."""
        return self._cache.get(key, make, size=size)

    def make_room(self, nbytes: int) -> None:
        """Free cache memory before a large allocation; see `LruCache.make_room`."""
        self._cache.make_room(nbytes)

    def relabelled(self, y: np.ndarray) -> FoldFeatures:
        """The same rows with other classes, y (N,). Whatever does not depend on classes is shared."""
        other = copy(self)
        other.y = y[self.train]
        other.labels_digest = hashlib.sha256(other.y.tobytes()).hexdigest()
        return other

    def at_landmarks(self, rows: np.ndarray) -> np.ndarray:
        """The training rows that kernels are computed against, of `rows` (n, …)."""
        return rows if self.landmarks is None else rows[self.landmarks]

    def _inputs(self, prep: Preprocessing) -> tuple[np.ndarray, np.ndarray]:
        if prep.scaling == "l2":
            train, test = self.inputs(replace(prep, scaling="standard"))
            return standardise(unit_rows(train), unit_rows(test), variance=False)
        if prep.pca:
            unrotated = replace(prep, pca=0)
            train, test = self.inputs(unrotated)
            axes = self._leading_axes(unrotated, prep.pca)
            # In double precision: a value that rounding moves across the edge of a bin can change a tree.
            return (train @ axes).astype(np.float32), (test @ axes).astype(np.float32)
        scaled = [self._scaled(each) for each in prep.each()]
        if not any(varies for *_, varies in scaled):
            raise constant_features_error()
        return np.hstack([train for train, *_ in scaled]), np.hstack([test for _, test, _ in scaled])

    def _scaled(self, prep: Preprocessing) -> tuple[np.ndarray, np.ndarray, bool]:
        """Training and test rows of one statistic, and whether the training rows differ."""

        def make() -> tuple[np.ndarray, np.ndarray, bool]:
            states = self.layers[prep.layer]
            columns = states.columns(prep.stats)
            if prep.scaling == "speaker":
                columns = scale_by_speaker(columns, states.speakers)
            train, test = scale(columns[self.train], columns[self.test], variance=prep.scaling != "none")
            return train, test, bool(train.any())

        return self.cached(("scaled", prep), make)

    def _inner_products(self, prep: Preprocessing) -> np.ndarray:
        def make() -> np.ndarray:
            if prep.scaling == "l2":
                return unit_products(self._inner_products(replace(prep, scaling="standard")))
            if BOTH in prep.stats:
                return np.sum([self._inner_products(each) for each in prep.each()], axis=0)
            exact = self.scaled(prep)[0].astype(np.float64)
            return exact @ exact.T

        products: np.ndarray = self.cached(("inner", prep), make)
        return products

    def _leading_axes(self, unrotated: Preprocessing, count: int) -> np.ndarray:
        """(d, count) float64; fewer axes are the first of more."""
        most = max(count, LEAST_AXES)
        axes = self.cached(("axes", unrotated, most), lambda: self._axes(unrotated, most))
        return np.asarray(axes[:, :count])

    def _axes(self, prep: Preprocessing, count: int) -> np.ndarray:
        train, _ = self.inputs(prep)
        return principal_axes(train, count, inner=self.inner_products(prep) if is_wide(train) else None)

    def _basis(self, prep: Preprocessing) -> tuple[np.ndarray, np.ndarray]:
        train, test = self.inputs(prep)
        return orthogonal_columns(train, test, inner=self.inner_products(prep) if is_wide(train) else None)
