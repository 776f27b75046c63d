"""Linear probes: what each layer encodes of the label, the speaker, the text and other columns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from layerprobe.cache.common.console import stage
from layerprobe.cache.identity.extraction import FRAME
from layerprobe.cache.store.feature_store import FeatureStore
from layerprobe.classify.audit.table import TEXT_COLUMNS, find_column, label_columns
from layerprobe.classify.controls.checkpoint import Step, run_steps
from layerprobe.classify.data.dataset import Dataset
from layerprobe.classify.data.group_folds import balanced_group_folds
from layerprobe.classify.features.frames import mean_states
from layerprobe.classify.features.scaling import orthogonal_columns, standardise
from layerprobe.classify.heads.solvers.newton import Solver, cross_entropy
from layerprobe.classify.scores.bootstrap import Interval, mean_intervals, score_intervals
from layerprobe.classify.search.nested import derive_seed
from layerprobe.classify.tasks.confusion import cluster_counts
from layerprobe.embed.manifest.clips import Clip

SPEAKER, DURATION = "speaker", "duration"
GENDER_COLUMNS, AGE_COLUMNS = ("gender", "sex"), ("age", "age_group", "age band")
MEAN = "mean"
FOLDS = 3
BINS = 3  # of a numeric column, with equal numbers of clips
MAX_NUMBERS = 20  # distinct numbers up to which each is a class; BINS for ages
MIN_CLASSES, MAX_CLASSES = 2, 50
MAX_CLIPS = 4000  # a larger corpus is subsampled
C = 3.0  # of the regression, relative to the power of its inputs, as for the head `logreg`


@dataclass(frozen=True, kw_only=True)
class Target:
    """One target of a probe. y: (N,) indices into `classes`, -1 for unused clips.

    folds: (N,) the fold that tests each clip. within_speakers: every speaker is in several folds, since the
    speaker is the target; other targets have speaker-disjoint folds.
    """

    name: str
    classes: tuple[str, ...]
    y: np.ndarray
    folds: np.ndarray
    within_speakers: bool

    def summary(self) -> dict[str, Any]:
        return {
            "target": self.name,
            "classes": len(self.classes),
            "clips": int((self.y >= 0).sum()),
            "chance": 1 / len(self.classes),
            "within_speakers": self.within_speakers,
        }


@stage("probes")
def probe_columns(
    out: Path | None,
    store: FeatureStore,
    data: Dataset,
    clips: Sequence[Clip],
    names: Sequence[str],
    *,
    jobs: int,
    seed: int,
) -> dict[str, Any]:
    """UAR of a linear probe for each target on each layer, with 95 % intervals that resample speakers.

    names: columns of the table, `speaker` or `duration`; `left_out` receives the reason for each skipped one.
    out: run folder in which finished layers are saved, if any.

    Linear probes as in Alain & Bengio (2017): logistic regression with balanced classes and one fixed
    penalty, on each clip's mean over frames, scaled on training clips. Nothing is tuned: they compare layers
    and targets.
    """
    seconds = store.seconds(data.keys)
    targets, left_out = probe_targets(names, data, {clip.id: clip for clip in clips}, seconds, seed=seed)
    rows = np.arange(len(data.keys))
    if len(rows) > MAX_CLIPS:
        rng = np.random.default_rng(derive_seed(seed, "probed clips"))
        rows = np.sort(rng.choice(rows, MAX_CLIPS, replace=False))
    targets = [replace(target, y=target.y[rows], folds=target.folds[rows]) for target in targets]
    layers, keys = store.extraction.layers, [data.keys[row] for row in rows.tolist()]
    stats = MEAN if {MEAN, FRAME} & set(store.extraction.stats) else store.extraction.stats[0]
    steps = [
        Step(name=f"probe-{layer}", function=_probe_layer, arguments=(store, layer, keys, stats, targets))
        for layer in layers
    ]
    results = run_steps(out, steps, jobs=jobs) if targets else []
    clusters = np.arange(len(rows)) if data.speakers is None else data.speakers[rows]
    entries = []
    for target in targets:
        predicted = np.array([result[target.name] for result in results])
        scores = [asdict(interval) for interval in _intervals(target, predicted, clusters, seed)]
        by_layer = [{"layer": layer, "uar": score} for layer, score in zip(layers, scores, strict=True)]
        entries.append({**target.summary(), "layers": by_layer})
    return {
        "statistic": stats, "clips": len(rows), "folds": FOLDS, "targets": entries, "left_out": left_out,
    }  # fmt: skip


def _intervals(target: Target, predicted: np.ndarray, clusters: np.ndarray, seed: int) -> list[Interval]:
    """UAR of each layer's predictions (L, N). If speakers are the classes, their recalls are resampled."""
    used = target.y >= 0
    y, predicted = target.y[used], predicted[:, used]
    if target.within_speakers:
        sizes = np.bincount(y)
        recalls = np.stack([np.bincount(y, weights=row == y) / sizes for row in predicted], axis=1)
        return mean_intervals(recalls, seed=seed)
    classes = len(target.classes)
    counts = [cluster_counts(y, row, clusters[used], classes=classes) for row in predicted]
    return score_intervals(np.stack(counts, axis=1), metric="uar", seed=seed)


def _probe_layer(
    store: FeatureStore, layer: str, keys: Sequence[str], stats: str, targets: Sequence[Target]
) -> dict[str, Any]:
    """For each target the (N,) classes predicted from one layer, -1 for unused clips."""
    frames = store.extraction.stats == (FRAME,)
    X = mean_states(store, layer, keys) if frames else store.layer(layer, keys, stats=[stats])
    predicted = {target.name: np.full(len(X), -1) for target in targets}
    for within_speakers in (False, True):
        group = [target for target in targets if target.within_speakers == within_speakers]  # same folds
        for fold in range(FOLDS) if group else ():
            test_rows = group[0].folds == fold
            train, test = standardise(X[~test_rows], X[test_rows], variance=True)
            train, test = orthogonal_columns(train, test)
            for target in group:
                scores = _scores(train, target.y[~test_rows], test, classes=len(target.classes))
                used = target.y[test_rows] >= 0
                predicted[target.name][test_rows] = np.where(used, scores.argmax(1), -1)
    return {name: rows.tolist() for name, rows in predicted.items()}


def _scores(train: np.ndarray, y: np.ndarray, test: np.ndarray, *, classes: int) -> np.ndarray:
    """(m, K) scores of the test rows; training rows with y = -1 have no weight."""
    used = y >= 0
    balance = used.sum() / (classes * np.bincount(y[used], minlength=classes))
    weight = np.where(used, balance[y], 0.0)
    power = float(np.square(train).sum(dtype=np.float64) / len(train))
    solver = Solver(
        train, np.where(used, y, 0), weight, classes=classes, loss=cross_entropy, curvature=1 / classes
    )
    W, b = solver.solve(penalty=power * (2 if classes == 2 else 1) / C)
    return test @ W + b


def default_targets(clips: Sequence[Clip], target: str) -> list[str]:
    """The study's target, and the nuisance variables for which the table has columns."""
    columns = label_columns(clips)
    nuisances = [
        find_column(names, columns, exclude=target) for names in (GENDER_COLUMNS, AGE_COLUMNS, TEXT_COLUMNS)
    ]
    return [target, SPEAKER, *filter(None, nuisances), DURATION]


def probe_targets(
    names: Sequence[str], data: Dataset, clips: Mapping[str, Clip], seconds: np.ndarray, *, seed: int
) -> tuple[list[Target], dict[str, str]]:
    """The targets that can be probed, and for each other name the reason why not.

    clips: by id. seconds: (N,) duration of each clip. Classes that a training set would lack are left out,
    and only the MAX_CLASSES largest are used.
    """
    if data.speakers is None or len(data.speaker_names) < FOLDS:
        disjoint = _stratified(data.strata, seed)
    else:
        disjoint = balanced_group_folds(data.balance, data.speakers, folds=FOLDS, seed=seed)[data.speakers]
    targets, left_out = [], {}
    for name in names:
        within = name == SPEAKER
        folds = _stratified(data.speakers, seed) if within and data.speakers is not None else disjoint
        values = _values(name, data, clips, seconds)
        classes, y = _classes(values, folds)
        if len(classes) < MIN_CLASSES:
            left_out[name] = _reason(name, values, data)
        else:
            targets.append(Target(name=name, classes=classes, y=y, folds=folds, within_speakers=within))
    return targets, left_out


def _stratified(groups: np.ndarray, seed: int) -> np.ndarray:
    """(N,) folds, to which the clips of each group are dealt in random order."""
    drawn = np.random.default_rng(derive_seed(seed, "probe folds")).permutation(len(groups))
    order = drawn[np.argsort(groups[drawn], kind="stable")]
    folds = np.empty(len(groups), np.int64)
    folds[order] = np.concatenate([np.arange(size) % FOLDS for size in np.bincount(groups)])
    return folds


def _values(name: str, data: Dataset, clips: Mapping[str, Clip], seconds: np.ndarray) -> list[str | None]:
    """The target's value for each clip; numbers in bins where they are many."""
    if name == SPEAKER:
        return [clips[id].speaker or None for id in data.ids]
    if name == DURATION and not any(DURATION in clips[id].labels for id in data.ids):
        return _bins(seconds, "{:.2f} s")
    values = [clips[id].labels.get(name, "").strip() or None for id in data.ids]
    if len({*values} - {None}) <= (BINS if name.casefold() in AGE_COLUMNS else MAX_NUMBERS):
        return values
    try:
        return _bins(np.array([np.nan if value is None else float(value) for value in values]), "{:g}")
    except ValueError:
        return values  # not numbers


def _bins(numbers: np.ndarray, form: str) -> list[str | None]:
    """Bin of each number; bins hold roughly equally many clips."""
    known = numbers[~np.isnan(numbers)]
    if not len(known):
        return [None] * len(numbers)
    edges = np.unique(np.quantile(known, np.arange(1, BINS) / BINS, method="lower"))
    ends = [form.format(edge) for edge in edges]
    names = [f"up to {ends[0]}", *(f"{a} to {b}" for a, b in pairwise(ends)), f"over {ends[-1]}"]
    bins = np.searchsorted(edges, numbers)
    return [None if np.isnan(number) else names[bin] for number, bin in zip(numbers, bins, strict=True)]


def _classes(values: Sequence[str | None], folds: np.ndarray) -> tuple[tuple[str, ...], np.ndarray]:
    """Names and (N,) indices of the largest classes, of those that are in more than one fold."""
    column = np.array([value or "" for value in values])
    names, sizes = np.unique(column[column != ""], return_counts=True)
    trainable = [len(np.unique(folds[column == name])) > 1 for name in names]
    largest = [index for index in np.argsort(-sizes, kind="stable") if trainable[index]][:MAX_CLASSES]
    classes = sorted(names[largest].tolist())
    index_of = {name: index for index, name in enumerate(classes)}
    return tuple(classes), np.array([index_of.get(value, -1) for value in column.tolist()], np.int64)


def _reason(name: str, values: Sequence[str | None], data: Dataset) -> str:
    """Why a target has fewer than two classes."""
    known = {value for value in values if value is not None}
    if not known:
        return "the table has no values for it"
    if len(known) < MIN_CLASSES:
        return f"it is always '{min(known)}'"
    if name == SPEAKER:
        return "fewer than two speakers have two clips"
    return "too few clips" if data.speakers is None else "fewer than two of its values have several speakers"
