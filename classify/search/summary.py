"""The summary of a finished study, its notes, and its cost."""

from __future__ import annotations

import resource
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from layerprobe.cache.common.metering import Cost, peak_memory
from layerprobe.cache.common.text import format_bytes, format_list
from layerprobe.cache.store import costs
from layerprobe.classify.config import CORPUS_SPLIT, MIX, TaskName
from layerprobe.classify.features.fold_features import BOTH
from layerprobe.classify.features.joined import joined_width
from layerprobe.classify.features.kernels import EXACT_CLIPS, LANDMARKS
from layerprobe.classify.heads.registry import heads_of
from layerprobe.classify.scores.layer_weights import LAYER_WEIGHTS, mean_layer_weights
from layerprobe.classify.scores.results import StudyResult
from layerprobe.classify.scores.selection import Results, describe, select_system
from layerprobe.classify.search.plan import Plan
from layerprobe.classify.search.space import at_edge
from layerprobe.classify.search.strategies.halving import first_trials, further_layers, total_trials
from layerprobe.classify.search.strategies.quick import quick_note, quick_params


def summarise(plan: Plan, results: Results) -> dict[str, Any]:
    """summary.json of a search."""
    config, model = plan.config, plan.store.extraction.model
    notes = [
        *([] if config.quick else _timeout_notes(plan, results)),
        *([] if config.quick else _halving_notes(plan)),
        *_corpus_notes(plan),
        *_validation_notes(plan),
        *_untested_notes(plan),
        *approximation_notes(plan),
        *streaming_notes(plan),
        *edge_notes(select_system(results), task=config.task),
    ]
    if config.quick:
        notes.insert(0, quick_note(plan))
    summary = describe(
        plan.data, plan.folds, results, config=config, model=model, split=config.split_name, notes=notes
    )
    weights = mean_layer_weights(results, plan.folds, layers=plan.layers_of(MIX))
    summary |= {} if weights is None else {LAYER_WEIGHTS: weights}
    return {**summary, "quick": quick_params(plan)} if config.quick else summary


def _timeout_notes(plan: Plan, results: Results) -> list[str]:
    done, planned = sum(result.trials for result in results.values()), total_trials(plan)
    return [f"--timeout cut the search short: {done} of {planned} trials were run"] if done < planned else []


def _halving_notes(plan: Plan) -> list[str]:
    """That layers were searched with different numbers of trials."""
    first, most = first_trials(plan), plan.config.trials
    if first == most:
        return []
    layers = max(Counter((id.fold, id.head) for id in plan.studies()).values())
    return [
        f"successive halving: in each outer fold the {further_layers(layers)} layers of a head that were "
        f"best on inner folds had up to {most} trials, the others {first}; --pruner median gives all the same"
    ]


def edge_notes(selected: Sequence[StudyResult], *, task: TaskName) -> list[str]:
    """One note on the hyper-parameters of the selected system that are at an end of their range.

    selected: one result for each outer fold. A parameter is named if that is so in half of the folds.
    """
    counts = Counter(
        f"{name} of {result.id.head} (the {end} value)"
        for result in selected
        if result.id.head in heads_of(task)
        for name, end in at_edge(heads_of(task)[result.id.head], result.params).items()
    )
    folds = len(selected)
    often = [f"{edge} in {count} of {folds} folds" for edge, count in counts.items() if 2 * count >= folds]
    note = "at the edge of the searched range, so that better values may lie beyond it"
    return [f"{note}: {', '.join(often)}"] if often else []


def _corpus_notes(plan: Plan) -> list[str]:
    """A note that names the training and test corpora of a study across corpora."""
    if plan.config.split != CORPUS_SPLIT:
        return []
    (fold,) = plan.folds
    trained, tested = ", ".join(plan.config.train_corpus), ", ".join(plan.config.test_corpus)
    train, test = len(fold.outer.train), len(fold.outer.test)
    return [f"trained on {trained} ({train} clips), tested on {tested} ({test} clips)"]


def _validation_notes(plan: Plan) -> list[str]:
    """That a table's own validation partition selects, and its flaws."""
    data, inner = plan.data, plan.folds[0].inner
    if plan.config.split != "column" or len(inner) > 1:
        return []
    validation, train = inner[0].test, inner[0].train
    notes = [f"the table's validation partition selects ({len(validation)} clips): no --inner-folds"]
    there = data.members[validation].any(0)
    absent = [name for name, found in zip(data.classes, there, strict=True) if not found]
    if absent:
        names = ", ".join(absent)
        notes.append(f"in no validation clip, and so ignored by the selection: {names}")
    if data.speakers is not None and set(data.speakers[validation]) & set(data.speakers[train]):
        notes.append(
            "the validation partition shares speakers with the training partition: it selects on known ones"
        )
    return notes


def _untested_notes(plan: Plan) -> list[str]:
    """Classes without test clips: scores are over the others."""
    tested = plan.data.members[np.concatenate([fold.outer.test for fold in plan.folds])].any(0)
    names = [name for name, there in zip(plan.data.classes, tested, strict=True) if not there]
    return (
        [f"in no test partition, so the UAR is over the other classes: {', '.join(names)}"] if names else []
    )


def approximation_notes(plan: Plan) -> list[str]:
    """That kernels are approximated, and why; empty if they are exact or unused."""
    if plan.exact or not any(plan.uses_kernels(head) for head in plan.config.heads):
        return []
    if plan.largest > EXACT_CLIPS:
        why = f"more than {EXACT_CLIPS} training clips"
    else:
        needed, memory = format_bytes(plan.kernels), format_bytes(plan.config.memory)
        why = f"with {plan.largest} training clips they need {needed}, and --memory is {memory}"
    return [f"kernels are approximated on {LANDMARKS} training clips (Nyström): {why}"]


def streaming_notes(plan: Plan) -> list[str]:
    """Which heads read states in blocks, why, and what they cannot do; empty if none does."""
    heads = list(dict.fromkeys(plan.config.heads))
    streamed = [head for head in heads if plan.streams(head)]
    if not streamed:
        return []
    known = heads_of(plan.config.task)
    needed, memory = format_bytes(plan.states), format_bytes(plan.config.memory)
    note = (
        f"the states of {len(plan.data):,} clips need {needed} a layer, and --memory is {memory}: "
        f"{format_list(streamed)} read{'s' * (len(streamed) == 1)} them in blocks from a temporary file"
    )
    if linear := [head for head in streamed if known[head].kernel]:
        note += f"; {format_list(linear)} is linear, without RBF kernels and layer {MIX}"
    others = [head for head in heads if head not in streamed and known[head].reads == "statistics"]
    if others:
        note += f"; {format_list(others)} need{'s' * (len(others) == 1)} them in memory all the same"
    return [note]


def search_cost(plan: Plan, selected: Sequence[StudyResult], *, seconds: float) -> dict[str, Any]:
    """`cost` of run.json: that of the search, and under `extraction` that of its clips' states, or None.

    selected: the selected system, one result for each outer fold. seconds: of the search.
    """
    search = Cost(
        wall_s=seconds,
        device_s=seconds,
        peak_memory_bytes=peak_memory(resource.RUSAGE_SELF) + _worker_memory(plan),
        trained_parameters=trained_parameters(plan, selected),
    )
    sound = float(plan.store.seconds(plan.data.keys).sum(dtype="f8"))
    extraction = costs.prorated_cost(plan.store.folder, seconds=sound)
    return {**asdict(search), "extraction": None if extraction is None else asdict(extraction)}


def trained_parameters(plan: Plan, selected: Sequence[StudyResult]) -> int | None:
    """Of the largest fold's system; None if a head, such as trees, has no fixed number of them."""
    counts = []
    for result in selected:
        known = heads_of(plan.config.task)
        if result.id.head not in known:  # an ensemble, of heads with and without such a number
            return None
        head, layers = known[result.id.head], plan.layers_of(result.id.layer)
        if head.parameters is None or (len(layers) > 1 and not head.together):
            return None
        stats = str(result.params["stats"]).split(BOTH)
        width = result.params["pca"] or joined_width(plan.store.extraction, layers[0]) * len(stats)
        own = head.parameters(width, len(plan.data.classes), result.params)
        counts.append(own + (len(layers) if head.together else 0))
    return max(counts)


def _worker_memory(plan: Plan) -> int:
    """An upper bound in bytes: the peak of the largest worker, times their number."""
    return plan.jobs * peak_memory(resource.RUSAGE_CHILDREN) if plan.jobs > 1 else 0
