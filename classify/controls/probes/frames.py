"""Probes of single frames: phones and other tiers of annotation files, voicing and fundamental frequency."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from layerprobe.cache.common.console import stage
from layerprobe.cache.common.errors import InputError
from layerprobe.cache.common.text import format_count, format_list
from layerprobe.cache.identity.extraction import FRAME
from layerprobe.cache.store.feature_store import FeatureStore
from layerprobe.classify.controls.checkpoint import Step, run_steps
from layerprobe.classify.controls.probes.acoustics import UNITS
from layerprobe.classify.controls.probes.frame_targets import F0, FrameTargets, frame_targets
from layerprobe.classify.controls.probes.linear import by_layer, class_scores, probe_layer
from layerprobe.classify.controls.probes.ridge import number_scores, ridge_layer
from layerprobe.classify.controls.probes.targets import FOLDS, Target, disjoint_folds, number_classes
from layerprobe.classify.data.dataset import Dataset
from layerprobe.classify.search.nested import derive_seed
from layerprobe.embed.manifest.clips import Clip

MAX_CLASSES = 100  # the most frequent labels of a tier
AT_ONCE = 20_000  # frames in memory while the drawn ones are taken out of them


@stage("probes of frames")
def probe_frames(
    store: FeatureStore,
    data: Dataset,
    clips: Sequence[Clip],
    *,
    tiers: Sequence[str],
    names: Sequence[str],
    annotations: Path | None,
    max_frames: int,
    jobs: int,
    seed: int,
) -> dict[str, Any]:
    """Probe single frames of every layer: UAR of labels, R² of the fundamental frequency, with intervals.

    store: of frames. tiers: of the annotation files beside the sounds, or in the folder `annotations`. names:
    of `frame_targets.SOUND_TARGETS`. A frame has the label of the interval in which its centre lies.
    max_frames: drawn at random from all frames of which anything is known. Besides their states, one layer of
    AT_ONCE frames is in memory, or of the longest clip.

    Probes, control task, description length and intervals are those of `columns.probe_columns`, with frames
    in place of clips; no speaker is both trained on and tested. Where speakers are unknown, no clip is.

    Raises InputError where no clip has a tier or nothing is known of enough frames.
    """
    by_id = {clip.id: clip for clip in clips}
    used = [by_id[id] for id in data.ids]
    found, notes = frame_targets(store, data, used, tiers=tiers, names=names, annotations=annotations)
    drawn = np.flatnonzero(found.known)
    total = len(drawn)
    if total > max_frames:
        rng = np.random.default_rng(derive_seed(seed, "probed frames"))
        drawn = np.sort(rng.choice(drawn, max_frames, replace=False))
    clip, frame = found.clip[drawn], found.frame[drawn]
    groups = clip if data.speakers is None else data.speakers[clip]
    if len(np.unique(groups)) < FOLDS:
        of = "clips" if data.speakers is None else "speakers"
        what = f"frames of {len(np.unique(groups))} {of} have a label"
        if total > max_frames:
            drew = format_count(len(np.unique(groups)), of.removesuffix("s"))
            what = f"--max-frames {max_frames} drew frames of {drew} only"
        raise InputError(what, do=f"probes of frames need {FOLDS} {of} or more")
    folds = disjoint_folds(_strata(found, drawn), groups, seed=seed)
    targets, left_out = [], {}
    for name, labels in found.labels.items():
        values = labels[drawn].tolist()
        classes, y = number_classes(values, folds, most=MAX_CLASSES)
        if len(classes) < 2:
            left_out[name] = "fewer than two of its labels are spoken by speakers of several folds"
            continue
        targets.append(
            Target(name=name, classes=classes, y=y, folds=folds, within_speakers=False, unit="frames")
        )
        if rare := sorted({value for value in values if value} - set(classes)):
            notes.append(f"rare labels of '{name}' are left out: {format_list(rare)}")
    pitch = None if found.f0 is None else found.f0[drawn]
    if pitch is not None and not all(np.isfinite(pitch[folds == fold]).any() for fold in range(FOLDS)):
        left_out[F0], pitch = "too few frames are voiced", None
    sample = _Drawn(clip=clip, frame=frame, groups=groups, folds=folds, f0=pitch)
    steps = [
        Step(name=layer, function=_layer, arguments=(store, layer, data.keys, sample, targets, seed))
        for layer in store.extraction.layers
    ]
    results = run_steps(None, steps, jobs=jobs)
    entries = [
        {
            **target.summary(),
            "layers": by_layer(
                store, class_scores(target, [one[target.name] for one in results], groups, seed=seed)
            ),
        }
        for target in targets
    ]
    if pitch is not None:
        voiced = np.isfinite(pitch)
        scores = number_scores(pitch[voiced], [one[F0] for one in results], 0, groups[voiced])
        entries.append(
            {
                "target": F0, "unit": UNITS["f0_mean"], "frames": int(voiced.sum()),
                "layers": by_layer(store, scores),
            }
        )  # fmt: skip
    return {
        "statistic": FRAME, "clips": len(np.unique(clip)), "frames": len(drawn), "known_frames": total,
        "folds": FOLDS, "targets": entries, "left_out": left_out, "notes": notes,
    }  # fmt: skip


def _strata(found: FrameTargets, drawn: np.ndarray) -> np.ndarray:
    """(n,) codes of the first tier's labels, by which folds are balanced."""
    if not found.labels:
        return np.zeros(len(drawn), np.int64)
    labels = next(iter(found.labels.values()))[drawn]
    return np.unique([label or "" for label in labels], return_inverse=True)[1]


def frame_states(
    store: FeatureStore, layer: str, keys: Sequence[str], clip: np.ndarray, frame: np.ndarray
) -> np.ndarray:
    """(n, D) float32: the states of frames, of which `clip` and `frame` (n,) are the numbers, in that order.

    clip: sorted. Clips are read a few at a time.
    """
    counts = store.frame_counts(keys)
    out = np.empty((len(clip), store.extraction.width(layer)), np.float32)
    wanted = np.unique(clip)
    batch = np.cumsum(counts[wanted]) // AT_ONCE
    for number in np.unique(batch):
        clips = wanted[batch == number]
        begins = np.cumsum(counts[clips]) - counts[clips]
        states = np.empty((int(counts[clips].sum()), out.shape[1]), np.float32)
        store.frames_into(layer, [keys[one] for one in clips.tolist()], states, begins)
        rows = np.flatnonzero(np.isin(clip, clips))
        out[rows] = states[begins[np.searchsorted(clips, clip[rows])] + frame[rows]]
    return out


@dataclass(frozen=True, kw_only=True)
class _Drawn:
    """The drawn frames, for a worker; fields as in `FrameTargets`. groups: (n,) speakers, or clips."""

    clip: np.ndarray
    frame: np.ndarray
    groups: np.ndarray
    folds: np.ndarray
    f0: np.ndarray | None


def _layer(
    store: FeatureStore, layer: str, keys: Sequence[str], drawn: _Drawn, targets: Sequence[Target], seed: int
) -> dict[str, Any]:
    X = frame_states(store, layer, keys, drawn.clip, drawn.frame)
    found = probe_layer(X, targets, drawn.groups, seed=seed)
    if drawn.f0 is not None:
        voiced = np.isfinite(drawn.f0)
        Y = drawn.f0[voiced][:, None]
        found[F0] = ridge_layer(X[voiced], Y, drawn.folds[voiced], drawn.groups[voiced], seed=seed)
    return found
