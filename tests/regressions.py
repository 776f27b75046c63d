"""A small study of numbers, for tests: clips with a column `arousal`, their states, and its settings."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from layerprobe.cache.store.feature_store import FeatureStore
from layerprobe.classify.config import StudyConfig
from layerprobe.embed.manifest.clips import Clip, read_manifest, write_manifest
from tests.studies import made_clips, made_store, with_numbers


def number_clips(folder: Path, *, signal: float = 2.0) -> tuple[list[Clip], FeatureStore]:
    """The clips of a table `clips.csv` in `folder`, and a store of states that encode their numbers."""
    clips = with_numbers(made_clips(folder / "corpus", speakers=9, each=8))
    write_manifest(clips, folder / "clips.csv")
    clips = read_manifest(folder / "clips.csv")
    return clips, made_store(folder / "features", clips, signal=signal)


def page_data(page: Path, name: str) -> Any:
    """What a report's page holds for the script, of one figure or map; None if it has no such thing."""
    text = page.read_text().partition(f'id="data-run0-{name}">')[2].partition("</script>")[0]
    return json.loads(text) if text else None


def number_study(**changes: Any) -> StudyConfig:
    settings: dict[str, Any] = {
        **{"target": "arousal", "task": "regression", "folds": 3, "inner_folds": 2, "trials": 3, "jobs": 1},
        **changes,
    }
    return StudyConfig(**settings)
