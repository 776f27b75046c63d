"""A bundle of a frozen backbone with a head on the states of its layers: what `classify` saves."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from layerprobe.cache.common.errors import InputError, ModelError, StoreError
from layerprobe.cache.identity.extraction import FRAME, Extraction
from layerprobe.cache.store.feature_store import FeatureStore
from layerprobe.cache.store.keys import clip_keys
from layerprobe.cache.store.location.folders import find_folders
from layerprobe.classify.features.frames import read_frames
from layerprobe.classify.heads.fitted import load_arrays
from layerprobe.classify.predict.bundle import REMAKE, Bundle
from layerprobe.classify.predict.fitting.averaged import load_system
from layerprobe.classify.predict.system import HELD_OUT
from layerprobe.classify.runs.bundle_files import MANIFEST
from layerprobe.classify.scores.conformal import set_threshold
from layerprobe.classify.tasks.registry import TASKS
from layerprobe.embed.config import EmbedConfig
from layerprobe.embed.manifest.clips import Clip
from layerprobe.embed.models.presets import ACOUSTIC_PRESETS

if TYPE_CHECKING:
    from layerprobe.embed.extract.in_memory import ClipStates, StateExtractor

FRAMES_AT_ONCE = 32  # recordings whose frames are in memory at once
FRAMES_BUDGET = 1 << 30  # bytes of them; more are read through a temporary file

# Fields of an extraction that decide a state of a given layer.
BACKBONE = ("weights", "architecture", "normalise", "context")
IDENTITY = (*BACKBONE, "dtype", "precision", "window", "rate", "channels", "track", "convention")


class FrozenBundle(Bundle):
    """A saved head, and which backbone it was fitted to.

    extraction: the study's own. model: where the backbone is, if not where the study found it: a local
    folder, a preset or a hub id.
    """

    def __init__(
        self, folder: Path, content: Mapping[str, Any], *, model: str | None = None, device: str = "auto"
    ) -> None:
        super().__init__(folder, content, device=device)
        where = str(folder / MANIFEST)
        try:
            self.extraction = Extraction.from_json(json.dumps(content["extraction"]), where=where)
            self.system = load_system(folder, content["system"])
            scores = self.system.count_scores()
        except (KeyError, TypeError, ValueError, IndexError, StoreError) as error:
            raise InputError(f"is incomplete ({error})", where=where, do=REMAKE) from error
        if scores != (1 if self.task == "regression" else len(self.labels)):
            what = f"has {len(self.labels)} labels, and its head {scores} scores"
            raise InputError(what, where=where, do=REMAKE)
        self.model = model or self.extraction.model
        self.needs_speakers = self.system.by_speaker
        if self.system.stats == (FRAME,):
            self.at_once = FRAMES_AT_ONCE

    def outputs(self, states: Mapping[str, Any], speakers: np.ndarray | None = None) -> np.ndarray:
        """As `Bundle.outputs`; probabilities are calibrated by temperature scaling."""
        scores = self.system.scores(states, speakers)
        if self.task == "regression":
            return scores
        return TASKS[self.task].probabilities(scores, self.system.temperature)

    def sound(self) -> tuple[str, int]:
        """As `Bundle.sound`."""
        return self.extraction.channels, self.extraction.track

    def set_threshold(self, coverage: float) -> float:
        """As `Bundle.set_threshold`, from the clips that the study tested."""
        self.require_labels("sets of labels", do="omit the coverage")
        held = load_arrays(self.folder / HELD_OUT)
        return set_threshold(held["scores"], held["groups"], coverage=coverage)

    def groups(self) -> int:
        """How many speakers the study tested; of clips, where no speakers are named."""
        return len(np.unique(load_arrays(self.folder / HELD_OUT)["groups"]))

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
        frames = self.system.stats == (FRAME,)
        config = EmbedConfig(
            model=self.model,
            revision=self.revision,
            layers=",".join(self.system.names),
            stats=EmbedConfig.stats if frames else self.system.stats,
            frames=frames,
            dtype="float32" if exact else of.dtype,
            precision="fp32" if exact else of.precision,
            device=self._device,
            window=of.window,
            channels=of.channels,
            track=of.track,
            whisper_context=of.context if of.context[:1].isdecimal() else EmbedConfig.whisper_context,
            seed=int(of.notes.get("seed", 0)),
        )
        if self.model != of.model and (self.model in ACOUSTIC_PRESETS or of.model in ACOUSTIC_PRESETS):
            what = f"is not the backbone that this bundle was trained on ({of.model})"
            raise InputError(what, where=self.model, do="leave --model out, or give that one's folder")
        try:
            extractor = StateExtractor(config)
        except ModelError as error:
            what = f"cannot load the backbone of this bundle: {error.line()}"
            do = "say where the backbone is with --model (load_bundle: model=)"
            raise ModelError(what, where=str(self.folder), do=do) from error
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
        stores = [] if cache is None else _stores(cache, self.extraction, self.system.names)
        if cache is None or not stores:
            return states
        keys = clip_keys(clips, cache)
        for store in stores:
            wanted = [n for n, key in enumerate(keys) if isinstance(key, str) and not states[n]]
            absent = set(store.missing([str(keys[n]) for n in wanted]))
            rows = [n for n in wanted if keys[n] not in absent]
            if not rows or set(self.system.stats) - set(store.extraction.stats):
                continue
            layers = self._read(store, [str(keys[n]) for n in rows])
            for place, number in enumerate(rows):
                states[number] = {name: X[place] for name, X in layers.items()}
        return states

    def _read(self, store: FeatureStore, keys: Sequence[str]) -> Mapping[str, Any]:
        """Layer → the states of each key, (S*D,) or (F, D)."""
        names, stats = self.system.names, self.system.stats
        if stats != (FRAME,):
            return store.layers(names, keys, stats=stats)
        layers = {}
        for name in names:
            frames = read_frames(store, name, keys, budget=FRAMES_BUDGET)
            layers[name] = [frames.of(clip).astype(np.float32) for clip in range(len(keys))]
        return layers


def _stores(cache: Path, of: Extraction, layers: Sequence[str]) -> list[FeatureStore]:
    """The stores of a cache with these layers of the same extraction, the bundle's own first."""
    stores = []
    for folder in find_folders(cache):
        with suppress(StoreError):
            store = FeatureStore(folder)
            same = all(getattr(store.extraction, name) == getattr(of, name) for name in IDENTITY)
            if same and set(layers) <= set(store.extraction.layers):
                stores.append(store)
    return sorted(stores, key=lambda store: store.extraction.fingerprint() != of.fingerprint())
