"""`FoldFeatures` of states that are read in blocks."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from layerprobe.classify.features.fold_features import BOTH, FoldFeatures, Preprocessing
from layerprobe.classify.features.scaling import (
    axes_of_products,
    constant_features_error,
    speakers_to_scale_by,
)
from layerprobe.classify.features.streamed.moments import (
    Affine,
    column_products,
    fit_columns,
    fit_speakers,
)
from layerprobe.classify.features.streamed.rows import StreamedRows, Transform
from layerprobe.classify.features.streamed.stored import StoredStates


class StreamedFold(FoldFeatures):
    """The features of one fold whose inputs are `StreamedRows`, for heads that take them.

    The numbers are those of `FoldFeatures` up to rounding: each scaling is fitted to the training rows in
    one pass, and applied to blocks as they are read. Principal components are few enough for arrays in
    memory. There are no rotations and no kernels.
    """

    streamed = True

    def inputs(self, prep: Preprocessing) -> tuple[Any, Any]:
        """`StreamedRows` (n, d) and (m, d), or float32 arrays of principal components.

        Raises SameFeaturesError where all training clips are equal.
        """
        if prep.pca:
            return super().inputs(prep)
        return self.cached(("rows", prep), lambda: self._rows(prep))

    def basis(self, prep: Preprocessing) -> tuple[Any, Any]:
        """The inputs: only principal components are orthogonal here."""
        return self.inputs(prep)

    def narrow_inputs(self, prep: Preprocessing) -> tuple[Any, Any]:
        """The inputs."""
        return self.inputs(prep)

    def power(self, prep: Preprocessing) -> float:
        """As `FoldFeatures.power`."""
        return super().power(prep) if prep.pca else float(self.inputs(prep)[0].power)

    def axes(self, prep: Preprocessing) -> np.ndarray:
        """(d, k) float64: the principal axes of `prep`, of the inputs before unit length."""
        unrotated = replace(prep, pca=0, scaling="standard" if prep.scaling == "l2" else prep.scaling)
        return self._leading_axes(unrotated, prep.pca)

    def _axes(self, prep: Preprocessing, count: int) -> np.ndarray:
        train, _ = self.inputs(prep)
        products = column_products(train.blocks(), train.shape[1])
        return axes_of_products(products, min(count, len(train) - 1, train.shape[1]))

    def _rows(self, prep: Preprocessing) -> tuple[StreamedRows, StreamedRows]:
        states, stored = self.layers[prep.layer], self.layers[prep.layer].stored()
        first, width = np.arange(states.width), states.width
        picked = np.concatenate([states.stats.index(name) * width + first for name in prep.stats.split(BOTH)])
        transform = Transform(picked=picked, by_speaker=self._by_speaker(prep, stored, picked))

        def rows(numbers: np.ndarray) -> StreamedRows:
            return StreamedRows(stored, numbers, transform, speakers=states.speakers)

        variance = prep.scaling != "none"
        transform = replace(transform, columns=fit_columns(rows(self.train).blocks(), variance=variance))
        if not rows(self.train).power:
            raise constant_features_error()
        if prep.scaling == "l2":
            transform = replace(transform, unit=True)
            transform = replace(transform, centre=fit_columns(rows(self.train).blocks(), variance=False))
        return rows(self.train), rows(self.test)

    def _by_speaker(self, prep: Preprocessing, stored: StoredStates, picked: np.ndarray) -> Affine | None:
        """Of the scaling `speaker`, fitted to all clips of each speaker. Raises InputError without them."""
        if prep.scaling != "speaker":
            return None
        speakers = speakers_to_scale_by(self.layers[prep.layer].speakers, self.rows)
        everything = StreamedRows(stored, np.arange(self.rows), Transform(picked=picked), speakers=speakers)
        return fit_speakers(everything.speaker_blocks(), speakers=int(speakers.max()) + 1)
