"""Load a bundle and predict with it: recordings on disk, waveforms in memory, alone or in batches."""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from layerprobe.cache.common.errors import ClipError, InputError
from layerprobe.cache.common.options import check_choice
from layerprobe.classify.config import TaskName, task_of
from layerprobe.classify.features.fitted import speakers_needed
from layerprobe.classify.predict.recordings import is_recording
from layerprobe.classify.predict.results.prediction import PREDICTS, Prediction, likely, make_prediction
from layerprobe.classify.runs.bundle_files import MANIFEST, check_labels, read_bundle
from layerprobe.classify.tasks.registry import TASKS
from layerprobe.embed.audio.headers import channel_clips
from layerprobe.embed.manifest.clips import Clip, select_sound

if TYPE_CHECKING:
    from layerprobe.embed.extract.in_memory import ClipStates, StateExtractor

REMAKE = "make the bundle again"
AT_ONCE = 256  # recordings whose states are in memory at once


class Bundle(ABC):
    """A saved system. Its backbone is loaded on first use. Safe to use from several threads.

    labels: in the order of probabilities; none of a regression. content: bundle.json. device: as of `embed`.
    needs_speakers: whether it scales each clip by its speaker's other clips. at_once: recordings in memory.
    """

    needs_speakers = False
    at_once = AT_ONCE
    _extractor: StateExtractor | None = None
    _lock = threading.Lock()  # of all bundles: one backbone is loaded at a time

    def __init__(self, folder: Path, content: Mapping[str, Any], *, device: str = "auto") -> None:
        self.folder, self.content, self._device = folder, content, device
        try:
            self.labels = tuple(str(label) for label in content["labels"])
        except (KeyError, TypeError) as error:
            raise InputError("has no labels", where=str(folder / MANIFEST), do=REMAKE) from error
        check_labels(list(self.labels), where=str(folder / MANIFEST))
        self.task: TaskName = task_of(content)
        check_choice("task", self.task, TASKS)

    def __getstate__(self) -> dict[str, Any]:
        """Pickled without the backbone: another process loads it on first use."""
        return {name: value for name, value in vars(self).items() if name != "_extractor"}

    def __repr__(self) -> str:
        predicts = f"labels {', '.join(self.labels)}" if self.labels else f"{self.content.get('target')}"
        return f"{type(self).__name__}({str(self.folder)!r}, {predicts})"

    def predict(self, recordings: Any, *, sampling_rate: int | None = None) -> Any:
        """The label of one recording, or (N,) labels of several. Of a regression, numbers; of sets, tuples.

        A recording is a path, or a waveform (T,), float in [-1, 1] or int16, at `sampling_rate` Hz. Raises
        ClipError for a recording that cannot be used, InputError for a backbone that is not the bundle's.
        """
        rows = self._rows(recordings, sampling_rate)
        if self.task == "regression":
            return float(rows[0]) if rows.ndim == 1 else rows[:, 0]
        if self.task == "multilabel":
            return likely(rows, self.labels) if rows.ndim == 1 else [likely(row, self.labels) for row in rows]
        names = np.array(self.labels)[rows.argmax(-1)]
        return str(names) if names.ndim == 0 else names

    def predict_proba(self, recordings: Any, *, sampling_rate: int | None = None) -> np.ndarray:
        """Calibrated probabilities in the order of `labels`: (K,), or (N, K); as `predict` otherwise.

        Raises InputError for a regression, which has none.
        """
        if self.task == "regression":
            self.require_labels("probabilities")
        return self._rows(recordings, sampling_rate)

    def require_labels(self, what: str, *, do: str = "") -> None:
        """Raise InputError for a system that predicts numbers or sets. what: that only single labels have."""
        if self.task in PREDICTS:
            raise InputError(f"{PREDICTS[self.task]}, which has no {what}", where=str(self.folder), do=do)

    def _rows(self, recordings: Any, sampling_rate: int | None) -> np.ndarray:
        """What `outputs` gives for one recording, (C,), or for N of them, (N, C)."""
        self.check_speakers()
        single = is_recording(recordings)
        if not single and not isinstance(recordings, Iterable):
            raise InputError(f"a {type(recordings).__name__} is no recording", do="give a path or samples")
        items = [recordings] if single else list(recordings)
        if not items:
            return np.zeros((0, len(self.labels) or 1), np.float32)
        states = self.extractor.recordings(items, rate=sampling_rate)
        for one in states:
            if isinstance(one, ClipError):
                raise one
        rows = self._outputs([one for one in states if not isinstance(one, ClipError)])
        return rows[0] if single else rows

    def predict_clips(
        self,
        clips: Sequence[Clip],
        *,
        cache: Path | None = None,
        min_confidence: float = 0.0,
        coverage: float | None = None,
        report: Callable[[int, int], None] | None = None,
    ) -> list[Prediction]:
        """Predict clips on disk; each that cannot be used has an `error`.

        A system that was trained on each channel of its recordings predicts each channel of these, too.
        cache: states that it holds are read, not computed again. min_confidence: a prediction whose largest
        probability is lower has no label. coverage: also give the set of labels that holds the true one at
        this rate, for speakers like those of the study. report: called with the numbers of clips done and of
        all. Raises InputError for a backbone that is not the bundle's.
        """
        clips = self.select_sound(clips)
        if not all(clip.speaker for clip in clips):
            self.check_speakers()
        threshold = None if coverage is None else self.set_threshold(coverage)
        predictions: list[Prediction] = []
        size = len(clips) if self.needs_speakers else self.at_once

        def done(count: int) -> None:
            if report is not None:
                report(len(predictions) + count, len(clips))

        for begin in range(0, len(clips), max(1, size)):
            batch = clips[begin : begin + size]
            states = self._states(batch, cache, done)
            predictions += self._predictions(batch, states, min_confidence, threshold)
        return predictions

    def predict_waves(
        self,
        waves: Sequence[np.ndarray],
        *,
        rate: int,
        min_confidence: float = 0.0,
        coverage: float | None = None,
    ) -> list[Prediction]:
        """As `predict_clips`, of waveforms in memory."""
        self.check_speakers()
        clips = [Clip(id=f"array {number}", file="") for number in range(len(waves))]
        threshold = None if coverage is None else self.set_threshold(coverage)
        states = self.extractor.arrays(waves, rates=[rate] * len(waves))
        return self._predictions(clips, states, min_confidence, threshold)

    @property
    def extractor(self) -> StateExtractor:
        """The backbone, loaded. Raises InputError if it is not the one that the head was fitted to."""
        with self._lock:
            if self._extractor is None:
                self._extractor = self.load_backbone()
            return self._extractor

    def check_speakers(self) -> None:
        """Raise InputError if the system scales by speaker: for recordings whose speakers are not known."""
        if self.needs_speakers:
            raise speakers_needed()

    def select_sound(self, clips: Sequence[Clip]) -> Sequence[Clip]:
        """The clips, to be read from the channels and the track that the system was trained on.

        Where that was each channel, there is a clip for each channel of each recording.
        """
        channels, track = self.sound()
        clips = channel_clips(clips, channels=channels, track=track)
        return select_sound(clips, channels=channels, track=track)

    @abstractmethod
    def sound(self) -> tuple[str, int]:
        """Channels and track of the recordings that the system was trained on; loads no model."""

    @abstractmethod
    def load_backbone(self) -> StateExtractor:
        """Load what computes the states that `outputs` reads."""

    @abstractmethod
    def outputs(self, states: Mapping[str, Any], speakers: np.ndarray | None = None) -> np.ndarray:
        """Layer → (m, S*D) float32, or m clips' frames (F, D) → (m, K) probabilities, or (m, 1) numbers.

        speakers: (m,), for a system that scales by speaker.
        """

    def set_threshold(self, coverage: float) -> float:
        """The largest 1 - probability in prediction sets of this coverage; see `scores.conformal`.

        Raises InputError for a bundle without scores of held-out clips.
        """
        what = "has no scores of held-out clips, which sets of labels are made with"
        raise InputError(what, where=str(self.folder), do="omit --coverage")

    def groups(self) -> int:
        """How many speakers' clips `set_threshold` reads."""
        return 0

    def _states(
        self, clips: Sequence[Clip], cache: Path | None, done: Callable[[int], None]
    ) -> list[ClipStates]:
        """The states of each clip, from the cache where it has them. done: called with the number so far."""
        states = self._cached(clips, cache)
        missing = [number for number, one in enumerate(states) if not one]
        done(len(clips) - len(missing))
        for begin in range(0, len(missing), self.at_once):
            batch = missing[begin : begin + self.at_once]
            computed = self.extractor.files([clips[number] for number in batch], cache=cache)
            for number, one in zip(batch, computed, strict=True):
                states[number] = one
            done(len(clips) - len(missing) + begin + len(batch))
        return states

    def _cached(self, clips: Sequence[Clip], cache: Path | None) -> list[ClipStates]:
        """States of the clips that `cache` holds; empty for the others."""
        return [{} for _ in clips]

    def _predictions(
        self, clips: Sequence[Clip], states: Sequence[ClipStates], least: float, threshold: float | None
    ) -> list[Prediction]:
        usable = [number for number, one in enumerate(states) if not isinstance(one, ClipError)]
        speakers = [clips[number].speaker for number in usable]
        of = [one for one in states if not isinstance(one, ClipError)]
        known = np.array(speakers) if all(speakers) else None
        rows = dict(zip(usable, self._outputs(of, known) if of else (), strict=True))
        rules: dict[str, Any] = {"task": self.task, "least": least, "threshold": threshold}
        return [
            Prediction(clip=clip, error=one)
            if isinstance(one, ClipError)
            else make_prediction(clip, rows[number], self.labels, **rules)
            for number, (clip, one) in enumerate(zip(clips, states, strict=True))
        ]

    def _outputs(
        self, states: Sequence[Mapping[str, np.ndarray]], speakers: np.ndarray | None = None
    ) -> np.ndarray:
        """As `outputs`, of the states of m clips. Frames stay a list: each clip has a number of its own."""
        layers = {name: [one[name] for one in states] for name in states[0]}
        stacked = {name: np.stack(rows) if rows[0].ndim == 1 else rows for name, rows in layers.items()}
        return self.outputs(stacked, speakers)


def load_bundle(folder: Path | str, *, model: str | None = None, device: str = "auto") -> Bundle:
    """The bundle in a folder, every file checked. Raises InputError for one that cannot be used.

    model: where the backbone is, if not where the study found it. device: auto, cpu, cuda, …
    """
    content = read_bundle(folder := Path(folder))
    if content.get("kind") == "finetuned":
        from layerprobe.classify.predict.finetuned import FinetunedBundle

        return FinetunedBundle(folder, content, device=device)
    from layerprobe.classify.predict.frozen import FrozenBundle

    return FrozenBundle(folder, content, model=model, device=device)
