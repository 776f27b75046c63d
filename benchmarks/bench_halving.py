"""A complete study with each of two pruners on the same folds: time, and the difference of their UAR.

    python benchmarks/bench_halving.py clips.csv --model random:hubert-base --out runs/pruners

The score of the selected system is one number, and differs by chance from search to search; the mean over all
layers and heads shows a smaller difference. Each difference (second pruner minus first) has a 95 % interval
that resamples speakers, the same ones for both runs and all layers. Prints one JSON line. Finished runs in
`--out` are not repeated, and have no CPU time.
"""

from __future__ import annotations

import json
import resource
import sys
from argparse import ArgumentParser, RawDescriptionHelpFormatter
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import numpy as np
import torch

from benchmarks.machine import report
from layerprobe.classify.config import HALVING, MEDIAN, PRUNERS, SPLITS, Metric, StudyConfig
from layerprobe.classify.runs.label_codes import label_codes
from layerprobe.classify.runs.read_predictions import check_same_clips, read_predictions
from layerprobe.classify.scores.bootstrap import Interval, draw_scores, expanded_percentile_interval
from layerprobe.classify.scores.results import SELECTED
from layerprobe.classify.search.study import run_study
from layerprobe.classify.tasks.registry import MEASURES, TASKS
from layerprobe.classify.tasks.task import clip_counts
from layerprobe.embed.manifest.clips import read_manifest
from layerprobe.embed.models.lookup import find_model_store

UAR: Metric = "uar"


def main() -> None:
    """Run the studies that are missing, and compare them."""
    parser = ArgumentParser(description=__doc__, formatter_class=RawDescriptionHelpFormatter)
    parser.add_argument("clips", type=Path, help="table of clips")
    parser.add_argument("--model", required=True)
    parser.add_argument("--cache", type=Path, default=Path("features"))
    parser.add_argument("--out", type=Path, required=True, help="folder of the runs")
    parser.add_argument("--pruners", default=f"{MEDIAN},{HALVING}", help="two of " + ", ".join(PRUNERS))
    parser.add_argument("--target", default=StudyConfig.target)
    parser.add_argument("--heads", default=",".join(StudyConfig().heads))
    parser.add_argument("--layers", default="", help="all if omitted")
    parser.add_argument("--split", default=StudyConfig.split, choices=SPLITS)
    parser.add_argument("--folds", type=int, default=StudyConfig.folds)
    parser.add_argument("--trials", type=int, default=StudyConfig.trials)
    parser.add_argument("--jobs", type=int, default=StudyConfig.jobs)
    parser.add_argument("--seed", type=int, default=StudyConfig.seed)
    arguments = parser.parse_args()
    pruners = arguments.pruners.split(",")
    if len(set(pruners)) != 2:
        parser.error("--pruners needs two different ones")
    config = StudyConfig(
        target=arguments.target,
        heads=tuple(arguments.heads.split(",")),
        layers=tuple(filter(None, arguments.layers.split(","))),
        split=arguments.split,
        folds=arguments.folds,
        trials=arguments.trials,
        jobs=arguments.jobs,
        seed=arguments.seed,
    )
    runs = [arguments.out / pruner for pruner in pruners]
    spent = [
        _run(arguments.clips, arguments.cache, arguments.model, run, replace(config, pruner=pruner))
        for pruner, run in zip(pruners, runs, strict=True)
    ]
    figures = {
        "model": arguments.model,
        "pruners": dict(zip(pruners, spent, strict=True)),
        "differences": {name: asdict(found) for name, found in differences(*runs).items()},
    }
    report("halving", figures, device=torch.device("cpu"))


def _run(table: Path, cache: Path, model: str, run: Path, config: StudyConfig) -> dict[str, Any]:
    """Run one study unless it is finished; its wall and CPU seconds, and the selected system's UAR."""
    before = _cpu_seconds()
    known = (run / "summary.json").exists()
    run_study(read_manifest(table, must_exist=False), find_model_store(cache, model), run, config)
    record, summary = (json.loads((run / name).read_text()) for name in ("run.json", "summary.json"))
    return {
        "wall_s": record["seconds"]["search"],
        "cpu_s": None if known else _cpu_seconds() - before,
        "selected": summary["selected"][UAR],
    }


def _cpu_seconds() -> float:
    """Of this process and of the workers that have ended."""
    uses = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(use.ru_utime + use.ru_stime for use in uses)


def differences(first: Path, second: Path) -> dict[str, Interval]:
    """UAR of the second run minus that of the first: of the selected system, and means over layers.

    The means are those of each head, and of all layers and heads together (`all`).
    """
    runs = [read_predictions(run) for run in (first, second)]
    names = list(runs[0])
    if set(names) != set(runs[1]):
        raise ValueError(f"{first} and {second} have other layers or heads")
    both = [run[name] for run in runs for name in names]
    for other in both[1:]:
        check_same_clips(both[0], other)
    task = TASKS[both[0].task]
    speakers = both[0].clips if both[0].speakers is None else both[0].speakers
    labels, y, predicted = label_codes(both[0], [each.predicted for each in both])
    counts = np.stack([task.statistics(y, each, speakers, labels) for each in predicted], axis=1)
    apart = _apart(draw_scores(counts, metric=UAR, seed=0))
    value = _apart(MEASURES[UAR].score(counts.sum(0))[None])[0]
    sizes = clip_counts(counts[:, 0])
    return {
        group: Interval(
            float(value[places].mean()),
            *expanded_percentile_interval(apart[:, places].mean(1), sizes, within=(-1.0, 1.0)),
        )
        for group, places in _groups(names).items()
    }


def _apart(scores: np.ndarray) -> np.ndarray:
    """(draws, 2 R) scores of R systems in the first run and in the second → (draws, R) differences."""
    first, second = np.hsplit(scores, 2)
    return np.asarray(second - first)


def _groups(names: list[str]) -> Mapping[str, list[int]]:
    """Name of a group → places of its systems, which are `selected` and `LAYER/HEAD`."""
    groups: dict[str, list[int]] = {SELECTED: [], "all": []}
    for place, name in enumerate(names):
        if name == SELECTED:
            groups[SELECTED].append(place)
            continue
        groups["all"].append(place)
        groups.setdefault(name.rpartition("/")[2], []).append(place)
    return groups


if __name__ == "__main__":
    main()
