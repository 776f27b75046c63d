"""Heads for numbers, levels and votes, and newer heads for classes, against the classifier of their kind.

    python benchmarks/bench_heads.py clips.csv --model random:hubert-base --cache features [--trials 10]

Each pair searches the same outer fold and layer, on the same clips, in turns, so that a slow minute meets
both. Numbers are the class's number with noise, votes are three for the class and two for random ones, levels
are the classes in order. Prints one JSON line per pair: `trials` and `seconds_per_trial` (CPU time of the
search and the final fit, the least of the repeats) of the head and of the classifier, and `ratio`, the median
over the repeats of the paired ratios of seconds per trial; spaces of heads differ in size. Pairs of heads on
frames need `embed --frames`, and are left out without it.

`knn`, `gp` and `mlp` have no older classifier of their kind; they are measured against the SVM.

`--study` instead runs the study of the head `weights` on all layers of the store, with the default settings
of `classify`, and prints its wall and CPU time.
"""

from __future__ import annotations

import os
import resource
import sys
import tempfile
import time
from argparse import ArgumentParser, RawDescriptionHelpFormatter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import numpy as np
import torch
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from benchmarks.machine import report
from layerprobe.cache.common.errors import InputError
from layerprobe.cache.store.feature_store import FeatureStore
from layerprobe.classify.config import StudyConfig, TaskName
from layerprobe.classify.scores.results import StudyId
from layerprobe.classify.search.parallel import WORKER_ENVIRONMENT
from layerprobe.classify.search.plan import Plan, make_plan
from layerprobe.classify.search.study import run_study
from layerprobe.classify.search.units import Unit, run_unit
from layerprobe.embed.manifest.clips import Clip, read_manifest
from layerprobe.embed.models.lookup import find_model_store

Head = tuple[TaskName, str]
PAIRS: tuple[tuple[Head, Head], ...] = (
    (("regression", "ridge"), ("classification", "ridge")),
    (("regression", "svm"), ("classification", "svm")),
    (("regression", "xgboost"), ("classification", "xgboost")),
    (("ordinal", "ordinal"), ("classification", "logreg")),
    (("soft", "logreg"), ("classification", "logreg")),
    (("soft", "xgboost"), ("classification", "xgboost")),
    (("classification", "lda"), ("classification", "logreg")),
    (("classification", "knn"), ("classification", "svm")),
    (("classification", "gp"), ("classification", "svm")),
    (("classification", "mlp"), ("classification", "svm")),
)
FRAME_PAIRS: tuple[tuple[Head, Head], ...] = (
    (("classification", "attention"), ("classification", "bilstm")),
    (("soft", "attention"), ("classification", "attention")),
)
TARGETS: dict[TaskName, str] = {
    "classification": "label",
    "ordinal": "label",
    "regression": "number",
    "soft": "votes",
}
CPU = torch.device("cpu")


def main() -> None:
    """Measure every pair, or the study of layer weights."""
    parser = ArgumentParser(description=__doc__, formatter_class=RawDescriptionHelpFormatter)
    parser.add_argument("clips", type=Path, help="table of clips")
    parser.add_argument("--model", default="random:hubert-base")
    parser.add_argument("--cache", type=Path, default=Path("features"))
    parser.add_argument("--target", default=StudyConfig.target)
    parser.add_argument("--layer", default="", help="layer name; default: the middle layer")
    parser.add_argument("--heads", default="", help="only pairs of these heads, such as ordinal,gp")
    parser.add_argument("--trials", type=int, default=10)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--study", action="store_true", help="the study of layer weights")
    arguments = parser.parse_args()
    if any(os.environ.get(name) != value for name, value in WORKER_ENVIRONMENT.items()):
        os.execve(sys.executable, [sys.executable, *sys.argv], {**os.environ, **WORKER_ENVIRONMENT})
    table = read_manifest(arguments.clips, must_exist=False)
    if arguments.study:
        store = find_model_store(arguments.cache, arguments.model)
        measure_study(table, store, target=arguments.target)
        return
    clips = with_targets(table, target=arguments.target)
    wanted = set(filter(None, arguments.heads.split(",")))
    for pairs, frames in ((PAIRS, False), (FRAME_PAIRS, True)):
        chosen = [pair for pair in pairs if not wanted or pair[0][1] in wanted]
        try:
            store = find_model_store(arguments.cache, arguments.model, frames=frames)
        except InputError as error:
            if not chosen or frames:
                continue
            raise SystemExit(f"error: {error}") from None
        layers = store.extraction.layers
        layer = arguments.layer or layers[len(layers) // 2]
        with threadpool_limits(1):
            for pair in chosen:
                figures = measure(clips, store, layer, pair, arguments.trials, repeats=arguments.repeats)
                report("heads", {"model": arguments.model, "layer": layer, **figures}, device=CPU)


def with_targets(clips: Sequence[Clip], *, target: str) -> list[Clip]:
    """The labelled clips, with the columns `label`, `number` and `votes`."""
    rng = np.random.default_rng(0)
    labelled = [(clip, text) for clip in clips if (text := clip.labels.get(target, "").strip())]
    classes = sorted({text for _, text in labelled})
    made = []
    for clip, text in labelled:
        own = classes.index(text)
        votes = rng.multinomial(2, np.full(len(classes), 1 / len(classes)))
        votes[own] += 3
        columns = {
            "label": str(own),
            "number": f"{own + 0.3 * rng.standard_normal():.4f}",
            "votes": ";".join(f"{name}={count}" for name, count in enumerate(votes)),
        }
        made.append(replace(clip, labels=columns))
    return made


def measure(
    clips: Sequence[Clip],
    store: FeatureStore,
    layer: str,
    pair: tuple[Head, Head],
    trials: int,
    *,
    repeats: int,
) -> dict[str, Any]:
    """Trials and CPU seconds per trial of both heads of a pair, and their ratio."""
    plans = [plan_of(clips, store, layer, head, trials) for head in pair]
    folds = plan_of(clips, store, layer, ("classification", pair[1][1]), trials).folds
    plans = [replace(plan, folds=folds) for plan in plans]  # folds are balanced by what is predicted
    ratios, least, counts = [], [np.inf, np.inf], [0, 0]
    for repeat in range(repeats + 1):  # the first is a warm-up
        each = []
        for side, plan in enumerate(plans):
            seconds, counts[side] = timed_unit(plan, layer)
            each.append(seconds / counts[side])
        if repeat:
            ratios.append(each[0] / each[1])
            least = [min(pair_) for pair_ in zip(least, each, strict=True)]
    head, classifier = ("/".join(one) for one in pair)
    return {
        "head": head,
        "classifier": classifier,
        "clips": len(plans[0].data),
        "trials": counts,
        "seconds_per_trial": [round(float(seconds), 5) for seconds in least],
        "ratio": float(median(ratios)),
        "ratios": [round(float(ratio), 3) for ratio in ratios],
    }


def plan_of(clips: Sequence[Clip], store: FeatureStore, layer: str, head: Head, trials: int) -> Plan:
    """The plan of a study of one head on one layer; nothing is pruned."""
    task, name = head
    config = StudyConfig(
        target=TARGETS[task],
        task=task,
        heads=(name,),
        layers=(layer,),
        trials=trials,
        sampler="random",
        pruner="none",
        jobs=1,
    )
    return make_plan(clips, store, config)


def timed_unit(plan: Plan, layer: str) -> tuple[float, int]:
    """CPU seconds and trials of the first outer fold."""
    (name,) = plan.config.heads
    unit = Unit(plan=plan, studies={StudyId(0, layer, name): []}, seconds=None, memory=plan.config.memory)
    started = time.process_time()
    done = list(run_unit(unit))
    return time.process_time() - started, len(done) - 1  # the last is the study's result


def measure_study(clips: Sequence[Clip], store: FeatureStore, *, target: str) -> None:
    """Print wall and CPU seconds of a study of the head `weights` with the default settings."""
    with tempfile.TemporaryDirectory() as folder:
        started, before = time.perf_counter(), cpu_seconds()
        run_study(clips, store, Path(folder) / "run", StudyConfig(target=target, heads=("weights",)))
        figures = {"wall_s": time.perf_counter() - started, "cpu_s": cpu_seconds() - before}
    of = {"model": store.extraction.model, "clips": len(clips), "layers": len(store.extraction.layers)}
    report("heads", {"study": "weights", **of, **figures}, device=CPU)


def cpu_seconds() -> float:
    """Of this process and of its workers that have ended."""
    who = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    return sum(usage.ru_utime + usage.ru_stime for usage in map(resource.getrusage, who))


if __name__ == "__main__":
    main()
