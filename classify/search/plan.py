"""The plan of a study: clips, folds, layers, heads and number of workers; and the arrays of its folds."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from layerprobe.cache.common.console import stage
from layerprobe.cache.common.errors import InputError
from layerprobe.cache.common.options import check_choices
from layerprobe.cache.common.text import format_bytes, format_list
from layerprobe.cache.store.feature_store import FeatureStore
from layerprobe.classify.config import CORPUS_SPLIT, MIX, StudyConfig
from layerprobe.classify.data.cross_corpus import corpus_folds
from layerprobe.classify.data.dataset import Dataset, join_labels
from layerprobe.classify.data.protocols import find_protocol, protocol_folds
from layerprobe.classify.data.splits import Fold, OuterFold, outer_folds, shared_speakers
from layerprobe.classify.features.fold_features import FoldFeatures, LayerStates
from layerprobe.classify.features.frames import Frames, read_frames
from layerprobe.classify.features.joined import joined_width, read_layer
from layerprobe.classify.features.kernels import exact_kernels_fit, kernel_bytes, nystroem_landmarks
from layerprobe.classify.features.lru_cache import LruCache
from layerprobe.classify.features.sampling import grown_size
from layerprobe.classify.features.streamed.fold import StreamedFold
from layerprobe.classify.features.streamed.stored import StoredStates
from layerprobe.classify.heads.registry import check_known, heads_of
from layerprobe.classify.layer_names import is_single, layer_parts
from layerprobe.classify.runs.splits_file import Splits, given_folds, read_splits
from layerprobe.classify.scores.results import StudyId
from layerprobe.classify.search.parallel import job_count
from layerprobe.classify.search.space import (
    check_heads,
    check_joined,
    check_mix,
    check_search,
    check_store,
)
from layerprobe.classify.tasks.task import Reading
from layerprobe.embed.manifest.clips import Clip

COPIES = 3  # of a layer's states that a head in memory needs: as stored, scaled and rotated


@dataclass(frozen=True, kw_only=True)
class Plan:
    """Everything that defines a study."""

    store: FeatureStore
    data: Dataset
    folds: tuple[OuterFold, ...]
    config: StudyConfig
    splits: Splits | None = None

    @property
    def grouped(self) -> bool:
        """Whether inner folds are speaker-disjoint: as the outer folds are."""
        if self.config.protocol is not None:
            return find_protocol(self.config.protocol).rule.speaker_disjoint
        if self.config.splits is not None:
            return not shared_speakers(self.data, list(self.folds))
        return self.config.split != "random"

    @property
    def largest(self) -> int:
        """Training clips of the largest outer fold, with those that sampling adds."""
        return max(map(self._trained, self.folds))

    def _trained(self, fold: OuterFold) -> int:
        if set(self.config.sampling) == {"none"}:
            return len(fold.outer.train)
        return grown_size(self.data.y[fold.outer.train], self.config.sampling)

    @property
    def exact(self) -> bool:
        """Whether kernels are computed on every training clip."""
        return exact_kernels_fit(self.largest, nbytes=self.kernels, memory=self.config.memory)

    @property
    def kernels(self) -> int:
        """Bytes of the exact kernels of the largest outer fold."""
        return max(kernel_bytes(self._trained(fold), len(fold.outer.test)) for fold in self.folds)

    @property
    def jobs(self) -> int:
        """Workers; fewer if their kernels would exceed the memory budget."""
        jobs = job_count(self.config.jobs)
        if not self.exact or not any(self.uses_kernels(head) for head in self.config.heads):
            return jobs
        return max(1, min(jobs, self.config.memory // self.kernels))

    @property
    def states(self) -> int:
        """Bytes of the widest layer's states in memory, with what is computed from them."""
        extraction = self.store.extraction
        layers = [name for name in self.config.layers if name != MIX] or extraction.layers
        width = max(joined_width(extraction, name) for name in layers)
        return 4 * COPIES * len(self.data) * width * len(self.config.stats or extraction.stats)

    def streams(self, head: str) -> bool:
        """Whether a head reads states in blocks from a file, since in memory they exceed the budget."""
        can = heads_of(self.config.task)[head].streamed is not None and set(self.config.sampling) == {"none"}
        return can and self.states > self.config.memory

    def uses_kernels(self, head: str) -> bool:
        """Whether a head computes kernels in this study."""
        return heads_of(self.config.task)[head].kernel and not self.streams(head)

    def layers_of(self, layer: str) -> tuple[str, ...]:
        """The store's layers of a study's layer: itself, or those of the mix."""
        if layer != MIX:
            return (layer,)
        if self.config.layers in ((), (MIX,)):
            return self.store.extraction.layers
        return tuple(name for name in self.config.layers if is_single(name))

    def studies(self) -> list[StudyId]:
        """Layer by layer, so that workers read the same one at a time; the mix last.

        Raises InputError for layers and heads that do not exist or do not go together.
        """
        stored, known = self.store.extraction.layers, heads_of(self.config.task)
        heads = tuple(dict.fromkeys(self.config.heads))
        layers = tuple(dict.fromkeys(self.config.layers)) or ((*stored, MIX) if len(stored) > 1 else stored)
        check_choices("--layers", [part for name in layers for part in layer_parts(name)], (*stored, MIX))
        check_joined(layers, heads)
        check_known(heads, self.config.task)
        check_search(self.config)
        check_heads(heads, self.config, largest=self.largest)
        alone = tuple(head for head in heads if not known[head].together)
        mixing = tuple(
            head for head in heads if known[head].together or (self.uses_kernels(head) and MIX in layers)
        )
        if MIX in layers and not mixing:
            if MIX in self.config.layers and (streamed := list(filter(self.streams, heads))):
                needed, memory = format_bytes(self.states), format_bytes(self.config.memory)
                what = f"layer '{MIX}' of {streamed[0]} needs all clips in memory, {needed} a layer"
                raise InputError(what, do=f"omit it, or raise --memory, which is {memory}")
            if layers == (MIX,):
                do = f"add {format_list([name for name, head in known.items() if head.mixes])} to the heads"
                raise InputError(f"layer '{MIX}' is for heads that read several layers", do=do)
        elif mixing:
            check_mix(
                {name: known[name] for name in mixing},
                self.layers_of(MIX),
                self.store.extraction,
                named=MIX in self.config.layers,
            )
        single = tuple(name for name in layers if name != MIX)
        pairs = [*((layer, alone) for layer in single), (MIX, mixing)]
        if self.config.ensemble and sum(len(of_layer) for _, of_layer in pairs) < 2:
            what = f"--ensemble {self.config.ensemble}, but there is one layer and one head"
            raise InputError(what, do="search more of them, or omit --ensemble")
        return [
            StudyId(fold, layer, head)
            for layer, of_layer in pairs
            for fold in range(len(self.folds))
            for head in of_layer
        ]


def fold_features(
    plan: Plan, layers: tuple[LayerStates, ...], fold: Fold, *, head: str, cache: LruCache
) -> FoldFeatures:
    """The arrays that all fits of a head on one fold share, computed once and held in `cache`."""
    kind = StreamedFold if plan.streams(head) else FoldFeatures
    return kind(
        layers,
        plan.data.y,
        train=fold.train,
        test=fold.test,
        classes=len(plan.data.classes),
        cache=cache,
        landmarks=None if plan.exact else nystroem_landmarks(len(fold.train), seed=plan.config.seed),
    )


def layer_states(plan: Plan, names: Sequence[str], *, cache: LruCache) -> tuple[LayerStates, ...]:
    """Layers, each read when it is used: those of a mix may exceed memory."""
    store, keys = plan.store, plan.data.keys
    stats = plan.config.stats or store.extraction.stats

    def loader(name: str) -> Callable[[], np.ndarray]:
        return lambda: cache.get(name, lambda: read_layer(store, name, keys, stats=stats))

    def reader(name: str) -> Callable[[], Frames]:
        half = cache.budget // 2  # the rest is for arrays computed from them
        return lambda: cache.get(name, lambda: read_frames(store, name, keys, budget=half))

    def writer(name: str) -> Callable[[], StoredStates]:
        return lambda: cache.get(
            ("file", name), lambda: StoredStates.write(store, name, keys, stats=stats), size=0
        )

    return tuple(
        LayerStates(
            load=loader(name),
            stats=stats,
            width=joined_width(store.extraction, name),
            speakers=plan.data.speakers,
            frames=reader(name),
            stored=writer(name),
        )
        for name in names
    )


@stage("join labels to states, make folds")
def make_plan(
    clips: Sequence[Clip],
    store: FeatureStore,
    config: StudyConfig,
    *,
    excluded: Mapping[str, str] | None = None,
) -> Plan:
    """The plan of a study. Raises InputError if the data cannot be split or searched with these settings."""
    check_known(config.heads, config.task)
    check_choices("--stats", config.stats, store.extraction.stats)
    check_store(store, config)
    if config.split == CORPUS_SPLIT:
        clips = corpus_folds(
            clips,
            train=config.train_corpus,
            test=config.test_corpus,
            target=config.target,
            numbers=config.task in ("regression", "soft"),
        )
    splits = None
    if config.splits is not None:
        splits = read_splits(config.splits, clips, target=config.target)
    elif config.protocol is not None:
        # Made of the complete table: without unusable clips it would be another one.
        assignment = protocol_folds(config.protocol, clips)
        splits = Splits(assignment=assignment, validation=[[] for _ in assignment])
    if splits is not None:
        used = splits.ids
        unused = {clip.id: "in no partition of the splits" for clip in clips if clip.id not in used}
        excluded = {**unused, **(excluded or {})}
    data = join_labels(
        clips,
        store,
        target=config.target,
        task=config.task,
        reading=Reading(levels=config.levels, separator=config.separator),
        excluded=excluded,
    )
    if "speaker" in config.scalings and data.speakers is None:
        raise InputError("the table names no speakers to scale by", do="omit 'speaker' from --scalings")
    folds = _folds(data, config) if splits is None else given_folds(splits, data, config)
    return Plan(store=store, data=data, folds=tuple(folds), config=config, splits=splits)


def _folds(data: Dataset, config: StudyConfig) -> list[OuterFold]:
    return outer_folds(
        data, split=config.split, folds=config.folds, inner_folds=config.inner_folds, seed=config.seed
    )
