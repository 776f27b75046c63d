"""The summary of a finished study: selected system, layer curve, warnings."""

from __future__ import annotations

import resource
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from layerprobe.cache.common.metering import Cost, peak_memory
from layerprobe.cache.common.text import format_bytes
from layerprobe.cache.store import costs
from layerprobe.classify.config import CORPUS_SPLIT, MIX
from layerprobe.classify.features.fold_features import BOTH, EXACT_CLIPS, LANDMARKS
from layerprobe.classify.heads.registry import HEADS
from layerprobe.classify.scores.results import StudyResult
from layerprobe.classify.scores.selection import Results, describe
from layerprobe.classify.search.plan import Plan


def summarise(plan: Plan, outcomes: Results) -> dict[str, Any]:
    """summary.json of a search."""
    config, model = plan.config, plan.store.extraction.model
    split, notes = config.split_name, [*_cut_short(outcomes, config.trials), *_notes(plan)]
    return describe(plan.data, plan.folds, outcomes, config=config, model=model, split=split, notes=notes)


def _notes(plan: Plan) -> list[str]:
    """What a reader of the scores should know of how they came about."""
    return [*_cross(plan), *_validated(plan), *_untested(plan), *approximated(plan)]


def _cross(plan: Plan) -> list[str]:
    """Which corpora stand on which side, where a study goes across corpora."""
    if plan.config.split != CORPUS_SPLIT:
        return []
    (fold,) = plan.folds
    trained, tested = ", ".join(plan.config.train_corpus), ", ".join(plan.config.test_corpus)
    return [
        f"trained on {trained} ({len(fold.outer.train)} clips), tested on {tested} "
        f"({len(fold.outer.test)} clips)"
    ]


def _cut_short(outcomes: Results, trials: int) -> list[str]:
    """That a timeout ended the search."""
    made, asked = sum(outcome.trials for outcome in outcomes.values()), trials * len(outcomes)
    return [f"--timeout cut the search short: {made} of {asked} trials were made"] if made < asked else []


def _validated(plan: Plan) -> list[str]:
    """That a table's own validation part chooses, where it has one, and what makes it a poor judge."""
    data, inner = plan.data, plan.folds[0].inner
    if plan.config.split != "column" or len(inner) > 1:
        return []
    judges, trained = inner[0].test, inner[0].train
    told = [f"the table's validation part chooses (clips: {len(judges)}): no --inner-folds"]
    absent = set(data.y.tolist()) - set(data.y[judges].tolist())
    if absent:
        names = ", ".join(data.classes[number] for number in sorted(absent))
        told.append(f"in no validation clip, so nothing chosen heeds them: {names}")
    if data.speakers is not None and set(data.speakers[judges]) & set(data.speakers[trained]):
        told.append("speakers of the validation part are in the training part too: it judges voices it knows")
    return told


def _untested(plan: Plan) -> list[str]:
    """Classes of the training parts that no test part holds: scores are over the others."""
    tested = np.unique(np.concatenate([plan.data.y[fold.outer.test] for fold in plan.folds]))
    names = [name for number, name in enumerate(plan.data.classes) if number not in tested]
    return [f"in no test part, so the UAR is over the other classes: {', '.join(names)}"] if names else []


def approximated(plan: Plan) -> list[str]:
    """That kernels are not taken with every training clip, where that is so, and why."""
    if plan.exact or not any(HEADS[head].kernel for head in plan.config.heads):
        return []
    if plan.largest > EXACT_CLIPS:
        why = f"more than {EXACT_CLIPS} training clips"
    else:
        needed, memory = format_bytes(plan.kernels), format_bytes(plan.config.memory)
        why = f"with {plan.largest} training clips they take {needed}, and --memory is {memory}"
    return [f"kernels are approximated with {LANDMARKS} training clips, not taken with all (Nyström): {why}"]


def cost_of(plan: Plan, chosen: Sequence[StudyResult], *, seconds: float) -> dict[str, Any]:
    """The `cost` of run.json: the search's, and under `extraction` that of its clips' states or None.

    chosen: the selected system, an outcome for each outer fold. seconds: of the search.
    """
    search = Cost(
        wall_s=seconds,
        device_s=seconds,
        peak_memory_bytes=peak_memory(resource.RUSAGE_SELF) + _workers(plan),
        trained_parameters=trained_parameters(plan, chosen),
    )
    sound = float(plan.store.seconds(plan.data.keys).sum(dtype="f8"))
    extraction = costs.prorated_cost(plan.store.folder, seconds=sound)
    return {**asdict(search), "extraction": None if extraction is None else asdict(extraction)}


def trained_parameters(plan: Plan, chosen: Sequence[StudyResult]) -> int | None:
    """Of the largest fold's system; None where a head, such as trees, has no fixed number of them."""
    counts = []
    for outcome in chosen:
        count = HEADS[outcome.id.head].parameters
        if count is None or outcome.id.layer == MIX:
            return None
        stats = str(outcome.params["stats"]).split(BOTH)
        width = plan.store.extraction.width(outcome.id.layer) * len(stats)
        counts.append(count(outcome.params["pca"] or width, len(plan.data.classes), outcome.params))
    return max(counts)


def _workers(plan: Plan) -> int:
    """Bytes of all worker processes at most: as if each had held as much as the largest."""
    return plan.jobs * peak_memory(resource.RUSAGE_CHILDREN) if plan.jobs > 1 else 0
