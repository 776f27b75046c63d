"""A system fitted to all clips of a study: states of its layers → scores and probabilities; its files."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from optuna.trial import TrialState

from layerprobe.cache.common.errors import InputError
from layerprobe.cache.identity.extraction import FRAME
from layerprobe.classify.data.splits import Fold, selection_folds
from layerprobe.classify.features.fitted import FittedInputs, FittedLayer
from layerprobe.classify.features.fitted_frames import FittedFrames, load_inputs
from layerprobe.classify.features.fold_features import BOTH, Preprocessing
from layerprobe.classify.features.frames import Frames
from layerprobe.classify.features.joined import read_layer
from layerprobe.classify.features.kernels import exact_kernels_fit, kernel_bytes, nystroem_landmarks
from layerprobe.classify.features.lru_cache import LruCache
from layerprobe.classify.features.sampling import Recipe, make_recipe
from layerprobe.classify.features.scaling import scale
from layerprobe.classify.features.streamed.fitted import fit_streamed
from layerprobe.classify.heads.fitted import FittedHead, TrainingRows, load_arrays
from layerprobe.classify.heads.registry import KINDS, head_of, heads_of
from layerprobe.classify.runs.bundle_files import RESTORE
from layerprobe.classify.scores.results import StudyId
from layerprobe.classify.search.nested import PATH_VALUE, TEMPERATURE, open_study, run_trials, split_params
from layerprobe.classify.search.plan import Plan, fold_features, layer_states
from layerprobe.classify.search.storage import TrialStorage
from layerprobe.classify.tasks.calibration import probabilities

PREPROCESSING = "preprocessing.safetensors"
HELD_OUT = "held_out.safetensors"  # scores of the clips that the study tested, for prediction sets


@dataclass(frozen=True, kw_only=True)
class System:
    """Preprocessing, head and temperature, as fitted: it reads `inputs.stats` of layers `inputs.names`."""

    inputs: FittedInputs | FittedFrames
    head: FittedHead
    temperature: float

    def probabilities(self, states: Mapping[str, Any], speakers: np.ndarray | None = None) -> np.ndarray:
        """Layer → (m, S*D) float32, or m clips' frames (F, D) → (m, K) calibrated probabilities.

        speakers: (m,), required by a system that scales by speaker.
        """
        return probabilities(self.scores(states, speakers), self.temperature)

    def scores(self, states: Mapping[str, np.ndarray], speakers: np.ndarray | None = None) -> np.ndarray:
        """As `probabilities`, before calibration; (m, 1) predicted numbers of a regression."""
        return self.head.scores(self.inputs.apply(states, speakers))

    def save(self, folder: Path) -> dict[str, Any]:
        """Write the arrays and the head; what is needed besides them, for a JSON file."""
        from safetensors.numpy import save_file

        arrays = {name: np.ascontiguousarray(array) for name, array in self.inputs.arrays().items()}
        save_file(arrays, folder / PREPROCESSING)
        head = {"kind": self.head.kind, "settings": self.head.save(folder)}
        return {"inputs": self.inputs.settings(), "head": head, "temperature": self.temperature}

    @classmethod
    def load(cls, folder: Path, settings: Mapping[str, Any]) -> System:
        """Raises InputError for files that do not belong together."""
        try:
            inputs = load_inputs(settings["inputs"], load_arrays(folder / PREPROCESSING))
            head = KINDS[settings["head"]["kind"]].load(folder, settings["head"]["settings"])
            return cls(inputs=inputs, head=head, temperature=float(settings["temperature"]))
        except (KeyError, TypeError, ValueError, IndexError, AttributeError) as error:
            what = f"its files do not belong together ({error})"
            raise InputError(what, where=str(folder), do=RESTORE) from error


@dataclass(frozen=True, kw_only=True)
class FittedSystem:
    """A system with what led to it: parameters, and their score in cross-validation over all clips."""

    system: System
    layer: str
    head: str
    params: dict[str, Any]
    inner_score: float
    trials: int


def fit_system(plan: Plan, *, layer: str, head: str, grouped: bool, storage: TrialStorage) -> FittedSystem:
    """Search the parameters of one layer and head on all clips, then fit them to all clips.

    The search is that of an outer fold, on inner folds of all clips. grouped: whether these are
    speaker-disjoint. storage: keeps the trials, so that an interrupted search resumes.
    """
    if heads_of(plan.config.task)[head].refit is None:
        raise InputError(f"{head} cannot be saved in a bundle", do="search other heads too")
    config, everything = plan.config, np.arange(len(plan.data))
    inner = selection_folds(
        plan.data, grouped=grouped, inner_folds=config.inner_folds, seed=config.seed + 1 + len(plan.folds)
    )
    cache = LruCache(config.memory)
    layers = layer_states(plan, plan.layers_of(layer), cache=cache.section("states"))
    features = [
        fold_features(plan, layers, fold, head=head, cache=cache.section(k)) for k, fold in enumerate(inner)
    ]
    # Of these rows, the search needs no more than the layers' names and widths.
    nothing = Fold(everything, everything[:0])
    all_clips = fold_features(plan, layers, nothing, head=head, cache=cache.section("all"))
    id = StudyId(len(plan.folds), layer, head)  # the outer folds are numbered from 0
    trials = list(storage.trials(id))
    study = open_study(config, trials)
    for trial in run_trials(study, id, features, all_clips, plan.data.y, config):
        storage.add(id, trial)
        trials.append(trial)
    # Optuna gives a pruned trial its last intermediate value.
    complete = [trial for trial in trials if trial.state == TrialState.COMPLETE]
    best = max(complete, key=lambda trial: trial.value or 0.0)
    name, value = heads_of(config.task)[head].path[0], best.user_attrs[PATH_VALUE]
    params = {**best.params, **({name: value} if name else {})}
    frames = layers[0].frames if plan.store.extraction.stats == (FRAME,) else None
    return FittedSystem(
        system=refit(plan, layer, head, params, temperature=best.user_attrs[TEMPERATURE], frames=frames),
        layer=layer,
        head=head,
        params=params,
        inner_score=float(best.value or 0.0),
        trials=len(trials),
    )


def refit(
    plan: Plan,
    layer: str,
    head: str,
    params: Mapping[str, Any],
    *,
    temperature: float,
    frames: Callable[[], Frames] | None = None,
) -> System:
    """Fit a layer and head with these parameters to all clips of the plan.

    frames: reads those of the layer, for a store that holds frames.
    """
    streamed = plan.streams(head)
    one, own = head_of(plan.config.task, head, streamed=streamed), dict(params)
    value = own.pop(one.path[0]) if one.path[0] else one.path[1][0]
    prep, own = split_params(own, layers=len(plan.layers_of(layer)))
    assert one.refit is not None  # for the type checker: `fit_system` checks it
    inputs: FittedInputs | FittedFrames
    if streamed:
        inputs, rows = _fit_streamed(plan, layer, prep, kernel=one.kernel)
    elif frames is None:
        inputs, rows = _fit_inputs(plan, layer, prep, kernel=one.kernel)
    else:
        inputs, rows = _fit_frames(plan, layer, prep, frames())
    return System(inputs=inputs, head=one.refit(rows, own, value, plan.config.seed), temperature=temperature)


def _fit_inputs(
    plan: Plan, layer: str, prep: Preprocessing, *, kernel: bool
) -> tuple[FittedInputs, TrainingRows]:
    """Statistics over frames of all clips, as the head receives them."""
    names = plan.layers_of(layer)
    shares = prep.mix or (1.0,) * len(names)
    keys, stats = plan.data.keys, prep.stats.split(BOTH)
    y, speakers, rows_shares = plan.data.y, plan.data.speakers, None
    recipe = _recipe(plan, names, prep)
    if recipe is not None:
        rows_shares = np.concatenate([np.ones(len(y)), recipe.weight])
        y = np.concatenate([y, recipe.y])
    columns, layers = [], []
    for name, share in zip(names, shares, strict=True):
        X = read_layer(plan.store, name, keys, stats=stats)
        if recipe is not None:
            X = np.concatenate([X, recipe.apply(X)])
        fitted, Z = FittedLayer.fit(name, X, prep, speakers, share=share if kernel else None)
        layers.append(fitted)
        columns.append(Z)
    count = len(y)
    exact = exact_kernels_fit(count, nbytes=kernel_bytes(count, 0), memory=plan.config.memory)
    rows = TrainingRows(
        Z=np.hstack(columns),
        y=y,
        classes=len(plan.data.classes),
        landmarks=None if exact else nystroem_landmarks(count, seed=plan.config.seed),
        layers=len(names),
        speakers=speakers,
        shares=rows_shares,
    )
    return FittedInputs(tuple(layers)), rows


def _fit_streamed(
    plan: Plan, layer: str, prep: Preprocessing, *, kernel: bool
) -> tuple[FittedInputs, TrainingRows]:
    """As `_fit_inputs`, of more clips than fit into memory."""
    data, classes = plan.data, len(plan.data.classes)
    (states,) = layer_states(plan, (layer,), cache=LruCache(plan.config.memory))
    fitted, Z = fit_streamed(layer, states, prep, data.y, classes=classes, kernel=kernel)
    rows = TrainingRows(Z=Z, y=data.y, classes=classes, speakers=data.speakers, streamed=True)
    return FittedInputs((fitted,)), rows


def _fit_frames(
    plan: Plan, layer: str, prep: Preprocessing, frames: Frames
) -> tuple[FittedFrames, TrainingRows]:
    """Every frame of all clips, as the head receives them."""
    data = plan.data
    everything = np.arange(len(data))
    fitted, scaled = FittedFrames.fit(layer, frames, prep.scaling, train=everything, speakers=data.speakers)
    rows = TrainingRows(
        Z=np.empty((len(data), 0), np.float32),
        y=data.y,
        classes=len(data.classes),
        frames=scaled,
        speakers=data.speakers,
    )
    return fitted, rows


def _recipe(plan: Plan, names: Sequence[str], prep: Preprocessing) -> Recipe | None:
    """How rows are added to all clips of the plan; None without sampling."""
    if prep.sampling == "none":
        return None
    stats = plan.config.stats or plan.store.extraction.stats

    def states() -> np.ndarray:
        read = (read_layer(plan.store, name, plan.data.keys, stats=[one]) for name in names for one in stats)
        return np.hstack([scale(X, X[:0], variance=True)[0] for X in read])

    return make_recipe(plan.data.y, prep.sampling, states, seed=plan.config.seed)
