"""`Embedder`: a frozen speech model as a scikit-learn transformer."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.base import BaseEstimator, TransformerMixin

from layerprobe.cache.common.errors import ClipError, InputError
from layerprobe.embed.config import EmbedConfig
from layerprobe.embed.manifest.clips import read_manifest
from layerprobe.embed.manifest.tables import is_table

if TYPE_CHECKING:
    from layerprobe.embed.extract.in_memory import StateExtractor

MODELS = 2  # loaded models that are held in memory

_loaded: OrderedDict[EmbedConfig, StateExtractor] = OrderedDict()
_lock = threading.Lock()


class Embedder(TransformerMixin, BaseEstimator):
    """Recordings → utterance-level embeddings: statistics over the frames of one layer.

    Fits nothing, so it may stand in front of any cross-validation. Equal to what `embed` stores, rounding to
    the storage type included. The model is loaded on first use and shared by all embedders with the same
    settings; it is no part of what is cloned or pickled. Threads take turns.

    model: as for `embed`: preset, hub id, local folder, random:NAME, mfcc or fbank. layer: name of a layer,
    such as 9 or "final"; None is the last one. stats: of mean, std, max, min. sampling_rate: of waveforms
    without a rate of their own, in Hz. revision, device, precision, dtype, window,
    whisper_context, seed: as for `embed`.

        X = Embedder("hubert-base", layer=9).transform(["a.wav", "b.wav"])       # (2, 1536) float32
    """

    def __init__(
        self,
        model: str = "hubert-base",
        *,
        layer: int | str | None = None,
        stats: str | Sequence[str] = EmbedConfig.stats,
        sampling_rate: int | None = None,
        revision: str | None = None,
        device: str = EmbedConfig.device,
        precision: str = EmbedConfig.precision,
        dtype: str = EmbedConfig.dtype,
        window: float = EmbedConfig.window,
        whisper_context: str = EmbedConfig.whisper_context,
        seed: int = EmbedConfig.seed,
    ) -> None:
        self.model, self.layer, self.stats, self.sampling_rate = model, layer, stats, sampling_rate
        self.revision, self.device, self.precision = revision, device, precision
        self.dtype, self.window, self.whisper_context, self.seed = dtype, window, whisper_context, seed

    def fit(self, X: Any = None, y: Any = None) -> Embedder:
        """Nothing is fitted; returns self."""
        return self

    def transform(self, X: Any) -> np.ndarray:
        """(N, S*D) float32, statistics side by side in the order of `stats`.

        X: the path of a table of clips, or N recordings: paths, waveforms (T,) at `sampling_rate`, pairs
        (waveform, rate), or mappings with `array` and `sampling_rate`; also as a Series, or as a DataFrame
        with one column, which a ColumnTransformer passes. Raises ClipError for the first recording that
        cannot be used, InputError for a model or layer that does not exist.
        """
        extractor, layer = self._extractor()
        if isinstance(X, str | Path):
            if not is_table(Path(X)):
                do = "give a list of recordings, even for a single one, or a table of clips"
                raise InputError(f"'{X}' is neither a list of recordings nor a table", do=do)
            states = extractor.files(read_manifest(Path(X)))
        else:
            states = extractor.recordings(_as_list(X), rate=self.sampling_rate)
        rows = []
        for one in states:
            if isinstance(one, ClipError):
                raise one
            rows.append(one[layer])
        return np.stack(rows) if rows else np.empty((0, self._width(extractor)), np.float32)

    def get_feature_names_out(self, input_features: Any = None) -> np.ndarray:
        """`9_mean_0`, `9_mean_1`, … (S*D,): layer, statistic and column."""
        extractor, layer = self._extractor()
        width = self._width(extractor) // len(self._statistics)
        return np.array(
            [f"{layer}_{stat}_{column}" for stat in self._statistics for column in range(width)], object
        )

    @property
    def _statistics(self) -> tuple[str, ...]:
        """The statistics; a text is one, or several as `--stats` takes them."""
        return tuple(self.stats.split(",") if isinstance(self.stats, str) else self.stats)

    def _extractor(self) -> tuple[StateExtractor, str]:
        """The loaded model, and the layer's name."""
        config = EmbedConfig(
            model=self.model,
            layers="all" if self.layer is None else str(self.layer),
            stats=self._statistics,
            revision=self.revision,
            device=self.device,
            precision=self.precision,
            dtype=self.dtype,
            window=self.window,
            whisper_context=self.whisper_context,
            seed=self.seed,
        )
        with _lock:
            if config not in _loaded:
                from layerprobe.embed.extract.in_memory import StateExtractor

                extractor = StateExtractor(config)
                while len(_loaded) >= MODELS:
                    _loaded.popitem(last=False)
                _loaded[config] = extractor
            _loaded.move_to_end(config)
            extractor = _loaded[config]
        return extractor, extractor.extraction.layers[-1]

    def _width(self, extractor: StateExtractor) -> int:
        return extractor.extraction.widths[-1] * len(self._statistics)

    def __sklearn_is_fitted__(self) -> bool:
        return True

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.requires_fit = False
        tags.input_tags.two_d_array = False
        tags.input_tags.string = True
        tags.no_validation = True
        tags.transformer_tags.preserves_dtype = []  # states are float32, whatever comes in
        return tags


def _as_list(X: Any) -> list[Any]:
    """The recordings of a sequence, an array, a Series, or a DataFrame or array with one column of text."""
    if hasattr(X, "to_numpy") or not hasattr(X, "__iter__"):
        X = np.asarray(X)
    if isinstance(X, np.ndarray) and X.ndim == 2 and X.shape[1] == 1 and X.dtype.kind in "OUT":
        X = X[:, 0]
    return list(X)
