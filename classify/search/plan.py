"""What a study searches: folds, layers, heads and how they are shared among processes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from layerprobe.cache.common.errors import InputError
from layerprobe.cache.common.text import program
from layerprobe.cache.identity.extraction import FRAME
from layerprobe.cache.store.feature_store import FeatureStore
from layerprobe.classify.config import CORPUS_SPLIT, MIX, StudyConfig
from layerprobe.classify.data.cross_corpus import corpus_folds
from layerprobe.classify.data.dataset import Dataset, join_labels
from layerprobe.classify.data.protocols import find_protocol, protocol_folds
from layerprobe.classify.data.splits import Fold, OuterFold, fixed_folds, outer_folds
from layerprobe.classify.features.fold_features import (
    FoldFeatures,
    LayerStates,
    exact_kernels_fit,
    nystroem_landmarks,
)
from layerprobe.classify.features.frames import Frames, read_frames
from layerprobe.classify.features.kernels import kernel_bytes
from layerprobe.classify.features.lru_cache import LruCache
from layerprobe.classify.heads.registry import HEADS, needs_frames
from layerprobe.classify.scores.results import StudyId
from layerprobe.classify.search.parallel import job_count
from layerprobe.embed.manifest.clips import Clip


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
        return exact_kernels_fit(self.largest, nbytes=self.kernels, memory=self.config.memory)

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


def share(plan: Plan, layers: tuple[LayerStates, ...], fold: Fold, *, kept: LruCache) -> FoldFeatures:
    """What all fits on one fold share, made once and kept in `kept`."""
    return FoldFeatures(
        layers,
        plan.data.y,
        train=fold.train,
        test=fold.test,
        classes=len(plan.data.classes),
        cache=kept,
        landmarks=None if plan.exact else nystroem_landmarks(len(fold.train), seed=plan.config.seed),
    )


def states_of(plan: Plan, names: Sequence[str], *, kept: LruCache) -> tuple[LayerStates, ...]:
    """Layers that are read when they are needed: those of a mix may be more than memory holds."""
    store, keys = plan.store, plan.data.keys
    stats = plan.config.stats or store.extraction.stats

    def loader(name: str) -> Callable[[], np.ndarray]:
        return lambda: kept.get(name, lambda: store.layer(name, keys, stats=stats))

    def reader(name: str) -> Callable[[], Frames]:
        half = kept.budget // 2  # the rest is for what is made of them
        return lambda: kept.get(name, lambda: read_frames(store, name, keys, budget=half))

    return tuple(
        LayerStates(loader(name), stats, store.extraction.width(name), plan.data.speakers, reader(name))
        for name in names
    )


def check_names(what: str, asked: Sequence[str], held: Sequence[str]) -> None:
    """Raises InputError for a name that is not held."""
    for name in asked:
        if name not in held:
            raise InputError(f"{what} '{name}' is not there", do=f"choose from {', '.join(held)}")


def plan_of(
    clips: Sequence[Clip],
    store: FeatureStore,
    config: StudyConfig,
    *,
    excluded: Mapping[str, str] | None = None,
) -> Plan:
    """The clips, folds and settings of a study. Raises InputError for data that cannot be studied so."""
    check_names("head", config.heads, tuple(HEADS))
    check_names("statistic", config.stats, store.extraction.stats)
    _check_store(store, config.heads)
    if config.split == CORPUS_SPLIT:
        clips = corpus_folds(clips, train=config.train_corpus, test=config.test_corpus, target=config.target)
    data = join_labels(clips, store, target=config.target, excluded=excluded)
    if "speaker" in config.scalings and data.speakers is None:
        raise InputError("the table names no speakers to scale by", do="leave 'speaker' out of --scalings")
    return Plan(store=store, data=data, folds=tuple(_folds(clips, data, config)), config=config)


def _check_store(store: FeatureStore, heads: Sequence[str]) -> None:
    """Raises InputError for heads that read what this store does not keep."""
    kept, wanted = store.extraction.stats == (FRAME,), needs_frames(heads)
    cache = store.cache
    embed = f"run: {program()} embed TABLE --model {store.extraction.model} --cache {cache}"
    if wanted and not kept:
        told, do = "keeps statistics over frames, and bilstm reads every frame", f"{embed} --frames"
    elif kept and not wanted and any(HEADS[head].reads == "statistics" for head in heads):
        told = f"keeps every frame, and {', '.join(heads)} read statistics over frames"
        do = f"{embed}, or give --heads bilstm"
    else:
        return
    raise InputError(told, where=str(store.folder), do=do)


def _folds(clips: Sequence[Clip], data: Dataset, config: StudyConfig) -> list[OuterFold]:
    """A protocol is asked about the whole table: without the clips that cannot be used it is another one."""
    if config.protocol is None:
        return outer_folds(
            data, split=config.split, folds=config.folds, inner_folds=config.inner_folds, seed=config.seed
        )
    rule = find_protocol(config.protocol).rule
    parts = protocol_folds(config.protocol, clips)
    return fixed_folds(
        data, parts, grouped=rule.speaker_disjoint, inner_folds=config.inner_folds, seed=config.seed
    )
