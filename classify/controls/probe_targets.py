"""What a linear probe looks for in the layers: columns of the table as classes, and folds that suit each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from layerprobe.classify.audit.table import TEXT_COLUMNS
from layerprobe.classify.data.dataset import NOT_A_LABEL, Dataset
from layerprobe.classify.data.group_folds import balanced_group_folds
from layerprobe.classify.search.nested import derive
from layerprobe.embed.manifest.clips import Clip

SPEAKER, DURATION = "speaker", "duration"
GENDERS, AGES = ("gender", "sex"), ("age", "age_group", "age band")
FOLDS = 3
BINS = 3  # of what is a number: as many clips in each
FEW = 20  # numbers up to which a column's values are classes of their own, unless it is an age
MOST = 50  # classes, the largest ones
FEWEST = 2  # classes


@dataclass(frozen=True, kw_only=True)
class Target:
    """One thing to look for. classes: names. y: (N,) class numbers, -1 where a clip is not used.

    folds: (N,) which fold tests the clip. within: folds cut through speakers, since the speaker is asked for.
    """

    name: str
    classes: tuple[str, ...]
    y: np.ndarray
    folds: np.ndarray
    within: bool


def usual_columns(clips: Sequence[Clip], target: str) -> list[str]:
    """The study's target, then what should not matter, in columns that are known by their usual names."""
    columns = {column.casefold(): column for clip in clips for column in clip.labels if column != target}
    found = [
        next((columns[name] for name in names if name in columns), None)
        for names in (GENDERS, AGES, TEXT_COLUMNS)
    ]
    return [target, SPEAKER, *(column for column in found if column is not None), DURATION]


def targets_of(
    names: Sequence[str], data: Dataset, clips: Mapping[str, Clip], seconds: np.ndarray, *, seed: int
) -> tuple[list[Target], dict[str, str]]:
    """The targets that can be probed for, and why the others cannot be.

    clips: by id. seconds: (N,) each clip's length. Classes that a training part would lack are left out, and
    of many classes the MOST with most clips are kept.
    """
    apart = _apart(data, seed)
    found, left_out = [], {}
    for name in names:
        within = name == SPEAKER
        folds = _through(data.speakers, seed) if within and data.speakers is not None else apart
        values = _values(name, data, clips, seconds)
        classes, y = _classes(values, folds)
        if len(classes) < FEWEST:
            left_out[name] = _why(name, values, data)
        else:
            found.append(Target(name=name, classes=classes, y=y, folds=folds, within=within))
    return found, left_out


def _apart(data: Dataset, seed: int) -> np.ndarray:
    """(N,) folds that keep speakers apart; without speakers, or with fewer than folds, clips are dealt."""
    if data.speakers is None or len(data.speaker_names) < FOLDS:
        return _through(data.y, seed)
    return balanced_group_folds(data.y, data.speakers, folds=FOLDS, seed=seed)[data.speakers]


def _through(groups: np.ndarray, seed: int) -> np.ndarray:
    """(N,) folds dealt in turn to the clips of each group, in an order drawn by the seed."""
    drawn = np.random.default_rng(derive(seed, "probe folds")).permutation(len(groups))
    order = drawn[np.argsort(groups[drawn], kind="stable")]
    folds = np.empty(len(groups), np.int64)
    sizes = np.bincount(groups)
    folds[order] = np.concatenate([np.arange(size) % FOLDS for size in sizes])
    return folds


def _values(name: str, data: Dataset, clips: Mapping[str, Clip], seconds: np.ndarray) -> list[str | None]:
    if name == SPEAKER:
        return [clips[id].speaker or None for id in data.ids]
    if name == DURATION and not any(DURATION in clips[id].labels for id in data.ids):
        return _binned(seconds, "{:.2f} s")
    told = [clips[id].labels.get(name, "").strip() for id in data.ids]
    values = [None if value.lower() in NOT_A_LABEL else value for value in told]
    numbers = _numbers(values)
    distinct = len({value for value in values if value is not None})
    if numbers is not None and distinct > (BINS if name.casefold() in AGES else FEW):
        return _binned(numbers, "{:g}")
    return values


def _numbers(values: Sequence[str | None]) -> np.ndarray | None:
    try:
        return np.array([np.nan if value is None else float(value) for value in values])
    except ValueError:
        return None


def _binned(numbers: np.ndarray, form: str) -> list[str | None]:
    """Each number's bin, of which each holds about as many."""
    known = numbers[~np.isnan(numbers)]
    if not len(known):
        return [None] * len(numbers)
    edges = np.unique(np.quantile(known, np.arange(1, BINS) / BINS, method="lower"))
    ends = [form.format(edge) for edge in edges]
    names = [
        f"up to {ends[0]}",
        *(f"{a} to {b}" for a, b in pairwise(ends)),
        f"over {ends[-1]}",
    ]
    places = np.searchsorted(edges, numbers)
    return [None if np.isnan(number) else names[place] for number, place in zip(numbers, places, strict=True)]


def _classes(values: Sequence[str | None], folds: np.ndarray) -> tuple[tuple[str, ...], np.ndarray]:
    """Names and (N,) numbers of the classes that every training part has clips of; the largest of many."""
    column = np.array(["" if value is None else value for value in values])
    names, sizes = np.unique(column[column != ""], return_counts=True)
    trained = np.array([len(np.unique(folds[column == name])) > 1 for name in names], bool)
    largest = np.argsort(-sizes, kind="stable")
    kept = np.sort(names[[place for place in largest if trained[place]][:MOST]])
    y = (
        np.where(np.isin(column, kept), np.searchsorted(kept, column), -1)
        if len(kept)
        else np.full(len(column), -1)
    )
    return tuple(kept.tolist()), y


def _why(name: str, values: Sequence[str | None], data: Dataset) -> str:
    known = {value for value in values if value is not None}
    if not known:
        return "the table does not tell it"
    if len(known) < FEWEST:
        return f"it is always '{min(known)}'"
    if name == SPEAKER:
        return "fewer than two speakers have two clips"
    return (
        "fewer than two of its values are told of several speakers"
        if data.speakers is not None
        else "too few clips"
    )
