"""What a person means by a model → what an extraction's record must say, so that a cache can be searched."""

from __future__ import annotations

from pathlib import Path

from cache.errors import ModelError
from embed.acoustic import ACOUSTIC
from embed.models import PRESETS, RANDOM, canonical_name, find_model, is_folder
from embed.opening import files_hash


def wanted_fields(model: str, *, revision: str | None, cache: Path) -> dict[str, object]:
    """Fields of `cache.identity.Extraction` that states of this model have, as far as can be told here.

    A local folder is known by its weights as they are now, and so is a hub model that was downloaded here;
    one that was not (its states came from another machine) is known by its name and revision. Loads no
    weights and asks no network. Raises ModelError.
    """
    name = canonical_name(model)
    if model in ACOUSTIC:
        return {"model": name, "architecture": ACOUSTIC[model].architecture()}
    if is_folder(model):
        source = find_model(model, revision=revision)
        return {"architecture": source.architecture(), "weights": files_hash(source, cache)}
    try:
        source = find_model(model, revision=revision, offline=True)
        if model.startswith(RANDOM):
            return {"model": name, "architecture": source.architecture()}
        return {"revision": source.revision, "weights": files_hash(source, cache)}
    except ModelError:
        preset = PRESETS.get(name)
        on_hub = "/" in model or (preset is not None and preset.hub_id is not None)
        if not on_hub:
            raise
        return {"model": name} if revision is None else {"model": name, "revision": revision}
