"""The plan of a study: clips, folds, layers, heads and number of workers; and the arrays of its folds."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from layerprobe.cache.common.console import stage
from layerprobe.cache.common.errors import InputError
from layerprobe.cache.common.options import check_choices
from layerprobe.cache.common.text import format_list, program
from layerprobe.cache.identity.extraction import FRAME
from layerprobe.cache.store.feature_store import FeatureStore
from layerprobe.classify.config import CORPUS_SPLIT, MIX, StudyConfig, is_single, layer_parts
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
from layerprobe.classify.features.joined import joined_width, read_layer
from layerprobe.classify.features.kernels import kernel_bytes
from layerprobe.classify.features.lru_cache import LruCache
from layerprobe.classify.features.sampling import grown_size
from layerprobe.classify.heads.registry import HEADS, needs_frames
from layerprobe.classify.scores.results import StudyId
from layerprobe.classify.search.parallel import job_count
from layerprobe.classify.search.space import sampling_choices
from layerprobe.embed.manifest.clips import Clip


@dataclass(frozen=True, kw_only=True)
class Plan:
    """Everything that defines a study."""

    store: FeatureStore
    data: Dataset
    folds: tuple[OuterFold, ...]
    config: StudyConfig

    @property
    def largest(self) -> int:
        """Training clips of the largest outer fold, with those that sampling adds."""
        return max(map(self._trained, self.folds))

    def _trained(self, fold: OuterFold) -> int:
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
        if not self.exact or not any(HEADS[head].kernel for head in self.config.heads):
            return jobs
        return max(1, min(jobs, self.config.memory // self.kernels))

    def layers_of(self, layer: str) -> tuple[str, ...]:
        """The store's layers of a study's layer: itself, or those of the mix."""
        if layer != MIX:
            return (layer,)
        return tuple(name for name in self.config.layers if is_single(name)) or self.store.extraction.layers

    def studies(self) -> list[StudyId]:
        """Layer by layer, so that workers read the same one at a time; the mix last.

        Raises InputError for layers and heads that do not exist or do not go together.
        """
        stored = self.store.extraction.layers
        heads = tuple(dict.fromkeys(self.config.heads))
        layers = tuple(dict.fromkeys(self.config.layers)) or ((*stored, MIX) if len(stored) > 1 else stored)
        check_choices("--layers", [part for name in layers for part in layer_parts(name)], (*stored, MIX))
        self._check_joined(layers, heads)
        check_choices("--heads", heads, tuple(HEADS))
        self._check_size(heads)
        alone = tuple(head for head in heads if not HEADS[head].together)
        mixing = tuple(
            head for head in heads if HEADS[head].together or (HEADS[head].kernel and MIX in layers)
        )
        if MIX in layers and not mixing:
            if layers == (MIX,):
                do = f"add {format_list([name for name, head in HEADS.items() if head.mixes])} to the heads"
                raise InputError(f"layer '{MIX}' is for heads that read several layers", do=do)
        elif mixing:
            self._check_mix(mixing)
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

    def _check_joined(self, layers: Sequence[str], heads: Sequence[str]) -> None:
        """Raise InputError for layers that cannot be side by side."""
        for layer in layers:
            parts = layer_parts(layer)
            if len(parts) > 1 and (MIX in parts or len(set(parts)) < len(parts)):
                do = "join single layers, each once, such as 3+6"
                raise InputError(f"--layers {layer} joins '{MIX}', or a layer with itself", do=do)
            if len(parts) > 1 and needs_frames(heads):
                what = f"--layers {layer} joins statistics over frames, and {heads[0]} reads every frame"
                raise InputError(what, do="name single layers")

    def _check_size(self, heads: Sequence[str]) -> None:
        """Raise InputError for heads that cannot be fitted to so many clips."""
        for head in heads:
            if head in HEADS and not sampling_choices(HEADS[head], self.config):
                names = ",".join(self.config.sampling)
                do = f"add none to --sampling, or omit {head} from --heads"
                raise InputError(f"--sampling {names} is not for {head}", do=do)
            most = HEADS[head].most_clips
            if most is not None and self.largest > most:
                what = f"{head} takes at most {most:,} training clips, and an outer fold has {self.largest:,}"
                raise InputError(what, do=f"omit {head} from --heads; svm has no such limit")

    def _check_mix(self, heads: Sequence[str]) -> None:
        """Raise InputError unless there are layers to mix, of one width for heads that sum them."""
        names, extraction = self.layers_of(MIX), self.store.extraction
        if len(names) < 2:
            if MIX not in self.config.layers:
                what = f"{heads[0]} reads several layers together, and there is one, {names[0]}"
                raise InputError(what, do=f"name more with --layers, or omit {heads[0]}")
            what = f"layer '{MIX}' has one layer to mix, {names[0]}"
            raise InputError(what, do=f"name more, omit it, or name {MIX} alone for all layers of the store")
        widths = {name: extraction.width(name) for name in names}
        summing = [head for head in heads if HEADS[head].together]
        if summing and len(set(widths.values())) > 1:
            others = [f"{name} has {width}" for name, width in widths.items() if width != widths[names[-1]]]
            what = f"{summing[0]} sums layers, and {names[-1]} has {widths[names[-1]]} columns, {others[0]}"
            raise InputError(what, do="name layers of one width with --layers")


def fold_features(
    plan: Plan, layers: tuple[LayerStates, ...], fold: Fold, *, cache: LruCache
) -> FoldFeatures:
    """The arrays that all fits on one fold share, computed once and held in `cache`."""
    return FoldFeatures(
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

    return tuple(
        LayerStates(
            loader(name), stats, joined_width(store.extraction, name), plan.data.speakers, reader(name)
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
    check_choices("--heads", config.heads, tuple(HEADS))
    check_choices("--stats", config.stats, store.extraction.stats)
    _check_store(store, config.heads)
    if config.split == CORPUS_SPLIT:
        clips = corpus_folds(clips, train=config.train_corpus, test=config.test_corpus, target=config.target)
    data = join_labels(clips, store, target=config.target, excluded=excluded)
    if "speaker" in config.scalings and data.speakers is None:
        raise InputError("the table names no speakers to scale by", do="omit 'speaker' from --scalings")
    return Plan(store=store, data=data, folds=tuple(_folds(clips, data, config)), config=config)


def _check_store(store: FeatureStore, heads: Sequence[str]) -> None:
    """Raise InputError for heads that read frames or statistics that this store does not hold."""
    has_frames, wanted = store.extraction.stats == (FRAME,), needs_frames(heads)
    cache = shlex.quote(str(store.cache))
    embed = f"run: {program()} embed TABLE --model {store.extraction.model} --cache {cache}"
    where = str(store.folder)
    if wanted and not has_frames:
        what = f"holds statistics over frames, and {heads[0]} reads every frame"
        raise InputError(what, where=where, do=f"{embed} --frames")
    if has_frames and not wanted and any(HEADS[head].reads == "statistics" for head in heads):
        what = f"holds every frame, and {', '.join(heads)} read statistics over frames"
        raise InputError(what, where=where, do=f"{embed}, or give --heads bilstm or attention")


def _folds(clips: Sequence[Clip], data: Dataset, config: StudyConfig) -> list[OuterFold]:
    """A protocol is applied to the complete table: without unusable clips it would be another one."""
    if config.protocol is None:
        return outer_folds(
            data, split=config.split, folds=config.folds, inner_folds=config.inner_folds, seed=config.seed
        )
    rule = find_protocol(config.protocol).rule
    parts = protocol_folds(config.protocol, clips)
    return fixed_folds(
        data, parts, grouped=rule.speaker_disjoint, inner_folds=config.inner_folds, seed=config.seed
    )
