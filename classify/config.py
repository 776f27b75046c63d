"""What a study searches, on which folds and within which limits: every option and its default."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

from cyclopts import Parameter

from layerprobe.cache.common.errors import InputError
from layerprobe.cache.common.options import BYTES, check_choice, check_choices, check_minimum, flag

TaskName = Literal["classification", "regression", "ordinal", "multilabel", "soft"]
ClassMetric = Literal["uar", "accuracy", "macro_f1"]
Metric = Literal[
    "auto", "uar", "accuracy", "macro_f1", "ccc", "pearson", "spearman", "rmse", "mae", "qwk", "level_mae",
    "label_f1", "label_uar", "exact_match", "soft_f1", "soft_loss", "soft_kl",
]  # fmt: skip
AUTO: Literal["auto"] = "auto"  # what is usual for the task
# The scores of each task. The first is what a search maximises unless told otherwise, and what figures show.
METRICS: Mapping[TaskName, tuple[Metric, ...]] = {
    "classification": get_args(ClassMetric),
    "regression": ("ccc", "pearson", "spearman", "rmse", "mae"),
    "ordinal": ("qwk", "uar", "accuracy", "level_mae"),
    "multilabel": ("label_f1", "label_uar", "exact_match"),
    "soft": ("soft_f1", "soft_loss", "soft_kl"),
}
LOWER_IS_BETTER: tuple[Metric, ...] = ("rmse", "mae", "level_mae", "soft_loss", "soft_kl")
USUAL_HEADS: Mapping[TaskName, tuple[str, ...]] = {
    "classification": ("logreg", "svm", "xgboost"),
    "regression": ("ridge", "svm", "xgboost"),
    "ordinal": ("ordinal", "svm", "xgboost"),
    "multilabel": ("logreg", "svm", "xgboost"),
    "soft": ("logreg", "xgboost"),
}
# The defaults of a classification, which help shows; other tasks have their own.
USUAL = Parameter(show_default=lambda _: ",".join(USUAL_HEADS["classification"]))
MAIN = Parameter(show_default=lambda _: METRICS["classification"][0])
# Of each task, the head that predicts without features, whose scores are a control; and what it predicts.
BASELINES: Mapping[TaskName, tuple[str, str]] = {
    "classification": ("majority", "majority class"),
    "regression": ("mean", "mean of the training clips"),
    "ordinal": ("majority", "majority level"),
    "multilabel": ("majority", "labels of most clips"),
    "soft": ("majority", "mean shares of votes"),
}
WITHOUT_ONE_LABEL = {"regression": "a regression", "multilabel": "a study of sets of labels"}  # by task
Scaling = Literal["none", "standard", "speaker", "l2"]
CORPUS_SPLIT = "corpus"
SPLITS = ("speaker", "random", "column", "loso", CORPUS_SPLIT)
SPLITS_WITH_FOLDS = ("speaker", "random")  # splits with as many folds as --folds says
SAMPLERS = ("tpe", "random", "gp")
HALVING = "halving"
MEDIAN = "median"
PRUNERS = (MEDIAN, HALVING, "none")
Controls = Literal["none", "cheap", "full"]
Sampling = Literal["none", "over", "smote", "mixup"]
RUNTIME_OPTIONS = ("jobs", "storage", "memory")  # options that do not change the results
# Later options than those of earlier versions, recorded only where they are not the default.
LATER = ("splits", "task", "levels", "separator", "quick", "ensemble", "sampling")
EMOBOX = "emobox:"  # of --splits: a checkout of that benchmark
QUICK_HEAD = "ridge"
VOTES = "p_"  # columns of votes begin with it
MIX = "mix"  # a virtual layer: a weighted sum of several layers, or of their kernels


def name_of_splits(splits: str | None) -> str | None:
    """`emobox:NAME` or `splits of RUN`; None for no splits."""
    if splits is None:
        return None
    if splits.startswith(EMOBOX):
        return f"{EMOBOX}{Path(splits.removeprefix(EMOBOX)).name}"
    return f"splits of {Path(splits).absolute().parent.name}"


@dataclass(frozen=True, kw_only=True)
class StudyConfig:
    """One study: what is searched, on which folds, within which limits."""

    target: str = "emotion"
    """Column with the label; of --task soft the prefix of the columns with votes, p_ if omitted."""
    task: TaskName = "classification"
    """What the label is: one of several classes, a number to predict (regression), a level of an order
    (ordinal), a set of labels (multilabel), or votes of annotators, a column for each class (soft)."""
    levels: Annotated[tuple[str, ...], Parameter(show_default=False)] = ()
    """Order of the labels of an ordinal task, lowest first; numbers are ordered by size if omitted."""
    separator: str = ";"
    """Between the labels of a multilabel cell: angry;sad."""
    heads: Annotated[tuple[str, ...], USUAL] = (AUTO,)
    """Heads to search, comma-separated: logreg, svm, xgboost, ridge, lda, knn, mlp, gp, weights (of layers),
    majority, or bilstm and attention for stores of frames. For regression: ridge, svm, xgboost (if omitted),
    or mean. For ordinal: also ordinal, proportional odds (ordinal, svm, xgboost if omitted). For multilabel:
    one each. For soft: logreg, xgboost (if omitted), weights, bilstm or attention, which minimise the log
    loss of the votes."""
    layers: Annotated[tuple[str, ...], Parameter(show_default=lambda _: "all")] = ()
    """all, or names and ranges such as 0-6,9,final; 3+6 has the columns of both side by side. mix is a
    weighted sum of the kernels of the named layers, or of all layers if it is alone (svm)."""
    stats: tuple[str, ...] = ()
    """Statistics that may be used, each alone and all together; all that are cached if omitted."""
    scalings: tuple[Scaling, ...] = ("standard", "l2")
    """Scalings to search. Without scaling (none), columns with the largest variance dominate; they reflect
    the microphone as much as the voice. speaker standardises with each speaker's own unlabelled clips, also
    those of test speakers: valid only if all clips of a speaker are available before any is classified."""
    sampling: tuple[Sampling, ...] = ("none",)
    """Ways to sample training clips to search: none, over (repeat clips of small classes), smote or mixup."""
    split: str = "speaker"
    """Outer folds: speaker (speaker-disjoint, stratified), random (stratified, leaks speakers), column (the
    table's own train/validation/test), loso (leave one speaker out) or corpus (--train-corpus against
    --test-corpus)."""
    protocol: str | None = None
    """A published split instead of --split and --folds; `protocols` lists them."""
    splits: str | None = None
    """Outer folds of another run on the same table (its splits.json), or of a benchmark: emobox:FOLDER, a
    checkout of EmoBox or the folder of a corpus in it."""
    train_corpus: tuple[str, ...] = ()
    """Corpora to train on: values of the column `corpus`; requires --test-corpus."""
    test_corpus: tuple[str, ...] = ()
    """Corpora to test on: values of the column `corpus`; requires --train-corpus."""
    folds: int = 5
    """Outer folds, which give the score."""
    inner_folds: int = 3
    """Inner folds, which choose layer, head and parameters."""
    ensemble: int = 0
    """Also an ensemble of so many best systems of each outer fold, weighted on inner folds; 0 for none."""
    quick: Annotated[bool, Parameter(negative=())] = False
    """Only look: one linear probe (ridge) on every layer with fixed parameters, nothing tuned, in seconds.
    Options of the search do not apply; no audit, controls or bundle unless asked for."""
    trials: int = 30
    """Trials for each outer fold, layer and head."""
    timeout: float | None = None
    """Time limit of the whole search in seconds, split evenly between its studies, each of which runs at
    least one trial. The result of a search that is cut short depends on the machine's speed."""
    metric: Annotated[Metric, MAIN] = AUTO
    """Score that the inner folds maximise: uar, accuracy or macro_f1; for regression ccc (if omitted),
    pearson or spearman; for ordinal qwk (if omitted), uar or accuracy; for multilabel label_f1 (if omitted),
    label_uar or exact_match; for soft soft_f1."""
    sampler: str = "tpe"
    """Optuna's sampler: tpe, random or gp."""
    pruner: str = MEDIAN
    """What is cut short: median (Optuna's: a trial below the median of the complete ones after an inner
    fold), none, or halving, which takes less time: after an inner fold the best half of the trials so far
    goes on, on the better half of a head's path; all layers get a third of the trials, but at least ten, and
    the best third of them, but at least three layers, the rest."""
    jobs: int = -1
    """Worker processes; -1 for one per core."""
    storage: str | None = None
    """URL of the Optuna storage; search.db in the run folder if omitted. Processes with the same command, on
    any machines, share the search on a server: postgresql://USER@HOST/DATABASE, without a password in it
    (docs/scale.md)."""
    memory: Annotated[int, BYTES] = 4 << 30
    """Memory budget of all processes for what trials share (8GiB); larger states are read in blocks."""
    seed: int = 0
    """Seed of folds, trials and fits; the results do not depend on --jobs."""

    @property
    def split_name(self) -> str:
        """Name of the outer folds: the protocol, the benchmark or run that they come from, or the split."""
        return self.protocol or name_of_splits(self.splits) or self.split

    def __post_init__(self) -> None:
        if self.layers == ("all",):
            object.__setattr__(self, "layers", ())
        if self.train_corpus and self.test_corpus and self.split == StudyConfig.split:
            object.__setattr__(self, "split", CORPUS_SPLIT)
        if self.quick:
            self._fix()
        check_choice("--split", self.split, SPLITS)
        if self.protocol and self.splits:
            raise InputError(f"--protocol {self.protocol} has its own folds", do="omit --splits")
        check_choice("--sampler", self.sampler, SAMPLERS)
        check_choice("--pruner", self.pruner, PRUNERS)
        check_choice("--task", self.task, get_args(TaskName))
        if self.task == "soft" and self.target == StudyConfig.target:
            object.__setattr__(self, "target", VOTES)
        if self.levels and self.task != "ordinal":
            raise InputError("--levels is the order of an ordinal task", do="give --task ordinal, or omit it")
        if self.separator != StudyConfig.separator and self.task != "multilabel":
            what = "--separator is between the labels of a multilabel task"
            raise InputError(what, do="give --task multilabel, or omit it")
        if not self.separator.strip():
            raise InputError("--separator is empty", do="give a character, such as ; or |")
        if len(set(self.levels)) < len(self.levels):
            raise InputError(f"--levels {','.join(self.levels)} names a level twice", do="name each once")
        object.__setattr__(self, "metric", chosen_metric(self.metric, self.task))
        if self.heads == (AUTO,):
            object.__setattr__(self, "heads", USUAL_HEADS[self.task])
        check_choices("--scalings", self.scalings, get_args(Scaling))
        check_minimum(self, {"folds": 2, "inner_folds": 2, "trials": 1, "seed": 0, "memory": 1})
        if (bool(self.train_corpus), bool(self.test_corpus)) != (self.split == CORPUS_SPLIT,) * 2:
            raise InputError(
                "training on one corpus and testing on another requires --train-corpus and --test-corpus",
                do=f"give both and no other --split than {CORPUS_SPLIT}",
            )
        for option, noun in (("heads", "head"), ("scalings", "scaling")):
            if not getattr(self, option):
                raise InputError(f"--{option} names no {noun}", do="name at least one")
        if self.jobs == 0:
            raise InputError("--jobs 0", do="give a number of processes, or -1 for one per core")
        if self.timeout is not None and not 0 < self.timeout < math.inf:
            raise InputError(f"--timeout {self.timeout:g}", do="give a positive number of seconds")

    def _fix(self) -> None:
        """Set what is fixed in a quick look. Raises InputError for options that it has no use for."""
        if self.task in ("ordinal", "soft"):
            of = "an order of levels" if self.task == "ordinal" else "shares of votes"
            raise InputError(f"--quick has no probe for {of}", do="omit one of them")
        fixed: dict[str, object] = {"heads": (QUICK_HEAD,), "trials": 1, "scalings": ("standard",)}
        unused = ("ensemble", "sampling", "timeout", "sampler", "pruner", "storage")
        fixed |= {name: getattr(StudyConfig, name) for name in unused}
        for name, value in fixed.items():
            if getattr(self, name) not in (value, getattr(StudyConfig, name)):
                raise InputError(f"--quick tunes nothing, and {flag(name)} is given", do=f"omit {flag(name)}")
            object.__setattr__(self, name, value)


@dataclass(frozen=True, kw_only=True)
class EvaluationConfig:
    """What is reported next to a study's score."""

    audit: Annotated[bool, Parameter(negative="--no-audit")] = True
    """Check the table and its audio for leaks and errors."""
    controls: Controls = "cheap"
    """Controls to run: none; cheap: shuffled labels, and probes over layers for speaker, gender, words, age
    and duration; full: in addition mfcc, openSMILE where it is installed, random
    weights, probes for the sound itself (pitch, level, rate, tilt), and fewer training speakers."""

    def __post_init__(self) -> None:
        check_choice("--controls", self.controls, get_args(Controls))


def chosen_metric(metric: Metric, task: TaskName, *, maximised: bool = True) -> Metric:
    """The metric, or the task's first for `auto`. Raises InputError for one that the task does not have.

    maximised: also for one that is better if lower, which nothing maximises.
    """
    if metric == AUTO:
        return METRICS[task][0]
    allowed = [name for name in METRICS[task] if not (maximised and name in LOWER_IS_BETTER)]
    check_choice("--metric", metric, allowed)
    return metric


def task_of(record: Mapping[str, Any]) -> TaskName:
    """The task of a summary or of a run's configuration; earlier versions knew classification only."""
    name: TaskName = record.get("task", "classification")
    return name


def main_metric(record: Mapping[str, Any]) -> Metric:
    """The first score of the task of a summary or of a run's configuration."""
    return METRICS[task_of(record)][0]
