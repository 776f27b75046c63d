"""Successive halving of trials over inner folds, and of the values of a head's path.

What falls behind gets no more work (Karnin et al. 2013; Jamieson & Talwalkar 2016), by inner scores alone:

- a trial goes on to the next inner fold if it is among the best half of those that got there before it (a
  third loses some: one inner fold alone says little);
- of a head's path, such as the values of C, a trial walks the first inner fold until the score has not
  risen for PATIENCE values, and takes the better half of them to each further fold.

Decisions depend on earlier trials of the same study alone.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

from optuna.pruners import BasePruner, MedianPruner, NopPruner
from optuna.study import Study
from optuna.trial import FrozenTrial

from layerprobe.classify.config import HALVING, MEDIAN, StudyConfig

SHARE = 2  # one of so many goes on
PATIENCE = 2
UNPRUNED_TRIALS = 5  # before Optuna's pruner compares


def make_pruner(config: StudyConfig) -> BasePruner:
    """The pruner that the option `--pruner` names."""
    if config.pruner == HALVING:
        return HalvingPruner()
    return MedianPruner(n_startup_trials=UNPRUNED_TRIALS) if config.pruner == MEDIAN else NopPruner()


def without_halving(config: StudyConfig) -> StudyConfig:
    """The same search with Optuna's pruner, where there are no layers to choose from."""
    return replace(config, pruner=MEDIAN) if config.pruner == HALVING else config


class HalvingPruner(BasePruner):
    """Prunes a trial after an inner fold unless it is among the best half of those that were there."""

    def prune(self, study: Study, trial: FrozenTrial) -> bool:
        step = trial.last_step
        if step is None:
            return False
        values = [
            other.intermediate_values[step]
            for other in study.get_trials(deepcopy=False)
            if other.number < trial.number and step in other.intermediate_values
        ]
        better = sum(value >= trial.intermediate_values[step] for value in values)
        return better >= math.ceil((len(values) + 1) / SHARE)


def stalls(scores: Sequence[float]) -> bool:
    """Whether the last PATIENCE scores along a path are no better than the best before them."""
    return len(scores) > PATIENCE and max(scores[-PATIENCE:]) <= max(scores[:-PATIENCE])


def better_half(scores: Mapping[float, float]) -> list[float]:
    """The half, rounded up, of the values of a path with the best scores, rising; of equals the first."""
    ranked = sorted(scores, key=lambda value: (-scores[value], value))
    return sorted(ranked[: math.ceil(len(ranked) / 2)])
