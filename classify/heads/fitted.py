"""Heads after their fit: what scores other clips, and the file that holds it. No file is a pickle.

| class | file | of |
|---|---|---|
| `Linear` | head.safetensors | logistic regression, ridge, LDA, layer weights, linear SVMs on few columns |
| `Kernel` | head.safetensors | SVMs on landmarks (Nyström), support vector regression |
| `VectorMachine` | head.skops | scikit-learn's SVC |
| `Trees` | head.ubj | XGBoost |
| `Constant` | head.safetensors | the majority class, the mean of the training clips |
| `Neighbours` | head.safetensors | k nearest neighbours |
| `solvers.network.Network`, `nonlinear.gaussian_process.Laplace` | head.safetensors | mlp, gp |
| `structured.ordinal.Cumulative` | head.safetensors | proportional odds |
| `frames.bilstm.Recurrent`, `frames.attention.Attentive` | head.safetensors | bilstm, attention |
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Protocol, Self
from zipfile import BadZipFile

import numpy as np

from layerprobe.cache.common.errors import InputError
from layerprobe.classify.features.frames import ScaledFrames
from layerprobe.classify.features.row_weights import row_weights
from layerprobe.classify.features.scaling import orthogonal_columns, unit_rows
from layerprobe.classify.features.streamed.rows import row_power
from layerprobe.classify.heads.solvers.votes import decision, nearest, neighbour_votes, vote

ARRAYS, SKOPS, UBJ = "head.safetensors", "head.skops", "head.ubj"
ROWS = 4096  # of a kernel that are computed at a time


@dataclass(frozen=True, kw_only=True)
class TrainingRows:
    """What a head is fitted to: inputs Z (n, d) float32 and classes y (n,), or numbers if there are none.

    landmarks: rows that kernels are computed against (Nyström); None for all. frames: of the n clips, for a
    head that reads frames; Z has then no columns. speakers: (n,) of the clips, or None. layers: how many
    layers have columns in Z, side by side. shares: (n,) of rows that count in part; None for 1. streamed:
    whether there are more rows than fit into memory; Z is then `StreamedRows`, or an array of few columns.
    """

    Z: np.ndarray
    y: np.ndarray
    classes: int
    landmarks: np.ndarray | None = None
    frames: ScaledFrames | None = None
    speakers: np.ndarray | None = None
    layers: int = 1
    shares: np.ndarray | None = None
    streamed: bool = False

    @property
    def power(self) -> float:
        """As `FoldFeatures.power`."""
        return row_power(self.Z)

    def basis(self) -> tuple[np.ndarray, np.ndarray]:
        """The rows (n, r) in the basis of `FoldFeatures.basis`, and the rotation (d, r) to it."""
        return orthogonal_columns(self.Z, np.eye(self.Z.shape[1], dtype=np.float32))

    def weights(self, kind: str) -> np.ndarray:
        """(n,): as `FoldFeatures.weights`."""
        return row_weights(self.y, kind, classes=self.classes, shares=self.shares)


class FittedHead(Protocol):
    """A head after its fit."""

    kind: ClassVar[str]

    def scores(self, Z: Any) -> np.ndarray:
        """Inputs (m, d) float32, or `ScaledFrames` of m clips → (m, K) scores; the largest is predicted."""
        ...

    def save(self, folder: Path) -> dict[str, Any]:
        """Write the head's file; the settings that are needed besides it."""
        ...


class Stored:
    """Heads that are arrays and settings, fields of a dataclass: the arrays are in a file of safetensors."""

    def save(self, folder: Path) -> dict[str, Any]:
        from safetensors.numpy import save_file

        arrays = {name: value for name, value in vars(self).items() if isinstance(value, np.ndarray)}
        contiguous = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
        save_file(contiguous, folder / ARRAYS)
        return {name: value for name, value in vars(self).items() if name not in arrays}

    @classmethod
    def load(cls, folder: Path, settings: Mapping[str, Any]) -> Self:
        return cls(**load_arrays(folder / ARRAYS), **settings)


@dataclass(frozen=True, kw_only=True)
class Linear(Stored):
    """Z W + b: one column for each class, or for each pair of classes, whose votes are then counted."""

    kind: ClassVar[str] = "linear"
    W: np.ndarray
    b: np.ndarray
    classes: int
    pairs: bool = False

    def scores(self, Z: np.ndarray) -> np.ndarray:
        values = Z @ self.W + self.b
        return vote(values, classes=self.classes) if self.pairs else values


@dataclass(frozen=True, kw_only=True)
class Kernel(Stored):
    """k(Z, anchors) W + b. anchors: (a, d). gamma: of the RBF kernel; None for the linear one."""

    kind: ClassVar[str] = "kernel"
    anchors: np.ndarray
    W: np.ndarray
    b: np.ndarray
    gamma: float | None

    def scores(self, Z: np.ndarray) -> np.ndarray:
        return kernel_rows(Z, self.anchors, self.gamma) @ self.W + self.b


@dataclass(frozen=True)
class VectorMachine:
    """scikit-learn's SVC with its support vectors; the kernel is computed here, by matrix products."""

    kind: ClassVar[str] = "svc"
    svc: Any

    def scores(self, Z: np.ndarray) -> np.ndarray:
        gamma = self.svc.gamma if self.svc.kernel == "rbf" else None
        return decision(self.svc, kernel_rows(Z, self.svc.support_vectors_, gamma))

    def save(self, folder: Path) -> dict[str, Any]:
        from skops.io import dump

        dump(self.svc, folder / SKOPS)
        return {}

    @classmethod
    def load(cls, folder: Path, settings: Mapping[str, Any]) -> VectorMachine:
        """Raises InputError for a file with anything else than a support vector machine."""
        from skops.io import get_untrusted_types, load

        file = folder / SKOPS
        do = "do not use it unless you trust its author, and then export it again"
        try:
            unknown = get_untrusted_types(file=file)
            if unknown:  # nothing of it is constructed
                raise InputError(
                    f"holds objects of other types ({', '.join(unknown)[:200]})", where=str(file), do=do
                )
            svc = load(file, trusted=[])
        except (BadZipFile, KeyError, ValueError, TypeError, AttributeError, OSError) as error:
            raise InputError("is damaged, or written by another version of skops", where=str(file)) from error
        if type(svc).__name__ != "SVC" or svc.kernel not in ("rbf", "linear"):
            raise InputError(
                f"holds a {type(svc).__name__}, not the head that it should", where=str(file), do=do
            )
        return cls(svc)


@dataclass(frozen=True, kw_only=True)
class Trees:
    """Boosted trees of XGBoost: the first `rounds` rounds of them.

    scale, offset: of a predicted number, which the trees have in units of the training numbers' deviation.
    """

    kind: ClassVar[str] = "trees"
    booster: Any
    rounds: int
    classes: int
    scale: float = 1.0
    offset: float = 0.0

    def scores(self, Z: np.ndarray) -> np.ndarray:
        rows = np.ascontiguousarray(Z)
        margin = self.booster.inplace_predict(rows, iteration_range=(0, self.rounds), predict_type="margin")
        if not self.classes:
            return np.asarray(margin, np.float64)[:, None] * self.scale + self.offset
        return np.column_stack([-margin, margin]) / 2 if self.classes == 2 else np.asarray(margin)

    def save(self, folder: Path) -> dict[str, Any]:
        (folder / UBJ).write_bytes(self.booster.save_raw("ubj"))
        return {name: getattr(self, name) for name in ("rounds", "classes", "scale", "offset")}

    @classmethod
    def load(cls, folder: Path, settings: Mapping[str, Any]) -> Trees:
        import xgboost

        booster = xgboost.Booster({"nthread": 1, "device": "cpu"})
        try:
            booster.load_model(bytearray((folder / UBJ).read_bytes()))
        except xgboost.core.XGBoostError as error:
            raise InputError("holds no trees of XGBoost", where=str(folder / UBJ)) from error
        return cls(booster=booster, **settings)


@dataclass(frozen=True)
class Constant(Stored):
    """The same scores (K,) for every clip."""

    kind: ClassVar[str] = "constant"
    values: np.ndarray

    def scores(self, Z: np.ndarray | ScaledFrames) -> np.ndarray:
        return np.tile(self.values, (len(Z), 1))


@dataclass(frozen=True, kw_only=True)
class Neighbours(Stored):
    """Votes of the `count` rows of `anchors` (a, d), of length 1, that are nearest by cosine similarity.

    y: (a,) classes. weight: (a,) of each vote.
    """

    kind: ClassVar[str] = "neighbours"
    anchors: np.ndarray
    y: np.ndarray
    weight: np.ndarray
    count: int
    classes: int

    def scores(self, Z: np.ndarray) -> np.ndarray:
        return neighbour_votes(
            nearest(unit_rows(Z), self.anchors, count=self.count), self.y, self.weight, classes=self.classes
        )


def kernel_rows(Z: np.ndarray, anchors: np.ndarray, gamma: float | None) -> np.ndarray:
    """(m, a): inner products, or exp(−gamma · squared distance)."""
    products = Z @ anchors.T.astype(Z.dtype)
    if gamma is None:
        return products
    norms = np.einsum("ij,ij->i", anchors, anchors)
    out = np.empty_like(products)
    for begin in range(0, len(Z), ROWS):
        rows = slice(begin, begin + ROWS)
        distances = np.einsum("ij,ij->i", Z[rows], Z[rows])[:, None] + norms - 2 * products[rows]
        out[rows] = np.exp(-gamma * np.maximum(distances, 0))
    return out


def load_arrays(file: Path) -> dict[str, np.ndarray]:
    """The arrays of a safetensors file, by name. Raises InputError for a damaged one."""
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    try:
        return dict(load_file(file))
    except (SafetensorError, OSError, ValueError) as error:
        raise InputError(f"cannot be read ({error})", where=str(file), do="copy the bundle again") from error
