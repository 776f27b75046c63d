"""States without a store: a loaded model computes those of files or of arrays, as `embed` does, in memory."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch

from layerprobe.cache.common.errors import ClipError, InputError
from layerprobe.cache.common.interrupts import GracefulStop
from layerprobe.cache.identity.extraction import Extraction
from layerprobe.cache.store.failures import FailureId, failure_id
from layerprobe.embed.audio import sound
from layerprobe.embed.audio.headers import ClipAudio, audio_row, channel_clips
from layerprobe.embed.audio.resampling import resampler
from layerprobe.embed.audio.sound import AudioInfo
from layerprobe.embed.config import RATE, EmbedConfig
from layerprobe.embed.extract.batching import Window, batch_budget, padded_length, plan_batches
from layerprobe.embed.extract.collect import Collector
from layerprobe.embed.extract.parallel import ParallelForward, Replicas
from layerprobe.embed.extract.pending import PendingClips, find_pending
from layerprobe.embed.extract.prefetch import Batch, Prefetcher
from layerprobe.embed.manifest.clips import Clip
from layerprobe.embed.models.backbones import open_backbone
from layerprobe.embed.models.interface import Backbone

MIN_RATE, MAX_RATE = 1_000, 768_000  # Hz, of arrays

# Layer → (S*D,) float32, or (F, D) where frames are kept; or why a clip has no states.
ClipStates = dict[str, np.ndarray] | ClipError


@dataclass
class _Memory:
    """Stands where a collector expects the writer of a store."""

    held: dict[str, dict[str, np.ndarray]] = field(default_factory=dict)
    _key: str = ""
    _frames: list[dict[str, np.ndarray]] = field(default_factory=list)

    def add(self, key: str, states: Mapping[str, np.ndarray], **_: object) -> None:
        self.held[key] = {layer: values.astype(np.float32).reshape(-1) for layer, values in states.items()}

    def add_batch(self, keys: Sequence[str], states: Mapping[str, np.ndarray], **_: object) -> None:
        for row, key in enumerate(keys):
            self.add(key, {layer: values[row] for layer, values in states.items()})

    def begin(self, key: str, **_: object) -> None:
        self._key, self._frames = key, []

    def append(self, states: dict[str, np.ndarray]) -> None:
        self._frames.append(states)

    def end(self, **_: object) -> None:
        layers = self._frames[0]
        self.held[self._key] = {
            name: np.concatenate([part[name] for part in self._frames]).astype(np.float32) for name in layers
        }


class StateExtractor:
    """A frozen model on its device. States are rounded to the configured type, as a store would round them.

    Safe to use from several threads: they take turns. loaded: the model, if it is not opened by its
    configuration. Raises as `open_backbone` does.
    """

    def __init__(self, config: EmbedConfig, *, loaded: tuple[Backbone, Extraction] | None = None) -> None:
        self.config = config
        self._backbone, self.extraction = loaded or open_backbone(config)
        self._replicas = Replicas(self._backbone)
        self._lock = threading.Lock()

    def files(self, clips: Sequence[Clip], *, cache: Path | None = None) -> list[ClipStates]:
        """The states of each clip. cache: folder that remembers the hashes of files, if there is one.

        Ctrl-C and SIGTERM raise KeyboardInterrupt after the batch being computed. Raises InputError for a
        recording of several channels if each is a clip of its own.
        """
        clips = self._single_channels(clips)
        with TemporaryDirectory(prefix="layerprobe-") as temporary:
            config = replace(self.config, cache=cache or Path(temporary), on_error="skip")
            pending = find_pending(clips, None, config)
        plan, backbone = self._plan(pending), self._backbone
        decoded = Prefetcher(plan, pending, normalise=backbone.normalise, device=backbone.device)
        computed = self._compute(pending, decoded, count=len(plan))
        by_id: dict[FailureId, ClipStates] = {
            identity: ClipError(failure.reason, where=identity[0])
            for identity, failure in pending.failures.items()
        }
        for index, states in enumerate(computed):
            by_id |= {failure_id(clip): states for clip in pending.with_copies(index)}
        return [by_id[failure_id(clip)] for clip in clips]

    def arrays(self, waves: Sequence[np.ndarray], *, rates: Sequence[int]) -> list[ClipStates]:
        """The states of mono waveforms (T,), float in [-1, 1] or int16, each at its rate in Hz."""
        clips = [Clip(id=f"array {number}", file=f"array {number}") for number in range(len(waves))]
        results: list[ClipStates] = []
        ready: list[np.ndarray] = []
        for wave, rate, clip in zip(waves, rates, clips, strict=True):
            try:
                ready.append(prepare_wave(wave, rate, clip, normalise=self._backbone.normalise))
                results.append({})
            except ClipError as error:
                results.append(error)
        used = [number for number, result in enumerate(results) if not isinstance(result, ClipError)]
        pending = _pending([clips[number] for number in used], ready)
        plan = self._plan(pending)
        batches = (_batch(windows, ready) for windows in plan)
        computed = self._compute(pending, batches, count=len(plan))
        for number, states in zip(used, computed, strict=True):
            results[number] = states
        return results

    def recordings(self, items: Sequence[Any], *, rate: int | None = None) -> list[ClipStates]:
        """The states of paths and waveforms, in their order.

        An item is a path, a waveform (T,) at `rate` Hz, a pair (waveform, rate), or a mapping with `array`
        and `sampling_rate`, as in Hugging Face's datasets. Raises InputError for a waveform without a rate.
        """
        results: list[ClipStates] = [{} for _ in items]
        paths: dict[int, Clip] = {}
        waves: dict[int, tuple[np.ndarray, int]] = {}
        for number, item in enumerate(items):
            if isinstance(item, str | Path):
                paths[number] = Clip(id=str(item), file=str(item))
            else:
                waves[number] = _wave_and_rate(item, rate)
        for number, states in zip(paths, self.files(list(paths.values())) if paths else (), strict=True):
            results[number] = states
        arrays, rates = [wave for wave, _ in waves.values()], [its for _, its in waves.values()]
        for number, states in zip(waves, self.arrays(arrays, rates=rates) if waves else (), strict=True):
            results[number] = states
        return results

    def _single_channels(self, clips: Sequence[Clip]) -> Sequence[Clip]:
        """The clips; of a model that reads each channel, those of recordings with one."""
        expanded = channel_clips(clips, channels=self.config.channels, track=self.config.track)
        if len(expanded) > len(clips):
            files = [clip.file for clip in expanded if clip.own_channel]
            what = "has several channels, each of which is a clip of its own for this model"
            do = "give a table to `predict`, or files of one channel"
            raise InputError(what, where=files[0], do=do)
        return expanded

    def _plan(self, pending: PendingClips) -> Sequence[list[Window]]:
        budget = batch_budget(self.config, self._backbone.device)
        return plan_batches(
            pending.audio.samples,
            window=self.config.window,
            budget=budget,
            processed=self._backbone.processed,
        )

    def _compute(self, pending: PendingClips, batches: Iterable[Batch], *, count: int) -> list[ClipStates]:
        """The states of the pending clips, in their order. count: of the batches."""
        memory, errors = _Memory(), dict[int, ClipError]()
        collector = Collector(memory, self.extraction, pending)  # type: ignore[arg-type]
        budget = batch_budget(self.config, self._backbone.device)
        with self._lock, GracefulStop() as stop:
            forward = ParallelForward(self._replicas, self.extraction, budget=budget, batches=count)
            for result in forward.results(batches):
                for index, error in collector.collect(result):
                    errors[index] = error
                if stop.requested:
                    raise KeyboardInterrupt
        return [errors.get(index) or memory.held[key] for index, key in enumerate(pending.keys)]


def _wave_and_rate(item: Any, rate: int | None) -> tuple[np.ndarray, int]:
    if isinstance(item, Mapping):
        item = item["array"], item["sampling_rate"]
    if isinstance(item, tuple):
        item, rate = item
    if rate is None:
        raise InputError("a waveform without its sampling rate", do="give sampling_rate, in Hz")
    return np.asarray(item), int(rate)


def prepare_wave(wave: np.ndarray, rate: int, clip: Clip, *, normalise: bool) -> np.ndarray:
    """A waveform as `embed.audio` would read it from a file: (T,) float32 at 16 kHz. Raises ClipError."""
    if wave.ndim != 1 or wave.dtype.kind not in "fi":
        do = "give one channel (T,) of floats in [-1, 1], or of int16"
        raise ClipError(f"is an array of shape {wave.shape} and type {wave.dtype}", where=clip.id, do=do)
    if not MIN_RATE <= rate <= MAX_RATE:
        raise ClipError(f"has a sample rate of {rate} Hz", where=clip.id)
    scale = 1.0 if wave.dtype.kind == "f" else 1 / -float(np.iinfo(wave.dtype).min)
    samples = wave.astype(np.float32) * np.float32(scale)
    sound.check_samples(samples, clip)  # before resampling, which gives a constant clip edges that vary
    if rate != RATE:
        count = -(-len(samples) * RATE // rate)
        resample = resampler(int(rate), RATE)
        low, high = resample.span(0, count)
        samples = resample.apply(np.pad(samples, (-low, max(0, high - len(samples))))[: high - low], 0, count)
        sound.check_samples(samples, clip)
    if not normalise:
        return samples
    mean, variance = float(samples.mean(dtype=np.float64)), float(samples.var(dtype=np.float64))
    return sound.normalise(samples, mean, variance)


def _pending(clips: list[Clip], waves: Sequence[np.ndarray]) -> PendingClips:
    infos = [audio_row(AudioInfo(rate=RATE, channels=1, begin=0, stop=len(wave))) for wave in waves]
    return PendingClips(
        clips=clips,
        keys=[str(number) for number in range(len(clips))],
        audio=ClipAudio(np.array(infos, np.int64).reshape(-1, 6)),
        stamps=[None] * len(clips),
        copies={},
        table_size=len(clips),
        cached=0,
        cached_clips=[],
        copy_count=0,
        failures={},
    )


def _batch(windows: list[Window], waves: Sequence[np.ndarray]) -> Batch:
    lengths = torch.tensor([window.samples for window in windows], dtype=torch.int64)
    padded = torch.zeros(len(windows), padded_length(int(lengths.max())))
    for row, window in zip(padded, windows, strict=True):
        row[: window.samples] = torch.from_numpy(waves[window.clip][window.begin : window.stop])
    return Batch(windows=windows, waves=padded, lengths=lengths, failed={})
