"""Tuned systems, fitted again: their scores on a fold, and their inner and outer predictions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from layerprobe.classify.config import TaskName
from layerprobe.classify.data.splits import Fold, OuterFold
from layerprobe.classify.features.fold_features import FoldFeatures
from layerprobe.classify.features.lru_cache import LruCache
from layerprobe.classify.heads.registry import heads_of
from layerprobe.classify.scores.results import StudyResult
from layerprobe.classify.search.nested import prepared
from layerprobe.classify.search.plan import Plan, fold_features, layer_states
from layerprobe.classify.tasks.registry import TASKS


@dataclass(frozen=True, kw_only=True)
class Member:
    """A layer and a head with the parameters that inner folds chose, as in `StudyResult.params`."""

    layer: str
    head: str
    params: Mapping[str, Any]

    @property
    def name(self) -> str:
        """LAYER/HEAD."""
        return f"{self.layer}/{self.head}"

    @classmethod
    def of(cls, result: StudyResult) -> Member:
        """The system of a study's result."""
        return cls(layer=result.id.layer, head=result.id.head, params=result.params)


@dataclass(frozen=True, kw_only=True)
class MemberPredictions:
    """Calibrated probabilities of one outer fold.

    inner: (n, K) of the inner test partitions one after the other, each from a fit to its training partition.
    outer: (m, K) of the outer test partition. temperature: fitted to the inner scores.
    """

    inner: np.ndarray
    outer: np.ndarray
    temperature: float


def member_scores(features: FoldFeatures, member: Member, *, task: TaskName, seed: int) -> np.ndarray:
    """(m, C) scores of the fold's test rows by a fit to its training rows."""
    head, params = heads_of(task)[member.head], dict(member.params)
    name, values = head.path
    value = params.pop(name) if name else values[0]
    more, prep, params = prepared(features, params, seed=seed)
    (scores,) = head.fit(more, prep, params, [value], seed)
    return scores


def part_scores(plan: Plan, parts: Sequence[Fold], member: Member, *, cache: LruCache) -> list[np.ndarray]:
    """Scores of each part's test rows by a fit to its training rows. cache: shared by members."""
    layers = layer_states(plan, plan.layers_of(member.layer), cache=cache.section("states"))
    return [
        member_scores(
            fold_features(plan, layers, part, head=member.head, cache=cache.section((step, member.layer))),
            member,
            task=plan.config.task,
            seed=plan.config.seed,
        )
        for step, part in enumerate(parts)
    ]


def predict_member(plan: Plan, fold: OuterFold, member: Member, *, cache: LruCache) -> MemberPredictions:
    """The predictions of one outer fold. cache: shared by the members of a fold."""
    scores = part_scores(plan, (*fold.inner, fold.outer), member, cache=cache)
    inner = np.concatenate(scores[:-1])
    task = TASKS[plan.config.task]
    divisor = task.temperature(inner, plan.data.y[inner_rows(fold)])
    return MemberPredictions(
        inner=task.probabilities(inner, divisor),
        outer=task.probabilities(scores[-1], divisor),
        temperature=divisor,
    )


def inner_rows(fold: OuterFold) -> np.ndarray:
    """(n,) rows of the inner test partitions, one after the other."""
    return np.concatenate([part.test for part in fold.inner])
