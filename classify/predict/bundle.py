"""Load a bundle and predict with it: recordings on disk, waveforms in memory, alone or in batches."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from layerprobe.cache.common.errors import ClipError, InputError, StoreError
from layerprobe.cache.identity.extraction import Extraction
from layerprobe.cache.store.feature_store import EXTRACTION_FILE, FeatureStore
from layerprobe.cache.store.keys import clip_keys
from layerprobe.classify.predict.system import System
from layerprobe.classify.runs.bundle_files import MANIFEST, check_labels, read_bundle
from layerprobe.embed.config import EmbedConfig
from layerprobe.embed.manifest.clips import Clip

if TYPE_CHECKING:
    from layerprobe.embed.extract.in_memory import ClipStates, StateExtractor

# Fields of an extraction that decide a state of a given layer.
BACKBONE = ("weights", "architecture", "normalise", "context")
IDENTITY = (*BACKBONE, "dtype", "precision", "window", "rate", "convention")
BATCH = 256  # recordings whose states are in memory at once


@dataclass(frozen=True, kw_only=True)
class Prediction:
    """What a system says about one clip. label: None below the confidence that was asked for.

    probabilities: (K,), in the order of the bundle's labels. error: why there is no prediction; the rest is
    then empty.
    """

    clip: Clip
    label: str | None = None
    confidence: float = 0.0
    probabilities: tuple[float, ...] = ()
    error: ClipError | None = None


class Bundle:
    """A saved system. Its backbone is loaded on first use. Safe to use from several threads.

    labels: in the order of probabilities. content: bundle.json. device: as `embed` takes it. model: where the
    backbone is, if not where the study found it: a local folder, a preset or a hub id.
    """

    def __init__(self, folder: Path, *, model: str | None = None, device: str = "auto") -> None:
        self.folder = Path(folder)
        self.content = read_bundle(self.folder)
        where = str(self.folder / MANIFEST)
        try:
            self.labels = tuple(str(label) for label in self.content["labels"])
            self.extraction = Extraction.from_json(json.dumps(self.content["extraction"]), where=where)
            self.system = System.load(self.folder, self.content["system"])
            scores = self.system.head.scores(np.zeros((1, self.system.inputs.width), np.float32))
        except (KeyError, TypeError, ValueError, IndexError, StoreError) as error:
            raise InputError(f"is incomplete ({error})", where=where, do="make the bundle again") from error
        if scores.shape != (1, len(self.labels)):
            what = f"has {len(self.labels)} labels, and its head {scores.shape[-1]} scores"
            raise InputError(what, where=where, do="make the bundle again")
        check_labels(list(self.labels), where=where)
        self.model = model or self.extraction.model
        self._device = device
        self._extractor: StateExtractor | None = None
        self._lock = threading.Lock()

    def __repr__(self) -> str:
        layer, head = self.content.get("layer"), self.content.get("head")
        return f"Bundle({str(self.folder)!r}, {self.extraction.model}, layer {layer}, {head})"

    def predict(self, recordings: Any, *, sampling_rate: int | None = None) -> Any:
        """The label of one recording, or (N,) labels of a sequence of them.

        A recording is a path, or a waveform (T,), float in [-1, 1] or int16, at `sampling_rate` Hz. Raises
        ClipError for a recording that cannot be used, InputError for a backbone that is not the bundle's.
        """
        probability = self.predict_proba(recordings, sampling_rate=sampling_rate)
        names = np.array(self.labels)[probability.argmax(-1)]
        return str(names) if names.ndim == 0 else names

    def predict_proba(self, recordings: Any, *, sampling_rate: int | None = None) -> np.ndarray:
        """Calibrated probabilities in the order of `labels`: (K,), or (N, K); as `predict` otherwise."""
        single = is_recording(recordings)
        states = self.extractor.recordings([recordings] if single else recordings, rate=sampling_rate)
        for one in states:
            if isinstance(one, ClipError):
                raise one
        probability = self._probabilities([one for one in states if not isinstance(one, ClipError)])
        return probability[0] if single else probability

    def predict_clips(
        self,
        clips: Sequence[Clip],
        *,
        cache: Path | None = None,
        min_confidence: float = 0.0,
        report: Callable[[int, int], None] | None = None,
    ) -> list[Prediction]:
        """Predict clips on disk; each that cannot be used has an `error`.

        cache: states that it holds are read, not computed again. min_confidence: a prediction whose largest
        probability is lower has no label. report: called with the numbers of clips done and of all. Raises
        InputError for a backbone that is not the bundle's.
        """
        states: list[ClipStates] = self._cached(clips, cache)
        missing = [number for number, one in enumerate(states) if not one]
        for begin in range(0, len(missing), BATCH):
            batch = missing[begin : begin + BATCH]
            computed = self.extractor.files([clips[number] for number in batch], cache=cache)
            for number, one in zip(batch, computed, strict=True):
                states[number] = one
            if report is not None:
                report(len(clips) - len(missing) + begin + len(batch), len(clips))
        return self._predictions(clips, states, min_confidence)

    def predict_waves(
        self, waves: Sequence[np.ndarray], *, rate: int, min_confidence: float = 0.0
    ) -> list[Prediction]:
        """As `predict_clips`, of waveforms in memory."""
        clips = [Clip(id=f"array {number}", file="") for number in range(len(waves))]
        states = self.extractor.arrays(waves, rates=[rate] * len(waves))
        return self._predictions(clips, states, min_confidence)

    @property
    def extractor(self) -> StateExtractor:
        """The backbone, loaded. Raises InputError if it is not the one that the head was fitted to."""
        with self._lock:
            if self._extractor is None:
                self._extractor = self.load_backbone()
            return self._extractor

    @property
    def revision(self) -> str | None:
        """Commit of the backbone on the hub; None for another source, and where it was moved."""
        return (self.extraction.revision or None) if self.model == self.extraction.model else None

    def load_backbone(self, *, exact: bool = False) -> StateExtractor:
        """The backbone, loaded once more and checked as for `extractor`.

        exact: compute and return its states in single precision, whatever the study did.
        """
        from layerprobe.embed.extract.in_memory import StateExtractor

        of = self.extraction
        config = EmbedConfig(
            model=self.model,
            revision=self.revision,
            layers=",".join(self.system.inputs.names),
            stats=self.system.inputs.stats,
            dtype="float32" if exact else of.dtype,
            precision="fp32" if exact else of.precision,
            device=self._device,
            window=of.window,
            channels=of.channels,
            track=of.track,
            whisper_context=of.context if of.context[:1].isdecimal() else EmbedConfig.whisper_context,
            seed=int(of.notes.get("seed", 0)),
        )
        extractor = StateExtractor(config)
        for name in BACKBONE:
            expected, found = getattr(of, name), getattr(extractor.extraction, name)
            if expected != found:
                do = "give the model it was trained on with --model, or train on this one with classify"
                short = f"{str(found)[:12]}, not {str(expected)[:12]}"
                what = f"has other {name} than the backbone that this bundle was trained on ({short})"
                raise InputError(what, where=self.model, do=do)
        return extractor

    def _cached(self, clips: Sequence[Clip], cache: Path | None) -> list[ClipStates]:
        """States of the clips that a store of `cache` holds; empty for the others."""
        states: list[ClipStates] = [{} for _ in clips]
        stores = [] if cache is None else _stores(cache, self.extraction, self.system.inputs.names)
        if cache is None or not stores:
            return states
        keys = clip_keys(clips, cache)
        for store in stores:
            wanted = [n for n, key in enumerate(keys) if isinstance(key, str) and not states[n]]
            absent = set(store.missing([str(keys[n]) for n in wanted]))
            rows = [n for n in wanted if keys[n] not in absent]
            if not rows or set(self.system.inputs.stats) - set(store.extraction.stats):
                continue
            of = [str(keys[n]) for n in rows]
            layers = store.layers(self.system.inputs.names, of, stats=self.system.inputs.stats)
            for place, number in enumerate(rows):
                states[number] = {name: X[place] for name, X in layers.items()}
        return states

    def _predictions(
        self, clips: Sequence[Clip], states: Sequence[ClipStates], least: float
    ) -> list[Prediction]:
        usable = [number for number, one in enumerate(states) if not isinstance(one, ClipError)]
        speakers = [clips[number].speaker for number in usable]
        of = [one for one in states if not isinstance(one, ClipError)]
        known = np.array(speakers) if all(speakers) else None
        rows = dict(zip(usable, self._probabilities(of, known) if of else (), strict=True))
        predictions = []
        for number, (clip, one) in enumerate(zip(clips, states, strict=True)):
            if isinstance(one, ClipError):
                predictions.append(Prediction(clip=clip, error=one))
                continue
            best = int(rows[number].argmax())
            confidence = float(rows[number][best])
            predictions.append(
                Prediction(
                    clip=clip,
                    label=self.labels[best] if confidence >= least else None,
                    confidence=confidence,
                    probabilities=tuple(rows[number].tolist()),
                )
            )
        return predictions

    def _probabilities(
        self, states: Sequence[Mapping[str, np.ndarray]], speakers: np.ndarray | None = None
    ) -> np.ndarray:
        layers = {name: np.stack([one[name] for one in states]) for name in self.system.inputs.names}
        return self.system.probabilities(layers, speakers)


def load_bundle(folder: Path | str, *, model: str | None = None, device: str = "auto") -> Bundle:
    """The bundle in a folder, every file checked. Raises InputError for one that cannot be used.

    model: where the backbone is, if not where the study found it. device: auto, cpu, cuda, …
    """
    return Bundle(Path(folder), model=model, device=device)


def is_recording(value: Any) -> bool:
    """Whether a value is one recording, not several: a path, or the samples of a waveform."""
    return isinstance(value, str | Path) or (
        isinstance(value, np.ndarray) and value.ndim == 1 and value.dtype.kind in "fi"
    )


def _stores(cache: Path, of: Extraction, layers: Sequence[str]) -> list[FeatureStore]:
    """The stores of a cache with these layers of the same extraction, the bundle's own first."""
    stores = []
    for record in sorted(cache.glob(f"*/*/{EXTRACTION_FILE}")):
        with suppress(StoreError):
            store = FeatureStore(record.parent)
            same = all(getattr(store.extraction, name) == getattr(of, name) for name in IDENTITY)
            if same and set(layers) <= set(store.extraction.layers):
                stores.append(store)
    return sorted(stores, key=lambda store: store.extraction.fingerprint() != of.fingerprint())
