"""A study cut into units of work for processes."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from optuna.trial import FrozenTrial

from layerprobe.cache.common.errors import InputError
from layerprobe.cache.store.feature_store import FeatureStore
from layerprobe.classify.config import MIX, StudyConfig
from layerprobe.classify.data.dataset import Dataset
from layerprobe.classify.data.splits import Fold, OuterFold
from layerprobe.classify.features.frames import Frames, read_frames
from layerprobe.classify.features.kernels import kernel_bytes
from layerprobe.classify.features.lru_cache import Kept
from layerprobe.classify.features.shared import Shared, States, anchors, whole
from layerprobe.classify.heads.registry import HEADS
from layerprobe.classify.scores.results import Outcome, StudyId
from layerprobe.classify.search.nested import TrialDone, search
from layerprobe.classify.search.storage import quiet
from layerprobe.classify.search.workers import job_count

OTHER_LAYERS = "name other layers with --layers, or embed the clips again"
BALANCED = 4  # units for each process, from which on all are busy almost to the end


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What a study is made of."""

    store: FeatureStore
    data: Dataset
    folds: tuple[OuterFold, ...]
    config: StudyConfig

    @property
    def largest(self) -> int:
        """Training clips of the largest outer fold."""
        return max(len(fold.outer.train) for fold in self.folds)

    @property
    def exact(self) -> bool:
        """Whether kernels are taken with every training clip."""
        return whole(self.largest, nbytes=self.kernels, memory=self.config.memory)

    @property
    def kernels(self) -> int:
        """Bytes that whole kernels of the largest outer fold take."""
        return max(kernel_bytes(len(fold.outer.train), len(fold.outer.test)) for fold in self.folds)

    @property
    def jobs(self) -> int:
        """Processes, fewer where their kernels together would not fit into the memory."""
        jobs = job_count(self.config.jobs)
        if not self.exact or not any(HEADS[head].kernel for head in self.config.heads):
            return jobs
        return max(1, min(jobs, self.config.memory // self.kernels))

    def layers_of(self, layer: str) -> tuple[str, ...]:
        """The store's layers behind a study's layer: itself, or all of a mix."""
        if layer != MIX:
            return (layer,)
        return tuple(name for name in self.config.layers if name != MIX) or self.store.extraction.layers

    def studies(self) -> list[StudyId]:
        """Layer by layer, so that processes read the same one at a time; the mix last."""
        held = self.store.extraction.layers
        heads = tuple(dict.fromkeys(self.config.heads))
        layers = tuple(dict.fromkeys(self.config.layers)) or ((*held, MIX) if len(held) > 1 else held)
        check_names("layer", layers, (*held, MIX))
        check_names("head", heads, tuple(HEADS))
        kernels = tuple(head for head in heads if HEADS[head].kernel)
        if MIX in layers and kernels and len(self.layers_of(MIX)) < 2:
            told = f"layer '{MIX}' has one layer to mix, {self.layers_of(MIX)[0]}"
            raise InputError(
                told, do=f"name more beside it, leave it out, or {MIX} alone for all of the store's"
            )
        if layers == (MIX,) and not kernels:
            raise InputError(f"layer '{MIX}' is for heads that see kernels", do="add svm to the heads")
        return [
            StudyId(fold, layer, head)
            for layer in sorted(layers, key=lambda name: name == MIX)
            for fold in range(len(self.folds))
            for head in (kernels if layer == MIX else heads)
        ]


@dataclass(frozen=True, kw_only=True)
class Unit:
    """What a process does in one go: the heads of one layer on one outer fold, which share arrays.

    done: trials of an earlier run. seconds: for each study. memory: bytes to keep.
    """

    plan: Plan
    studies: tuple[StudyId, ...]
    done: dict[StudyId, list[FrozenTrial]]
    seconds: float | None
    memory: int


def units_of(
    plan: Plan, studies: Sequence[StudyId], done: Mapping[StudyId, list[FrozenTrial]], *, jobs: int
) -> list[Unit]:
    """Heads of a layer and fold go together, unless that would leave processes idle."""
    together = len({(id.fold, id.layer) for id in studies}) >= BALANCED * jobs
    groups: dict[tuple[object, ...], list[StudyId]] = {}
    for id in studies:
        groups.setdefault((id.fold, id.layer) if together else (id,), []).append(id)
    timeout = plan.config.timeout
    return [
        Unit(
            plan=plan,
            studies=tuple(group),
            done={id: done[id] for id in group},
            seconds=None if timeout is None else timeout * jobs / len(studies),
            memory=plan.config.memory // jobs,
        )
        for group in groups.values()
    ]


def run_unit(unit: Unit) -> Iterator[TrialDone | Outcome]:
    """Yield each trial as it ends, and each study's outcome."""
    quiet()
    plan, data, config = unit.plan, unit.plan.data, unit.plan.config
    first = unit.studies[0]
    nested = plan.folds[first.fold]
    kept = Kept(unit.memory)
    layers = states_of(plan, plan.layers_of(first.layer), kept=kept.part("states"))
    inner = [share(plan, layers, fold, kept=kept.part(k)) for k, fold in enumerate(nested.inner)]
    outer = share(plan, layers, nested.outer, kept=kept.part("outer"))
    for id in unit.studies:
        deadline = None if unit.seconds is None else time.monotonic() + unit.seconds
        try:
            yield from search(id, inner, outer, data.y, config, done=unit.done[id], deadline=deadline)
        except InputError as error:  # a layer's states that cannot be learnt from: which, and what to do
            where = f"layer {id.layer}, outer fold {id.fold}"
            raise InputError(error.what, where=where, do=f"{error.do}; {OTHER_LAYERS}") from error


def share(plan: Plan, layers: tuple[States, ...], fold: Fold, *, kept: Kept) -> Shared:
    """What all fits on one fold share, made once and kept in `kept`."""
    return Shared(
        layers,
        plan.data.y,
        train=fold.train,
        test=fold.test,
        classes=len(plan.data.classes),
        kept=kept,
        anchors=None if plan.exact else anchors(len(fold.train), seed=plan.config.seed),
    )


def states_of(plan: Plan, names: Sequence[str], *, kept: Kept) -> tuple[States, ...]:
    """Layers that are read when they are needed: those of a mix may be more than memory holds."""
    store, keys = plan.store, plan.data.keys
    stats = plan.config.stats or store.extraction.stats

    def loader(name: str) -> Callable[[], np.ndarray]:
        return lambda: kept.get(name, lambda: store.layer(name, keys, stats=stats))

    def reader(name: str) -> Callable[[], Frames]:
        half = kept.budget // 2  # the rest is for what is made of them
        return lambda: kept.get(name, lambda: read_frames(store, name, keys, budget=half))

    return tuple(
        States(loader(name), stats, store.extraction.width(name), plan.data.speakers, reader(name))
        for name in names
    )


def check_names(what: str, asked: Sequence[str], held: Sequence[str]) -> None:
    """Raises InputError for a name that is not held."""
    for name in asked:
        if name not in held:
            raise InputError(f"{what} '{name}' is not there", do=f"choose from {', '.join(held)}")
