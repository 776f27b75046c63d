"""run.json → the table, store and settings of the run it tells of, to make it again."""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from layerprobe.cache.common.errors import InputError
from layerprobe.cache.store.feature_store import FeatureStore
from layerprobe.classify.config import MANNER, StudyConfig, TrustConfig
from layerprobe.classify.runs.folder import read_json


@dataclass(frozen=True, kw_only=True)
class Recorded:
    """What a run was made from; the columns as `embed.manifest.clips.read_manifest` takes them."""

    table: Path
    path_column: str | None
    speaker_column: str | None
    store: FeatureStore
    config: StudyConfig
    trust: TrustConfig


def read_recorded(record: Path, *, manner: dict[str, Any]) -> Recorded:
    """Read run.json, or the one of a run folder.

    manner: processes and storage of the new run, and its memory if that is not to be the recorded one.

    Raises InputError where it is no record of `classify`, or its store now holds other states.
    """
    path = record / "run.json" if record.is_dir() else record
    raw = read_json(path)
    known = {field.name for field in fields(StudyConfig)}
    try:
        told, command = raw["config"], raw["command"]
        settings: dict[str, Any] = {
            k: tuple(v) if isinstance(v, list) else v for k, v in told.items() if k not in MANNER
        }
        table, folder, states = Path(command["table"]), Path(raw["store"]), raw["states"]
    except (KeyError, TypeError, AttributeError) as error:
        raise InputError(f"is no record of classify (no {error})", where=str(path)) from error
    if set(told) != known:
        odd = ", ".join(sorted(set(told) ^ known))
        raise InputError(f"was written by another version of layerprobe ({odd})", where=str(path))
    store = FeatureStore(folder)
    if store.extraction.fingerprint() != states:
        raise InputError(f"was made on states {states}, and {folder} holds others", where=str(path))
    return Recorded(
        table=table,
        path_column=command.get("path_column"),
        speaker_column=command.get("speaker_column"),
        store=store,
        config=StudyConfig(**{**settings, "memory": told["memory"], **manner}),
        # A run made before there were controls is repeated without them.
        trust=TrustConfig(audit=command.get("audit", False), controls=command.get("controls", "none")),
    )
