"""The search space of a head: the points of a finite one, and values at the end of their range; and which
heads, layers and settings go together."""

from __future__ import annotations

import math
import shlex
from collections.abc import Mapping, Sequence
from itertools import product
from typing import Any, get_args

import numpy as np

from layerprobe.cache.common.errors import InputError
from layerprobe.cache.common.options import check_choices
from layerprobe.cache.common.text import program
from layerprobe.cache.identity.extraction import FRAME, Extraction
from layerprobe.cache.store.feature_store import FeatureStore
from layerprobe.classify.config import MIX, Sampling, StudyConfig
from layerprobe.classify.features.fold_features import BOTH
from layerprobe.classify.heads.base import Head, Params
from layerprobe.classify.heads.registry import heads_of, needs_frames
from layerprobe.classify.layer_names import layer_parts

NEAR = 0.02  # of a range, on its scale: a value so close to an end is at the edge


class _Recorder:
    """An Optuna trial that takes the first option of everything, and records what it is offered."""

    def __init__(self) -> None:
        self.options: dict[str, Sequence[Any]] = {}
        self.ranges: dict[str, tuple[float, float, bool]] = {}

    def suggest_categorical(self, name: str, options: Sequence[Any]) -> Any:
        self.options[name] = options
        return options[0]

    def suggest_int(self, name: str, low: int, high: int, *, step: int = 1, log: bool = False) -> int:
        self.ranges[name] = low, high, log
        return low

    def suggest_float(
        self, name: str, low: float, high: float, *, step: float | None = None, log: bool = False
    ) -> float:
        self.ranges[name] = low, high, log
        return low


def input_choices(
    head: Head, *, stats: Sequence[str], width: int, layers: int, config: StudyConfig
) -> dict[str, list[Any]]:
    """The options of each field of `Preprocessing`, for this head, these states and this configuration.

    stats, width: of the states of one layer. layers: of a mix, else 1.
    """
    names = list(stats)
    wide = head.widest is not None and width * len(names) > head.widest
    sizes = [size for size in head.pca if size < width and not (wide and size == 0)] or [0]
    return {
        "stats": [BOTH.join(names), *names] if len(names) > 1 else names,
        "scaling": [name for name in config.scalings if name in head.scalings] or list(config.scalings[:1]),
        "pca": [0] if layers > 1 else sizes,
        **({} if config.sampling == ("none",) else {"sampling": sampling_choices(head, config) or ["none"]}),
    }


def sampling_choices(head: Head, config: StudyConfig) -> list[str]:
    """The ways of sampling that are asked for and that the head can use."""
    return [name for name in config.sampling if name in head.samplings]


def finite_space(head: Head, choices: Mapping[str, Sequence[Any]], *, layers: int) -> list[Params] | None:
    """Every set of parameters that a trial may have; None where a range makes them too many to list."""
    recorder = _Recorder()
    head.space(recorder)
    if recorder.ranges or (layers > 1 and head.kernel):
        return None
    options = {**choices, **recorder.options}
    return [dict(zip(options, values, strict=True)) for values in product(*options.values())]


def first_untried(points: Sequence[Params], tried: Sequence[Params], *, seed: int) -> Params | None:
    """The first point that is not among `tried`, in an order that the seed decides; None if all are."""
    order = np.random.default_rng(seed).permutation(len(points))
    return next((points[index] for index in order if points[index] not in tried), None)


def planned_trials(head: Head, *, stats: Sequence[str], width: int, layers: int, config: StudyConfig) -> int:
    """Trials of a study that nothing cuts short: as configured, or as many as there are points."""
    choices = input_choices(head, stats=stats, width=width, layers=layers, config=config)
    points = finite_space(head, choices, layers=layers)
    return config.trials if points is None else min(config.trials, len(points))


def at_edge(head: Head, params: Mapping[str, Any]) -> dict[str, str]:
    """Name → "smallest" or "largest" of each numeric parameter that is at an end of its range."""
    recorder = _Recorder()
    head.space(recorder)
    ranges = recorder.ranges
    name, values = head.path
    if len(values) > 1:
        ranges[name] = min(values), max(values), min(values) > 0
    edges = {}
    for name, (low, high, log) in ranges.items():
        if name not in params or low == high:
            continue
        ends = [low, high, float(params[name])]
        low, high, value = map(math.log, ends) if log else ends
        share = (value - low) / (high - low)
        if not NEAR < share < 1 - NEAR:
            edges[name] = "smallest" if share < 0.5 else "largest"
    return edges


def check_joined(layers: Sequence[str], heads: Sequence[str]) -> None:
    """Raise InputError for layers that cannot be side by side."""
    for layer in layers:
        parts = layer_parts(layer)
        if len(parts) > 1 and (MIX in parts or len(set(parts)) < len(parts)):
            do = "join single layers, each once, such as 3+6"
            raise InputError(f"--layers {layer} joins '{MIX}', or a layer with itself", do=do)
        if len(parts) > 1 and needs_frames(heads):
            what = f"--layers {layer} joins statistics over frames, and {heads[0]} reads every frame"
            raise InputError(what, do="name single layers")


def check_search(config: StudyConfig) -> None:
    """Raise InputError for a sampling or an ensemble that the study cannot have, whatever its heads are."""
    check_choices("--sampling", config.sampling, get_args(Sampling))
    if config.task != "classification" and (config.ensemble or config.sampling != ("none",)):
        what = (
            f"--{'ensemble' if config.ensemble else 'sampling'} is for classes, and --task is {config.task}"
        )
        raise InputError(what, do="omit it")
    if config.ensemble == 1 or config.ensemble < 0:
        raise InputError(f"--ensemble {config.ensemble}", do="give 2 systems or more, or 0 for no ensemble")
    if not config.sampling:
        raise InputError("--sampling names no way to sample", do="name at least one, or none")
    if set(config.sampling) != {"none"} and "speaker" in config.scalings:
        what = "--scalings speaker standardises over a speaker's clips, to which --sampling would add"
        raise InputError(what, do="omit one of them")


def check_heads(heads: Sequence[str], config: StudyConfig, *, largest: int) -> None:
    """Raise InputError for heads that cannot use the sampling, or so many training clips."""
    for head in heads:
        if not sampling_choices(heads_of(config.task)[head], config):
            names = ",".join(config.sampling)
            do = f"add none to --sampling, or omit {head} from --heads"
            raise InputError(f"--sampling {names} is not for {head}", do=do)
        most = heads_of(config.task)[head].most_clips
        if most is not None and largest > most:
            what = f"{head} takes at most {most:,} training clips, and an outer fold has {largest:,}"
            raise InputError(what, do=f"omit {head} from --heads; svm has no such limit")


def check_store(store: FeatureStore, config: StudyConfig) -> None:
    """Raise InputError for heads that read frames or statistics that this store does not hold."""
    heads, known = config.heads, heads_of(config.task)
    has_frames, wanted = store.extraction.stats == (FRAME,), needs_frames(heads)
    cache = shlex.quote(str(store.cache))
    embed = f"run: {program()} embed TABLE --model {store.extraction.model} --cache {cache}"
    where = str(store.folder)
    if wanted and not has_frames:
        what = f"holds statistics over frames, and {heads[0]} reads every frame"
        raise InputError(what, where=where, do=f"{embed} --frames")
    if has_frames and not wanted and any(known[head].reads == "statistics" for head in heads):
        what = f"holds every frame, and {', '.join(heads)} read statistics over frames"
        on_frames = [name for name, head in known.items() if head.reads == "frames"]
        do = f"{embed}, or give --heads {' or '.join(on_frames)}" if on_frames else embed
        raise InputError(what, where=where, do=do)


def check_mix(
    heads: Mapping[str, Head], layers: Sequence[str], extraction: Extraction, *, named: bool
) -> None:
    """Raise InputError unless there are layers to mix, of one width for heads that sum them.

    heads: those that mix, by name. named: whether the user named the mix as a layer.
    """
    first = next(iter(heads))
    there = f"there is one, {layers[0]}" if layers else "--layers names none by itself"
    if len(layers) < 2 and not named:
        what = f"{first} reads several layers together, and {there}"
        raise InputError(what, do=f"name more with --layers, or omit {first}")
    if len(layers) < 2:
        what = f"layer '{MIX}' is a sum of several layers, and {there}"
        raise InputError(what, do=f"name more, omit it, or name {MIX} alone for all layers of the store")
    widths = {name: extraction.width(name) for name in layers}
    summing = [name for name, head in heads.items() if head.together]
    if summing and len(set(widths.values())) > 1:
        last = widths[layers[-1]]
        others = [f"{name} has {width}" for name, width in widths.items() if width != last]
        what = f"{summing[0]} sums layers, and {layers[-1]} has {last} columns, {others[0]}"
        raise InputError(what, do="name layers of one width with --layers")
