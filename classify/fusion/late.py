"""Late fusion: the mean of the models' probabilities, with weights that inner folds choose."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from layerprobe.classify.controls.refit import SelectedFold
from layerprobe.classify.features.lru_cache import LruCache
from layerprobe.classify.fusion.sources import Source
from layerprobe.classify.layer_names import JOIN, LATE
from layerprobe.classify.scores.results import SELECTED, StudyId, StudyResult
from layerprobe.classify.search.ensemble.combine import average_members
from layerprobe.classify.search.ensemble.members import MemberPredictions, inner_rows, predict_member
from layerprobe.classify.search.plan import Plan
from layerprobe.classify.tasks.classification import CLASSIFICATION


@dataclass(frozen=True, kw_only=True)
class LateUnit:
    """One outer fold, for one worker. selected: what the inner folds selected of each model."""

    sources: tuple[Source, ...]
    selected: tuple[SelectedFold, ...]
    memory: int


def fused_layer(sources: Sequence[Source]) -> str:
    """What stands for a fusion in the place of a layer: the models' names, joined."""
    return JOIN.join(source.name for source in sources)


def late_units(
    sources: Sequence[Source], selected: Mapping[str, Sequence[SelectedFold]], *, memory: int
) -> list[LateUnit]:
    """A unit for each outer fold. selected: name of a model → its selected systems, fold by fold."""
    folds = zip(*(selected[source.name] for source in sources), strict=True)
    return [LateUnit(sources=tuple(sources), selected=fold, memory=memory) for fold in folds]


def run_late(unit: LateUnit) -> Iterator[StudyResult]:
    """Yield the result of each model's selected system, and that of their weighted mean."""
    fold = unit.selected[0].fold
    predictions = {}
    for source, selected in zip(unit.sources, unit.selected, strict=True):
        cache = LruCache(unit.memory)  # of this model alone: layers of two models may have one name
        predictions[source.name] = predict_selected(source.plan, selected, cache=cache)
    plan = unit.sources[0].plan
    y = plan.data.y[inner_rows(plan.folds[fold])]
    for (name, one), selected in zip(predictions.items(), unit.selected, strict=True):
        reached = CLASSIFICATION.score(
            y, one.inner.argmax(1), classes=one.inner.shape[1], metric=plan.config.metric
        )
        yield StudyResult(
            id=StudyId(fold, name, SELECTED),
            params={"system": JOIN.join(member.name for member, _, _ in selected.members)},
            inner_score=reached,
            predicted=one.outer.argmax(1),
            probability=one.outer,
            trials=0,
            pruned=0,
        )
    average = average_members(plan, StudyId(fold, fused_layer(unit.sources), LATE), predictions)
    yield replace(average, details={"weights": average.params})


def predict_selected(plan: Plan, selected: SelectedFold, *, cache: LruCache) -> MemberPredictions:
    """The inner and outer predictions of a selected system, which may itself be an ensemble."""
    fold = plan.folds[selected.fold]
    each = [predict_member(plan, fold, member, cache=cache) for member, _, _ in selected.members]
    weights = np.array([weight for _, weight, _ in selected.members])
    inner, outer = (
        np.tensordot(weights, np.stack([getattr(one, part) for one in each]), 1)
        for part in ("inner", "outer")
    )
    return MemberPredictions(inner=inner, outer=outer, temperature=1.0)
