"""Which store of a cache a person means: by what is known of the model, and by what must be in it."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

from layerprobe.cache.common.errors import StoreError
from layerprobe.cache.identity.extraction import FRAME, Extraction
from layerprobe.cache.maintenance.catalog import open_stores
from layerprobe.cache.store.feature_store import FeatureStore, slug

# Fields in which stores of one model may differ, and that a person can tell apart.
TELLING = (
    "layers",
    "stats",
    "dtype",
    "precision",
    "window",
    "revision",
    "weights",
    "architecture",
    "normalise",
)


def find_store(
    cache: Path,
    *,
    model: str,
    match: Mapping[str, object],
    layers: Sequence[str] = (),
    stats: Sequence[str] = (),
    frames: bool = False,
    fingerprint: str | None = None,
    options: str = "",
) -> FeatureStore:
    """The one store that holds what is asked for.

    model: as the person typed it, for messages. match: fields of `Extraction` that must have these values.
    layers, stats: must be among those held. frames: whether every frame must be kept. fingerprint: how it
    must begin, to choose between several. options: what `embed` must be told to compute it, for messages.

    Raises StoreError where there is none, saying what is there and how to compute it, or more than one,
    saying in what they differ; or where one of this model cannot be read.
    """
    stores, faults = open_stores(cache)
    folder = slug(str(match.get("model", model)))
    own = [fault for fault in faults if folder in Path(fault.where).parts[len(cache.parts) :]]
    of_model = [s for s in stores if all(getattr(s.extraction, k) == v for k, v in match.items())]
    found = [s for s in of_model if _holds(s.extraction, layers, stats, frames)]
    if fingerprint is not None:
        found = [s for s in found if s.extraction.fingerprint().startswith(fingerprint)]
    if own:
        raise own[0]
    if len(found) == 1:
        return found[0]
    words = shlex.join(["python", "cli.py", "embed", "TABLE", "--model", model, "--cache", str(cache)])
    where, run = str(cache), f"run: {words}"
    run += " --frames" if frames else ""
    if found:
        ways = "; ".join(f"{s.extraction.fingerprint()}: {_differences(s, found)}" for s in found)
        what = f"holds {model} in {len(found)} ways ({ways})"
        raise StoreError(what, where=where, do="choose one with --fingerprint")
    if of_model:
        wanted = {
            "layers": ",".join(layers),
            "statistics": ",".join(stats) or ("every frame" if frames else "over frames"),
            "fingerprint": fingerprint or "",
        }
        asked = ", ".join(f"{name} {value}" for name, value in wanted.items() if value)
        held = "; ".join(_what(s.extraction) for s in of_model)
        what = f"holds {model}, but not with {asked} (there is {held})"
        raise StoreError(what, where=where, do=f"{run} {options}".rstrip())
    raise no_states(model, stores, cache, do=run)


def no_states(model: str, stores: Sequence[FeatureStore], cache: Path, *, do: str = "") -> StoreError:
    """What a person is told who names a model of which a cache of these stores has nothing."""
    names = ", ".join(dict.fromkeys(store.extraction.model for store in stores)) or "nothing"
    return StoreError(f"holds no states of {model} (it holds {names})", where=str(cache), do=do)


def _holds(extraction: Extraction, layers: Sequence[str], stats: Sequence[str], frames: bool) -> bool:
    if (extraction.stats == (FRAME,)) != frames:
        return False
    return set(layers) <= set(extraction.layers) and set(stats) <= set(extraction.stats)


def _differences(store: FeatureStore, others: Sequence[FeatureStore]) -> str:
    """The telling fields in which the stores are not all alike, as this store has them."""
    mine = asdict(store.extraction)
    unlike = [name for name in TELLING if len({str(asdict(s.extraction)[name]) for s in others}) > 1]
    return ", ".join(f"{name} {_short(mine[name])}" for name in unlike)


def _what(extraction: Extraction) -> str:
    told = f"{extraction.fingerprint()}: layers {_short(extraction.layers)}"
    return f"{told}, statistics {_short(extraction.stats)}"


def _short(value: object) -> str:
    text = ",".join(map(str, value)) if isinstance(value, tuple) else str(value)
    return text if len(text) <= 40 else text[:40] + "…"
