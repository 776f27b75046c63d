"""The trials of a search: how its score rose, and which hyper-parameters mattered."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from layerprobe.cache.common.errors import InputError
from layerprobe.classify.layer_names import FUSION
from layerprobe.classify.report.figures.charts import Bars, Chart, Curves, Series
from layerprobe.classify.report.run_data import RunData
from layerprobe.classify.scores.results import StudyId
from layerprobe.classify.search.storage import STORAGE_FILE, TrialStorage, silence_optuna

FEWEST_TRIALS = 4  # complete ones, in a study whose importances are averaged


def search_charts(run: RunData) -> tuple[dict[str, Chart], str]:
    """History and importances of each head on its most frequent layer; and why there are none, or ""."""
    if run.record.get("kind") == FUSION:
        return {}, "the searches are in the runs of the single models"
    storage = run.record["config"].get("storage")
    if run.finetuned or storage is not None or not (run.folder / STORAGE_FILE).is_file():
        where = "its trials are in another storage" if storage else f"it has no {STORAGE_FILE}"
        return {}, "a fine-tuning has no search of heads" if run.finetuned else where
    silence_optuna()
    try:
        trials = _trials(run)
    except InputError as error:
        return {}, str(error)
    charts: dict[str, Chart] = {}
    if history := _history(run, trials):
        charts[history.name] = history
    for head, layer in _heads(run):
        if bars := _importance(head, layer, trials[head]):
            charts[bars.name] = bars
    return charts, "" if charts else f"{STORAGE_FILE} holds no trials of this run"


def _heads(run: RunData) -> list[tuple[str, str]]:
    """(head, the layer on which it was selected most often)."""
    return [(entry["head"], entry["layer"]) for entry in run.summary["heads"]]


def _trials(run: RunData) -> dict[str, list[list]]:
    """head → for each outer fold the finished trials on the head's layer."""
    storage = TrialStorage(None, out=Path(run.folder), run=run.record["fingerprint"])
    folds = [fold["fold"] for fold in run.summary["selected"]["folds"]]
    return {
        head: [storage.trials(StudyId(fold, layer, head)) for fold in folds] for head, layer in _heads(run)
    }


def _history(run: RunData, trials: dict[str, list[list]]) -> Chart | None:
    """The best inner score after each trial, mean over the outer folds."""
    series = []
    for head, layer in _heads(run):
        curves = [_best_so_far(fold) for fold in trials[head]]
        length = min(map(len, curves), default=0)
        if not length:
            continue
        stacked = np.array([curve[:length] for curve in curves])
        series.append(
            Series(
                name=f"{head}, layer {layer}",
                x=[float(number) for number in range(1, length + 1)],
                y=[None if np.isnan(v) else float(v) for v in stacked.mean(0)],
            )
        )
    if not series:
        return None
    return Curves(
        name="search_history",
        title="History of the search",
        alt="The best inner score so far against the number of trials, mean over the outer folds.",
        x_label="trials",
        y_label="best inner score, mean over folds",
        series=tuple(series),
    )


def _best_so_far(trials: Sequence) -> list[float]:
    """NaN until the first trial that was not pruned."""
    values = [np.nan if trial.values is None else trial.value for trial in trials]
    return np.fmax.accumulate(values).tolist() if values else []


def _importance(head: str, layer: str, folds: Sequence[Sequence]) -> Chart | None:
    """Optuna's importances (fANOVA, Hutter et al. 2014) of one head's parameters, mean over the folds."""
    import optuna
    from optuna.trial import TrialState

    found: list[dict[str, float]] = []
    for trials in folds:
        complete = [trial for trial in trials if trial.state == TrialState.COMPLETE]
        if len(complete) < FEWEST_TRIALS or len({trial.value for trial in complete}) < 2:
            continue
        study = optuna.create_study(direction="maximize")
        study.add_trials(complete)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                evaluator = optuna.importance.FanovaImportanceEvaluator(seed=0, n_trees=32)
                found.append(optuna.importance.get_param_importances(study, evaluator=evaluator))
            except (ValueError, RuntimeError):  # no parameter is in every trial, or none varies
                continue
    names = {name for one in found for name in one}
    if not names:
        return None
    mean = {name: float(np.mean([one.get(name, 0.0) for one in found])) for name in names}
    ordered = sorted(mean, key=lambda name: (-mean[name], name))
    return Bars(
        name=f"importance_{head}",
        title=f"Importance of the hyper-parameters of {head} on layer {layer}",
        alt="The share of the inner score's variance over trials that each hyper-parameter explains.",
        x_label=f"share of the variance explained (fANOVA, mean of {len(found)} folds)",
        names=tuple(name.replace("_", " ") for name in ordered),
        values=tuple(mean[name] for name in ordered),
    )
