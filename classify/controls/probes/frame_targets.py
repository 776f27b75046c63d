"""What is known of single frames: labels of annotation files, voicing and fundamental frequency."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from layerprobe.cache.common.errors import InputError
from layerprobe.cache.common.text import format_count, format_list
from layerprobe.cache.store.feature_store import FeatureStore
from layerprobe.classify.controls.probes.acoustics import acoustic_store, semitones, voiced_frames
from layerprobe.classify.data.dataset import Dataset
from layerprobe.classify.features.frame_times import frame_times
from layerprobe.embed.manifest.annotations.beside import labels_at, read_annotations
from layerprobe.embed.manifest.clips import Clip
from layerprobe.embed.models.presets import PROSODY

F0, VOICED = "f0", "voiced"
SOUND_TARGETS = (F0, VOICED)  # those that need no annotation


@dataclass(frozen=True, kw_only=True)
class FrameTargets:
    """What is known of the F frames of N clips together.

    clip, frame: (F,) number of the clip, and of the frame in it. labels: tier or `voiced` → F labels, None
    where unknown. f0: (F,) semitones, NaN where unvoiced or unknown; None where it is not wanted.
    """

    clip: np.ndarray
    frame: np.ndarray
    labels: dict[str, np.ndarray]
    f0: np.ndarray | None

    @property
    def known(self) -> np.ndarray:
        """(F,) whether anything is known of a frame."""
        known = np.zeros(len(self.clip), bool) if self.f0 is None else np.isfinite(self.f0)
        for values in self.labels.values():
            known |= values != None  # noqa: E711 - elementwise
        return known


def frame_targets(
    store: FeatureStore,
    data: Dataset,
    clips: Sequence[Clip],
    *,
    tiers: Sequence[str],
    names: Sequence[str],
    annotations: Path | None,
) -> tuple[FrameTargets, list[str]]:
    """What is known of every frame of the clips of `data`, and notes on files that lack a tier."""
    counts, seconds = store.frame_counts(data.keys), store.seconds(data.keys)
    times = [
        frame_times(store.extraction, frames=int(count), seconds=float(length))
        for count, length in zip(counts, seconds, strict=True)
    ]
    labels: dict[str, np.ndarray] = {}
    notes: list[str] = []
    if tiers:
        labels, notes = _tier_labels(clips, times, tiers, annotations)
    f0 = None
    if names:
        prosody = acoustic_store(clips, data.keys, store, PROSODY)
        pitch, voiced = _prosody(prosody, data.keys, times)
        f0 = pitch if F0 in names else None
        labels |= {VOICED: voiced} if VOICED in names else {}
    frames = np.concatenate([np.arange(count) for count in counts])
    clip = np.repeat(np.arange(len(clips)), counts)
    return FrameTargets(clip=clip, frame=frames, labels=labels, f0=f0), notes


def _tier_labels(
    clips: Sequence[Clip], times: Sequence[np.ndarray], tiers: Sequence[str], folder: Path | None
) -> tuple[dict[str, np.ndarray], list[str]]:
    """Labels of all frames for each tier, and a note for each kind of fault. Raises InputError."""
    found = read_annotations([clip.file for clip in clips], folder)
    notes = []
    if found.without:
        listed = format_list([f"{file} {why}" for file, why in found.without.items()])
        notes.append(f"{_files(len(found.without), found.files, found.without)} no annotation: {listed}")
    labels: dict[str, np.ndarray] = {}
    for tier in tiers:
        values: list[list[str | None]] = []
        lacking: dict[str, None] = {}
        for clip, own in zip(clips, times, strict=True):
            intervals = found.intervals(clip.file, tier, speaker=clip.speaker)
            if intervals is None and clip.file in found.files:
                lacking[clip.file] = None
            values.append(labels_at(intervals or [], own + (clip.start or 0.0)))
        labels[tier] = np.array([label for of_clip in values for label in of_clip], object)
        known = sorted({one.name or "" for a in found.files.values() for one in a.tiers})
        if len(lacking) == len(found.files):
            what = f"no recording has a tier '{tier}'"
            do = f"there are {format_list(known, shown=10)}" if known else notes[0]
            raise InputError(what, do=do)
        if lacking:
            which = _files(len(lacking), found.files, found.without)
            notes.append(f"{which} no tier '{tier}': {format_list(list(lacking))}")
    return labels, notes


def _files(number: int, *groups: Collection[str]) -> str:
    """`3 of 12 recordings have`."""
    total = sum(map(len, groups))
    return f"{number} of {format_count(total, 'recording')} {'has' if number == 1 else 'have'}"


def _prosody(
    store: FeatureStore, keys: Sequence[str], times: Sequence[np.ndarray]
) -> tuple[np.ndarray, np.ndarray]:
    """Semitones and voicing at each time, from the frame of prosody whose centre is nearest."""
    missing = set(store.missing(keys))
    pitch, voiced = [], []
    for key, own in zip(keys, times, strict=True):
        semitone, label = np.full(len(own), np.nan), np.full(len(own), None, object)
        if key not in missing:
            frames = store.frames(PROSODY, key)
            seconds = float(store.seconds([key])[0])
            centres = frame_times(store.extraction, frames=len(frames), seconds=seconds)
            place = np.rint(np.interp(own, centres, np.arange(len(centres)))).astype(np.int64)
            near = np.abs(centres[place] - own) <= 1 / store.extraction.frame_rate
            is_voiced = voiced_frames(frames)[place]
            label[near] = np.where(is_voiced, "voiced", "unvoiced")[near]
            semitone[near & is_voiced] = semitones(frames[place, 0])[near & is_voiced]
        pitch.append(semitone)
        voiced.append(label)
    return np.concatenate(pitch), np.concatenate(voiced)
