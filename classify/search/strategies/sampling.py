"""Optuna's samplers, as the option `--sampler` names them."""

from __future__ import annotations

from optuna.samplers import BaseSampler, GPSampler, RandomSampler, TPESampler

from layerprobe.classify.config import StudyConfig

RANDOM_TRIALS = 10  # before the sampler models the scores


def make_sampler(config: StudyConfig, *, seed: int) -> BaseSampler:
    """The sampler of one trial."""
    if config.sampler == "random":
        return RandomSampler(seed=seed)
    tpe = TPESampler(seed=seed, n_startup_trials=RANDOM_TRIALS)
    if config.sampler == "gp":
        # A Gaussian process needs parameters that every trial has; an SVM's gamma is not one.
        return GPSampler(
            seed=seed,
            n_startup_trials=RANDOM_TRIALS,
            independent_sampler=tpe,
            warn_independent_sampling=False,
        )
    return tpe
