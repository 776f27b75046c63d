"""Preprocessing as fitted to training clips, to be applied to other clips: arrays that can be stored."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from layerprobe.cache.common.errors import InputError
from layerprobe.classify.config import Scaling
from layerprobe.classify.features.fold_features import BOTH, LEAST_AXES, Preprocessing
from layerprobe.classify.features.joined import join_columns
from layerprobe.classify.features.scaling import (
    column_deviations,
    constant_features_error,
    principal_axes,
    scale_by_speaker,
    unit_rows,
    varies,
)
from layerprobe.classify.layer_names import layer_parts

Arrays = dict[str, np.ndarray]


def speakers_needed() -> InputError:
    """For clips without speakers, and a system that scales by speaker."""
    return InputError(
        "this system scales each clip by the other clips of its speaker",
        do="give a table with a speaker column and all clips of each speaker",
    )


@dataclass(frozen=True, kw_only=True)
class FittedScaling:
    """A shift and a factor for each column, (D,) float64 and (D,) float32; 0 for constant columns."""

    mean: np.ndarray
    factor: np.ndarray

    @classmethod
    def fit(cls, X: np.ndarray, *, variance: bool) -> FittedScaling:
        """The scaling that `features.scaling.scale` applies with X (n, D) as training rows."""
        mean = X.mean(0, dtype=np.float64)
        deviations = column_deviations((X - mean).astype(np.float32))
        factor = varies(deviations, mean).astype(np.float32)
        if variance:
            np.divide(factor, deviations, out=factor, where=factor > 0)
        return cls(mean=mean, factor=factor)

    @classmethod
    def fit_unit(cls, Z: np.ndarray) -> tuple[FittedScaling, np.ndarray]:
        """Scale rows Z (n, d) to unit length and centre them: the shift, and the rows."""
        Z = unit_rows(Z)
        centre = cls.fit(Z, variance=False)
        return centre, centre.apply(Z)

    def apply(self, X: np.ndarray) -> np.ndarray:
        """(m, D) → (m, D) float32."""
        centred: np.ndarray = (X - self.mean).astype(np.float32)
        return centred * self.factor


@dataclass(frozen=True, kw_only=True)
class FittedLayer:
    """One layer's states → columns of a head's input: scaling, principal axes, unit length, in this order.

    axes: (D, k) or None. centre: the scaling after unit length, or None. weight: factor of all columns.
    """

    layer: str
    stats: str
    scaling: Scaling
    columns: FittedScaling
    axes: np.ndarray | None
    centre: FittedScaling | None
    weight: float

    @classmethod
    def fit(
        cls,
        layer: str,
        X: np.ndarray,
        prep: Preprocessing,
        speakers: np.ndarray | None,
        *,
        share: float | None = None,
    ) -> tuple[FittedLayer, np.ndarray]:
        """Fit to X (n, D), the statistics of `prep` side by side; also X as `apply` returns it.

        share: for heads on kernels, the layer's weight in a mix or 1: its inner products, divided by their
        power, are multiplied by it. Raises SameFeaturesError.
        """
        if prep.scaling == "speaker":
            X = scale_by_speaker(X, speakers)
        width = X.shape[1] // len(prep.stats.split(BOTH))
        blocks = [
            FittedScaling.fit(X[:, begin : begin + width], variance=prep.scaling != "none")
            for begin in range(0, X.shape[1], width)
        ]
        columns = FittedScaling(
            mean=np.concatenate([block.mean for block in blocks]),
            factor=np.concatenate([block.factor for block in blocks]),
        )
        Z, axes, centre = columns.apply(X), None, None
        if not Z.any():
            raise constant_features_error()
        if prep.pca:
            axes = principal_axes(Z, max(prep.pca, LEAST_AXES))[:, : prep.pca]
            Z = (Z @ axes).astype(np.float32)
        if prep.scaling == "l2":
            centre, Z = FittedScaling.fit_unit(Z)
        power = np.square(Z).sum(dtype=np.float64) / len(Z)
        weight = 1.0 if share is None else float(np.sqrt(share / power))
        fitted = cls.of(layer, prep, columns=columns, axes=axes, centre=centre, weight=weight)
        return fitted, Z * np.float32(weight)

    @classmethod
    def of(
        cls,
        layer: str,
        prep: Preprocessing,
        *,
        columns: FittedScaling,
        axes: np.ndarray | None,
        centre: FittedScaling | None,
        weight: float,
    ) -> FittedLayer:
        """Of steps that are already fitted."""
        return cls(
            layer=layer,
            stats=prep.stats,
            scaling=prep.scaling,
            columns=columns,
            axes=axes,
            centre=centre,
            weight=weight,
        )

    def apply(self, X: np.ndarray, speakers: np.ndarray | None = None) -> np.ndarray:
        """(m, D) states → (m, d) float32. speakers: (m,), required by the scaling `speaker`."""
        if self.scaling == "speaker":
            X = scale_by_speaker(X, speakers)
        Z = self.columns.apply(X)
        if self.axes is not None:
            Z = (Z @ self.axes).astype(np.float32)
        if self.centre is not None:
            Z = self.centre.apply(unit_rows(Z))
        return Z * np.float32(self.weight)


@dataclass(frozen=True)
class FittedInputs:
    """States of one layer, or of the layers of a mix, → a head's input; a mix's columns are side by side.

    A layer may itself be several side by side, such as `3+6`.
    """

    layers: tuple[FittedLayer, ...]

    @property
    def names(self) -> tuple[str, ...]:
        """The layers of the model that are read, each once."""
        return tuple(dict.fromkeys(part for fitted in self.layers for part in layer_parts(fitted.layer)))

    @property
    def stats(self) -> tuple[str, ...]:
        return tuple(self.layers[0].stats.split(BOTH))

    @property
    def width(self) -> int:
        """Columns of a head's input."""
        return sum(len(one.columns.mean) if one.axes is None else one.axes.shape[1] for one in self.layers)

    @property
    def by_speaker(self) -> bool:
        """Whether clips are scaled with the other clips of their speaker."""
        return self.layers[0].scaling == "speaker"

    def apply(self, states: Mapping[str, Any], speakers: np.ndarray | None = None) -> np.ndarray:
        """Layer → (m, S*D) array of states, statistics in the order of `stats` → (m, d) float32.

        Raises InputError for a system that scales by speaker if `speakers` (m,) are not given.
        """
        if self.by_speaker and speakers is None:
            raise speakers_needed()
        inputs = []
        for fitted in self.layers:
            parts = [states[part] for part in layer_parts(fitted.layer)]
            inputs.append(fitted.apply(join_columns(parts, stats=len(self.stats)), speakers))
        return np.hstack(inputs)

    def blank(self) -> np.ndarray:
        """The input of a clip whose scaled states are zeros: (1, d) float32."""
        return np.zeros((1, self.width), np.float32)

    def arrays(self) -> Arrays:
        """Everything but the settings, by name, for a file."""
        held: Arrays = {}
        for number, fitted in enumerate(self.layers):
            parts = {"mean": fitted.columns.mean, "factor": fitted.columns.factor, "axes": fitted.axes}
            if fitted.centre is not None:
                parts |= {"centre": fitted.centre.mean, "centre_factor": fitted.centre.factor}
            held |= {f"{number}.{name}": part for name, part in parts.items() if part is not None}
        return held

    def settings(self) -> list[dict[str, Any]]:
        """What `arrays` does not have, for a JSON file."""
        names = ("layer", "stats", "scaling", "weight")
        return [{name: getattr(fitted, name) for name in names} for fitted in self.layers]

    @classmethod
    def load(cls, settings: Sequence[Mapping[str, Any]], arrays: Mapping[str, np.ndarray]) -> FittedInputs:
        """From the results of `settings` and `arrays`. Raises KeyError for an incomplete set."""
        layers = []
        for number, one in enumerate(settings):
            held = {name.partition(".")[2]: a for name, a in arrays.items() if name.startswith(f"{number}.")}
            centre = None
            if one["scaling"] == "l2":
                centre = FittedScaling(mean=held["centre"], factor=held["centre_factor"])
            columns = FittedScaling(mean=held["mean"], factor=held["factor"])
            layers.append(FittedLayer(**one, columns=columns, axes=held.get("axes"), centre=centre))
        return cls(tuple(layers))
