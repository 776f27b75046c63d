"""What a study searches, how it splits and what it may spend: every option a field, every default here."""

from __future__ import annotations

import math
from collections.abc import Collection
from dataclasses import dataclass
from typing import Literal, get_args

from layerprobe.cache.common.errors import InputError

Metric = Literal["uar", "accuracy", "macro_f1"]
Scaling = Literal["none", "standard", "speaker", "l2"]
CORPUS_SPLIT = "corpus"
SPLITS = ("speaker", "random", "column", "loso", CORPUS_SPLIT)
SPLITS_WITH_FOLDS = ("speaker", "random")  # the splits that make as many folds as asked for
SAMPLERS = ("tpe", "random", "gp")
PRUNERS = ("median", "none")
Controls = Literal["none", "cheap", "full"]
RUNTIME_OPTIONS = ("jobs", "storage", "memory")  # how a study is made, not what comes out of it
MIX = "mix"  # the layer made of all layers: a kernel that is a weighted sum of theirs


@dataclass(frozen=True, kw_only=True)
class StudyConfig:
    """One study.

    target: the column of the table that holds the label.
    heads: names of `classify.heads.registry.HEADS`.
    layers: names of the store's layers, and `mix`, the weighted sum of their kernels, for heads that see
        kernels only. Empty for every layer the store holds, and their mix.
    stats: statistics that may be used; empty for all in the store. Each alone and all together are searched.
    scalings: ways of scaling that are searched. `none` is left out unless asked for: unscaled, the columns
        with the largest variance decide, and they carry the microphone as much as the voice. `speaker`
        standardises by each speaker's own unlabelled clips, the test speakers' too, and is only fair where
        these are at hand before the first decision.
    split: `speaker` (speaker-disjoint, stratified), `random` (stratified, leaks speakers), `column` (the
        table's own train/validation/test), `loso` (leave one speaker out), `corpus` (train_corpus against
        test_corpus).
    train_corpus, test_corpus: names in the column `corpus`; given with the split `corpus` and only then.
    protocol: instead of `split` and `folds`, a fixed split of `classify.data.protocols`.
    folds, inner_folds: outer folds score, inner folds choose.
    trials: trials per outer fold, layer and head.
    timeout: seconds for the whole search, shared evenly between the studies, each of which makes one trial at
        least; None for no limit. A search that is cut short depends on the machine's speed.
    metric: what the inner folds maximise.
    sampler, pruner: Optuna's; `median` stops a trial that is below the median after an inner fold.
    jobs: processes; -1 for one per core.
    storage: URL of the Optuna storage; None for `search.db` in the run folder.
    seed: decides folds, trials and fits; the same seed gives the same results whatever `jobs`.
    memory: bytes that all processes together may keep of work shared between trials.
    """

    target: str = "emotion"
    heads: tuple[str, ...] = ("logreg", "svm", "xgboost")
    layers: tuple[str, ...] = ()
    stats: tuple[str, ...] = ()
    scalings: tuple[Scaling, ...] = ("standard", "l2")
    split: str = "speaker"
    train_corpus: tuple[str, ...] = ()
    test_corpus: tuple[str, ...] = ()
    protocol: str | None = None
    folds: int = 5
    inner_folds: int = 3
    trials: int = 30
    timeout: float | None = None
    metric: Metric = "uar"
    sampler: str = "tpe"
    pruner: str = "median"
    jobs: int = -1
    storage: str | None = None
    seed: int = 0
    memory: int = 4 << 30

    @property
    def split_name(self) -> str:
        """How the outer folds are made: the protocol's name, or the way of splitting."""
        return self.protocol or self.split

    def __post_init__(self) -> None:
        _one_of("split", self.split, SPLITS)
        _one_of("sampler", self.sampler, SAMPLERS)
        _one_of("pruner", self.pruner, PRUNERS)
        _one_of("metric", self.metric, get_args(Metric))
        for scaling in self.scalings:
            _one_of("scaling", scaling, get_args(Scaling))
        for name, least in (("folds", 2), ("inner_folds", 2), ("trials", 1), ("seed", 0), ("memory", 1)):
            if getattr(self, name) < least:
                raise InputError(f"{name} is {getattr(self, name)}", do=f"give {least} or more")
        given = bool(self.train_corpus), bool(self.test_corpus)
        if given != (self.split == CORPUS_SPLIT,) * 2:
            raise InputError(
                "to train on one corpus and test on another takes --train-corpus and --test-corpus",
                do=f"give both and no other --split than {CORPUS_SPLIT}",
            )
        if not self.heads:
            raise InputError("no head is given", do="name at least one")
        if not self.scalings:
            raise InputError("no scaling is given", do="name at least one")
        if self.jobs == 0:
            raise InputError("jobs is 0", do="give a number of processes, or -1 for one per core")
        if self.timeout is not None and not 0 < self.timeout < math.inf:
            raise InputError(f"timeout is {self.timeout:g} s", do="give a positive number of seconds")


@dataclass(frozen=True, kw_only=True)
class EvaluationConfig:
    """What is put beside a study's score.

    audit: look through the table and its sound for leaks and faults. controls: `cheap` is the selected system
    on shuffled labels, and linear probes over layers for what should not matter; `full` adds the same study
    on `mfcc` and on random weights, and the score for fewer training speakers.
    """

    audit: bool = True
    controls: Controls = "cheap"

    def __post_init__(self) -> None:
        _one_of("controls", self.controls, get_args(Controls))


def _one_of(option: str, value: str, allowed: Collection[str]) -> None:
    if value not in allowed:
        raise InputError(f"{option} '{value}' is not known", do=f"choose from {', '.join(allowed)}")
