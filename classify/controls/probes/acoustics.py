"""Properties of the sound as targets of probes: fundamental frequency, level, rate, spectral tilt.

They need no labels. Where openSMILE is installed they are functionals of eGeMAPSv02 (Eyben et al. 2016, "The
Geneva minimalistic acoustic parameter set"); elsewhere the same quantities from `embed.models.acoustic`. Both
are cached like states of a model, by the clip's key.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

import numpy as np

from layerprobe.cache.common.errors import StoreError
from layerprobe.cache.store.feature_store import FeatureStore
from layerprobe.embed.config import EmbedConfig
from layerprobe.embed.manifest.clips import Clip
from layerprobe.embed.models.lookup import find_model_store
from layerprobe.embed.models.presets import PROSODY

ALL = "acoustic"  # as typed for all of them
# Each target, and its column in eGeMAPSv02.
EGEMAPS_COLUMNS = {
    "f0_mean": "F0semitoneFrom27.5Hz_sma3nz_amean",
    "f0_range": "F0semitoneFrom27.5Hz_sma3nz_pctlrange0-2",
    "sound_level": "equivalentSoundLevel_dBp",
    "speech_rate": "VoicedSegmentsPerSec",
    "spectral_tilt": "alphaRatioV_sma3nz_amean",
}
EGEMAPS = "opensmile:eGeMAPSv02"
EGEMAPS_PLACES = {"f0_mean": 0, "f0_range": 5, "sound_level": 87, "speech_rate": 82, "spectral_tilt": 58}
TARGETS = tuple(EGEMAPS_COLUMNS)
UNITS = {
    "f0_mean": "semitones above 27.5 Hz",
    "f0_range": "semitones, 20th to 80th percentile",
    "sound_level": "dB",
    "speech_rate": "voiced segments per second",
    "spectral_tilt": "dB, alpha ratio of voiced frames",
}
LOWEST = 27.5  # Hz, from which semitones are counted
VOICED = 0.45  # periodicity from which a frame is voiced, as in Praat
SILENT = 30.0  # dB below the loudest frame, under which no frame is voiced
SHORTEST_SEGMENT = 3  # voiced frames in a row


@dataclass(frozen=True, kw_only=True)
class AcousticValues:
    """values: (N, len(TARGETS)), NaN for clips without a voiced frame, or that could not be decoded.

    source: the model that measured them.
    """

    values: np.ndarray
    source: str


def measure(clips: Sequence[Clip], keys: Sequence[str], store: FeatureStore) -> AcousticValues:
    """The acoustic values of clips, whose `keys` are those of `store`; computed where they are not cached.

    Raises KeyboardInterrupt where the extraction is stopped, InputError where no clip can be decoded.
    """
    source = PROSODY if find_spec("opensmile") is None else EGEMAPS
    measured = acoustic_store(clips, keys, store, source)
    missing = set(measured.missing(keys))
    known = [place for place, key in enumerate(keys) if key not in missing]
    of_known = [keys[place] for place in known]
    values = np.full((len(keys), len(TARGETS)), np.nan)
    if source == EGEMAPS:
        features = measured.layer(measured.extraction.layers[0], of_known).astype(np.float64)
        values[known] = features[:, [EGEMAPS_PLACES[name] for name in TARGETS]]
        values[values[:, 0] == 0] = np.nan  # no voiced frame
    else:
        for place, key in zip(known, of_known, strict=True):
            frames = measured.frames(PROSODY, key)
            values[place] = functionals(frames, rate=measured.extraction.frame_rate)
    return AcousticValues(values=values, source=source)


def acoustic_store(
    clips: Sequence[Clip], keys: Sequence[str], store: FeatureStore, model: str
) -> FeatureStore:
    """The store of acoustic features of these clips, from the channels and track that `store` has read.

    Clips that it lacks are computed. Raises as `measure`.
    """
    own = store.extraction
    frames = model == PROSODY
    try:
        cached = find_model_store(store.cache, model, frames=frames)
        of = cached.extraction
        if (of.channels, of.track) == (own.channels, own.track) and not cached.missing(keys):
            return cached
    except StoreError:
        pass
    from layerprobe.embed.extract.run import embed_with_progress  # loads torch

    options: dict[str, Any] = {"frames": True, "dtype": "float32"} if frames else {}
    config = EmbedConfig(model=model, cache=store.cache, channels=own.channels, track=own.track, **options)
    done = embed_with_progress(clips, config)
    if done.stopped:
        raise KeyboardInterrupt
    return FeatureStore(done.store)


def voiced_frames(frames: np.ndarray) -> np.ndarray:
    """(F,) bool of prosody (F, 4): periodic, and not much weaker than the loudest frame of the clip."""
    _, periodicity, level, _ = frames.T
    return np.asarray((periodicity >= VOICED) & (level >= level.max(initial=-np.inf) - SILENT))


def semitones(frequency: np.ndarray) -> np.ndarray:
    """Hz → semitones above LOWEST."""
    return np.asarray(12 * np.log2(frequency / LOWEST))


def functionals(frames: np.ndarray, *, rate: float) -> np.ndarray:
    """The values of one clip, in the order of TARGETS, from its prosody (F, 4) at `rate` frames per second.

    NaN where no frame is voiced.
    """
    voiced = voiced_frames(frames)
    if not voiced.any():
        return np.full(len(TARGETS), np.nan)
    pitch = semitones(frames[voiced, 0].astype(np.float64))
    low, high = np.percentile(pitch, [20, 80])
    level = 10 * np.log10(np.mean(10 ** (frames[:, 2].astype(np.float64) / 10)))
    edges = np.flatnonzero(np.diff(np.concatenate([[False], voiced, [False]]).astype(int)))
    lengths = edges[1::2] - edges[::2]
    per_second = np.sum(lengths >= SHORTEST_SEGMENT) / (len(frames) / rate)
    return np.array([pitch.mean(), high - low, level, per_second, frames[voiced, 3].mean()])
