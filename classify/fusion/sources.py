"""The models of a fusion: their studies, and whether these are on the same clips."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from layerprobe.cache.common.console import say
from layerprobe.cache.common.errors import InputError
from layerprobe.cache.common.text import format_count, format_list
from layerprobe.cache.identity.extraction import model_slug
from layerprobe.cache.store.feature_store import FeatureStore
from layerprobe.classify.config import StudyConfig
from layerprobe.classify.controls.baselines import adapt_config
from layerprobe.classify.search.plan import Plan, make_plan
from layerprobe.embed.manifest.clips import Clip

MODELS = "models"  # folder of the single models' runs


@dataclass(frozen=True, kw_only=True)
class Source:
    """One model of a fusion. name: short, without + and :, for names of systems. run: its run folder."""

    name: str
    plan: Plan
    run: Path


def make_sources(
    clips: Sequence[Clip], stores: Sequence[FeatureStore], config: StudyConfig, out: Path
) -> list[Source]:
    """The study of each model, planned. Raises InputError for models that cannot be fused.

    Layers and heads are those of the configuration that the model can have, see `adapt_config`.
    """
    models = [store.extraction.model for store in stores]
    names = [model_slug(model) for model in models]
    twice = [model for number, model in enumerate(models) if names[number] in names[:number]]
    if twice:
        raise InputError(f"--model names {twice[0]} twice", do="name each model once")
    plans = [make_plan(clips, store, adapt_config(config, store)) for store in stores]
    for model, plan in zip(models, plans, strict=True):
        if config.layers and not plan.config.layers and len(plan.store.extraction.layers) > 1:
            say(f"note: {model} has none of the layers that are named: all of its layers are searched")
    for plan in plans:
        plan.studies()  # raises for layers and heads that do not exist
    for model, plan in zip(models[1:], plans[1:], strict=True):
        _check_same_clips(models[0], plans[0], model, plan)
    return [
        Source(name=name, plan=plan, run=out / MODELS / name) for name, plan in zip(names, plans, strict=True)
    ]


def _check_same_clips(first: str, one: Plan, second: str, two: Plan) -> None:
    """Raise InputError, naming clips, unless both plans have the same clips."""
    if one.data.ids == two.data.ids:
        return
    only = {
        f"{model} alone": [id for id in a.data.ids if id not in set(b.data.ids)]
        for model, a, b in ((first, one, two), (second, two, one))
    }
    differences = [
        f"{format_count(len(ids), 'clip')} with states of {model} ({format_list(ids)})"
        for model, ids in only.items()
        if ids
    ]
    raise InputError(
        f"{first} and {second} have states of different clips: {'; '.join(differences)}",
        do="embed these clips with both, or leave them out of the table",
    )
