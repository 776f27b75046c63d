"""A run on tones with its bundle, for tests of predictions."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from layerprobe.classify.config import StudyConfig
from layerprobe.classify.predict.bundle import Bundle
from layerprobe.classify.predict.make import make_bundle
from layerprobe.classify.search.study import run_study
from layerprobe.embed.config import EmbedConfig
from layerprobe.embed.extract.run import embed
from layerprobe.embed.manifest.clips import Clip, read_manifest
from layerprobe.embed.models.lookup import find_model_store
from tests.run import write_corpus

MODEL = "random:hubert-tiny"


def study(**changes: Any) -> StudyConfig:
    settings: dict[str, Any] = {"folds": 2, "inner_folds": 2, "trials": 2, "jobs": 1, "layers": ("2",)}
    return StudyConfig(**{**settings, **changes})


def make_run(
    folder: Path,
    *,
    model: str = MODEL,
    bundle: bool = True,
    frames: bool = False,
    dtype: str = EmbedConfig.dtype,
    **changes: Any,
) -> Path:
    """clips.csv, features and a finished run `run` in `folder`, with its bundle; the run folder.

    frames, dtype: of the features. changes: settings of the study, by default of the search on layer 2.
    """
    table = folder / "clips.csv"
    if not table.exists():
        write_corpus(folder, clips=36, speakers=6)
    clips = read_manifest(table)
    cache = folder / "features"
    embed(clips, EmbedConfig(model=model, cache=cache, frames=frames, dtype=dtype))
    store, config = find_model_store(cache, model, frames=frames), study(**changes)
    run = run_study(clips, store, folder / "run", config, command={"table": str(table)})
    if bundle:
        make_bundle(run, clips, store, config)
    return run


def clips_of(run: Path) -> list[Clip]:
    return read_manifest(run.parent / "clips.csv")


def assert_alike_from_cache_and_sound(bundle: Bundle, run: Path) -> None:
    """The run's clips get the same probabilities from cached states as from their sound, within float16."""
    clips = clips_of(run)
    cached = bundle.predict_clips(clips, cache=run.parent / "features")
    for one, two in zip(cached, bundle.predict_clips(clips), strict=True):
        np.testing.assert_allclose(one.probabilities, two.probabilities, atol=5e-3)
