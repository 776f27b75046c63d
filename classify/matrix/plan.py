"""Which runs a matrix of corpora consists of, and on which clips."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from layerprobe.cache.common.errors import InputError
from layerprobe.cache.common.text import format_count, format_list
from layerprobe.classify.config import StudyConfig, TaskName
from layerprobe.classify.data.cross_corpus import COLUMN
from layerprobe.classify.tasks.ordinal import by_size
from layerprobe.classify.tasks.regression import REGRESSION
from layerprobe.classify.tasks.task import READ_AS_IS
from layerprobe.embed.manifest.clips import Clip

Kind = Literal["within", "from", "without"]
FEWEST_LABELS = 2
OTHER_SCALE = 2  # all numbers span so many times what those of one corpus span
FOR_LEAVING_OUT = 3  # corpora from which leaving one out is more than training on the other


@dataclass(frozen=True, kw_only=True)
class CorpusRun:
    """One run of the matrix.

    kind: `within` one corpus, on speaker-disjoint folds; `from` one corpus to all others; `without` one,
    which is tested after training on all others. corpus: that one.
    """

    kind: Kind
    corpus: str
    clips: tuple[Clip, ...]
    config: StudyConfig

    @property
    def name(self) -> str:
        """Of its folder."""
        return f"{self.kind}-{self.corpus}"


@dataclass(frozen=True, kw_only=True)
class CorpusSize:
    """A corpus: clips that are used, their speakers, and clips left out, whose label other corpora lack."""

    name: str
    clips: int
    speakers: int
    left_out: int


@dataclass(frozen=True, kw_only=True)
class MatrixPlan:
    """The runs of a matrix.

    labels: those that all corpora have, in order; none of a regression. notes: one line on each thing to
    know.
    """

    target: str
    task: TaskName
    labels: tuple[str, ...]
    corpora: tuple[CorpusSize, ...]
    runs: tuple[CorpusRun, ...]
    notes: tuple[str, ...]


def plan_matrix(clips: Sequence[Clip], config: StudyConfig) -> MatrixPlan:
    """The runs for clips with the label `corpus`, as `join_tables` gives them.

    Clips whose label is not one of all corpora are left out; numbers of a regression need not be. A corpus
    with fewer speakers than folds has a fold for each speaker. Raises InputError for names that are no folder
    names, for fewer than two corpora, and for corpora that share fewer than FEWEST_LABELS labels, or of which
    one has no number.
    """
    names = tuple(dict.fromkeys(clip.labels[COLUMN] for clip in clips))
    if len(names) < 2:
        raise InputError(f"all clips are of the corpus '{names[0]}'", do="give two tables or more")
    for name in names:
        if "/" in name or "\0" in name or name.startswith("."):
            what = f"corpus '{name}' cannot be the name of a folder"
            raise InputError(what, do="give other names with --names")
    notes: list[str] = []
    if config.task == "regression":
        labels: tuple[str, ...] = ()
        used = [clip for clip in clips if clip.labels.get(config.target, "").strip()]
        notes += _scale_notes(used, names, target=config.target)
    else:
        labels = _ordered(_common_labels(clips, names, target=config.target), config)
        used = [clip for clip in clips if clip.labels.get(config.target, "").strip() in labels]
        if config.levels:
            config = replace(config, levels=labels)
    of = {name: tuple(clip for clip in used if clip.labels[COLUMN] == name) for name in names}
    sizes, runs = [], []
    for name in names:
        speakers = len({clip.speaker for clip in of[name] if clip.speaker})
        labelled = Counter(
            label
            for clip in clips
            if clip.labels[COLUMN] == name and (label := clip.labels.get(config.target, "").strip())
        )
        other = [label for label in sorted(labelled) if labels and label not in labels]
        left_out = sum(labelled[label] for label in other)
        if other:
            which = f"{format_count(left_out, 'clip')} of {name}"
            listed = format_list(other, shown=10)
            notes.append(f"{which} left out, whose label is not one of all corpora: {listed}")
        sizes.append(CorpusSize(name=name, clips=len(of[name]), speakers=speakers, left_out=left_out))
        folds = min(config.folds, speakers) if speakers > 1 else config.folds
        if folds < config.folds:
            notes.append(f"{name} has {speakers} speakers: {folds} folds within it")
        within = replace(config, split="speaker", folds=folds)
        runs.append(CorpusRun(kind="within", corpus=name, clips=of[name], config=within))
    for name in names:
        rest = tuple(other for other in names if other != name)
        across = replace(config, split=StudyConfig.split, train_corpus=(name,), test_corpus=rest)
        runs.append(CorpusRun(kind="from", corpus=name, clips=tuple(used), config=across))
    for name in names if len(names) >= FOR_LEAVING_OUT else ():
        rest = tuple(other for other in names if other != name)
        across = replace(config, split=StudyConfig.split, train_corpus=rest, test_corpus=(name,))
        runs.append(CorpusRun(kind="without", corpus=name, clips=tuple(used), config=across))
    return MatrixPlan(
        target=config.target,
        task=config.task,
        labels=labels,
        corpora=tuple(sizes),
        runs=tuple(runs),
        notes=tuple(notes),
    )


def _ordered(labels: set[str], config: StudyConfig) -> tuple[str, ...]:
    """As the classes of a run on these labels. Raises InputError for levels without an order."""
    if config.task != "ordinal":
        return tuple(sorted(labels))
    if not config.levels:
        return by_size(sorted(labels), config.target)
    if unnamed := sorted(labels - set(config.levels)):
        what = f"the corpora have labels that --levels does not name ({format_list(unnamed)})"
        raise InputError(what, do="name every level")
    return tuple(level for level in config.levels if level in labels)


def _scale_notes(clips: Sequence[Clip], names: Sequence[str], *, target: str) -> list[str]:
    """That corpora seem to have numbers on different scales.

    Raises InputError for cells that are no numbers, naming all clips, and for a corpus without two numbers.
    """
    texts = [clip.labels[target].strip() for clip in clips]
    y = REGRESSION.read([clip.id for clip in clips], texts, target, READ_AS_IS).y
    of = np.array([clip.labels[COLUMN] for clip in clips])
    ranges: dict[str, tuple[float, float]] = {}
    for name in names:
        own = y[of == name]
        if len(np.unique(own)) < 2:
            held = f"one value only, {own[0]:g}," if len(own) else "no number"
            what = f"corpus '{name}' has {held} in column '{target}'"
            raise InputError(what, do="label its clips, or omit its table")
        ranges[name] = float(own.min()), float(own.max())
    spans = [high - low for low, high in ranges.values()]
    apart = max(high for _, high in ranges.values()) - min(low for low, _ in ranges.values())
    if apart < OTHER_SCALE * min(spans):
        return []
    listed = ", ".join(f"{low:g} to {high:g} in {name}" for name, (low, high) in ranges.items())
    return [f"the numbers are {listed}: on different scales, only Pearson's r and Spearman's rho compare"]


def _common_labels(clips: Sequence[Clip], names: Sequence[str], *, target: str) -> set[str]:
    """The labels that clips of every corpus have. Raises InputError for too few."""
    labels: dict[str, set[str]] = {name: set() for name in names}
    for clip in clips:
        if label := clip.labels.get(target, "").strip():
            labels[clip.labels[COLUMN]].add(label)
    common = set.intersection(*labels.values())
    if len(common) >= FEWEST_LABELS:
        return common
    none = f"no column '{target}'"
    listed = "; ".join(f"{name}: {format_list(sorted(own), shown=8) or none}" for name, own in labels.items())
    what = f"the corpora have {'one label' if common else 'no label'} of '{target}' in common ({listed})"
    first, last = names[0], names[-1]
    old, new = (min(labels[name] - common, default="OLD") for name in (last, first))
    raise InputError(what, do=f"give them the same labels, as by --map '{last}/{target}:{old}={new}'")
