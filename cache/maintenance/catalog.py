"""List the stores of a cache, and find the one with certain states."""

from __future__ import annotations

import os
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from layerprobe.cache.common.console import say
from layerprobe.cache.common.disk import SHARE, is_locked
from layerprobe.cache.common.errors import ForbiddenError, StoreError
from layerprobe.cache.common.text import program
from layerprobe.cache.identity import digests
from layerprobe.cache.identity.extraction import FRAME, Extraction, model_slug
from layerprobe.cache.store import failures
from layerprobe.cache.store.feature_store import EXTRACTION_FILE, FeatureStore
from layerprobe.cache.store.index import ShardStatus
from layerprobe.cache.store.location.folders import open_shards, up_to_date
from layerprobe.cache.store.shard import list_shards
from layerprobe.cache.store.writer import WRITERS_LOCK

# Fields that distinguish several stores of one model, in the order of messages: all that decide the
# fingerprint, but for the widths, which follow from the layers.
DISTINGUISHING_FIELDS = (
    *("layers", "stats", "channels", "track", "dtype", "precision", "window", "context"),
    *("revision", "weights", "architecture", "normalise"),
    *("rate", "frame_rate", "receptive_field", "convention"),
)

AUDIT_FOLDER = "audit"  # folder of a cache where an audit saves its measurements


@dataclass(frozen=True)
class StoreInfo:
    """One store. `failed`: clips that the last runs over them could not embed; None if unreadable."""

    model: str
    fingerprint: str
    folder: Path
    layers: tuple[str, ...]
    stats: tuple[str, ...]
    dtype: str
    clips: int
    duplicates: int  # copies that `compact` would remove
    hours: float
    failed: int | None
    shards: int
    nbytes: int
    last_write: datetime
    being_written: bool  # a process has it open for writing now


@dataclass(frozen=True)
class CacheInfo:
    """Every store of a cache, and a message for each folder that cannot be read as one.

    remembered: bytes of what is saved about audio files (digests, measurements of an audit).
    """

    cache: Path
    stores: list[StoreInfo]
    faults: list[str]
    remembered: int


def open_stores(cache: Path, *, model: str | None = None) -> tuple[list[FeatureStore], list[StoreError]]:
    """Every store of a cache, or those of one model name; and the errors of unreadable stores."""
    cache = up_to_date(cache)
    stores: list[FeatureStore] = []
    faults: list[StoreError] = [
        ForbiddenError("cannot be read (Permission denied)", where=str(folder), do=SHARE)
        for folder in (cache, *sorted(cache.glob("*")))  # which a search passes over without an error
        if folder.is_dir() and not os.access(folder, os.R_OK | os.X_OK)
    ]
    for folder in sorted(path for path in cache.glob("*/*") if path.is_dir()):
        try:
            if (folder / EXTRACTION_FILE).exists():
                stores.append(FeatureStore(folder))
            elif shards := len(list_shards(folder)):
                do = "embed with the model and options that filled it, which restores it: no state is lost"
                raise StoreError(f"holds {shards} shards, but no {EXTRACTION_FILE}", where=str(folder), do=do)
        except StoreError as error:
            faults.append(error)
    return [store for store in stores if model in (None, store.extraction.model)], faults


def describe_cache(cache: Path, *, model: str | None = None) -> CacheInfo:
    """Describe every store of a cache, or those of one model. A damaged store is reported, not raised."""
    stores, errors = open_stores(cache, model=model)
    described = []
    for store in stores:
        try:
            described.append(_describe_store(store, errors))
        except StoreError as error:
            errors.append(error)
    remembered = [cache / digests.DATABASE, *(cache / AUDIT_FOLDER).rglob("*")]
    nbytes = sum(path.stat().st_size for path in remembered if path.is_file())
    return CacheInfo(cache, described, [error.line() for error in errors], nbytes)


def _describe_store(store: FeatureStore, errors: list[StoreError]) -> StoreInfo:
    keys, index, extraction = store.keys(), store.index(), store.extraction
    record = (store.folder / EXTRACTION_FILE).stat()
    status = [ShardStatus(record.st_size, record.st_mtime), *store.shards.status(index.shards).values()]
    failed = None
    try:
        stored = set(keys)
        failed = sum(failure.key not in stored for failure in failures.read(store.folder).values())
    except StoreError as error:
        errors.append(error)
    return StoreInfo(
        model=extraction.model,
        fingerprint=extraction.fingerprint(),
        folder=store.folder,
        layers=extraction.layers,
        stats=extraction.stats,
        dtype=extraction.dtype,
        clips=len(keys),
        duplicates=sum(map(len, index.shards.values())) - len(keys),
        hours=float(store.seconds(keys).sum(dtype="f8")) / 3600,
        failed=failed,
        shards=len(index.shards),
        nbytes=sum(one.nbytes for one in status),
        last_write=datetime.fromtimestamp(max(one.modified for one in status), tz=UTC),
        being_written=is_locked(store.shards.written / WRITERS_LOCK),
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
    """The one store that contains the requested states.

    model: as the user typed it, for messages. match: fields of `Extraction` and their required values.
    layers, stats: must be stored. frames: whether every frame must be stored. fingerprint: its required
    beginning, to choose between several. options: of the `embed` command that computes it, for messages.

    Of several that differ in layers and statistics only, it is the one that includes the others; stores
    without a clip count only where there are no others. Raises StoreError where there is none, saying what is
    stored and how to compute the rest; for several, saying how they differ; and where a store of this model
    cannot be read.
    """
    stores, faults = open_stores(cache)
    folder = model_slug(str(match.get("model", model)))
    for fault in faults:
        if Path(fault.where) == cache or folder in Path(fault.where).parts[len(cache.parts) :]:
            raise fault
    of_model = [s for s in stores if all(getattr(s.extraction, name) == v for name, v in match.items())]
    fitting = [
        store
        for store in of_model
        if (store.extraction.stats == (FRAME,)) == frames
        and set(layers) <= set(store.extraction.layers)
        and set(stats) <= set(store.extraction.stats)
        and store.extraction.fingerprint().startswith(fingerprint or "")
    ]
    if fitting:
        # An extraction of which every clip failed has a store, too, but leaves nothing to choose from.
        return _widest(model, [s for s in fitting if _has_shards(s)] or fitting, cache)
    words = [*program().split(), "embed", "TABLE", "--model", model, "--cache", str(cache)]
    run = f"run: {shlex.join(words)}" + (" --frames" if frames else "")
    if not of_model:
        others = [store.extraction for store in stores if model_slug(store.extraction.model) == folder]
        changed = [name for name, v in match.items() if others and all(getattr(e, name) != v for e in others)]
        if changed:
            what = f"holds no states of {model} with its present {' and '.join(changed)}"
            raise StoreError(f"{what} (it holds some of another)", where=str(cache), do=run)
        raise no_states_error(model, stores, cache, do=run)
    requested = {
        "layers": ",".join(layers),
        "states of" if frames and not stats else "statistics": ",".join(stats)
        or ("every frame" if frames else "over frames"),
        "fingerprint": fingerprint or "",
    }
    missing = ", ".join(f"{name} {value}" for name, value in requested.items() if value)
    stored = "; ".join(_summary(store.extraction) for store in of_model)
    what = f"holds {model}, but not with {missing} (there is {stored})"
    raise StoreError(what, where=str(cache), do=f"{run} {options}".rstrip())


def no_states_error(model: str, stores: Sequence[FeatureStore], cache: Path, *, do: str = "") -> StoreError:
    """The error for a model without any states in a cache of these stores."""
    names = ", ".join(dict.fromkeys(store.extraction.model for store in stores)) or "nothing"
    return StoreError(f"holds no states of {model} (it holds {names})", where=str(cache), do=do)


def _has_shards(store: FeatureStore) -> bool:
    return bool(open_shards(store.folder, store.extraction.fingerprint()).names())


def _widest(model: str, stores: Sequence[FeatureStore], cache: Path) -> FeatureStore:
    """The store whose layers and statistics include those of all others that are alike in everything else.

    A second extraction of a few layers must not make the first one ambiguous. Raises StoreError where the
    stores differ in more, or none includes the others.
    """

    def extent(store: FeatureStore) -> set[tuple[str, str]]:
        return {(layer, stat) for layer in store.extraction.layers for stat in store.extraction.stats}

    def other_fields(store: FeatureStore) -> dict[str, object]:
        return {k: v for k, v in vars(store.extraction).items() if k not in ("layers", "widths", "stats")}

    widest = max(stores, key=lambda store: len(extent(store)))
    alike = all(
        other_fields(store) == other_fields(widest) and extent(store) <= extent(widest) for store in stores
    )
    if not alike:
        raise _several_stores_error(model, stores, cache)
    if len(stores) > 1:
        say(
            f"note: {cache} holds {model} in {len(stores)} ways; used: {_summary(widest.extraction)}, which "
            "includes the others (to choose: --fingerprint)"
        )
    return widest


def _several_stores_error(model: str, stores: Sequence[FeatureStore], cache: Path) -> StoreError:
    differing = [
        name
        for name in DISTINGUISHING_FIELDS
        if len({str(getattr(store.extraction, name)) for store in stores}) > 1
    ]
    ways = []
    for extraction in (store.extraction for store in stores):
        values = ", ".join(f"{name} {_short(getattr(extraction, name))}" for name in differing)
        ways.append(f"{extraction.fingerprint()}: {values}")
    what = f"holds {model} in {len(stores)} ways ({'; '.join(ways)})"
    return StoreError(what, where=str(cache), do="choose one with --fingerprint")


def _summary(extraction: Extraction) -> str:
    layers, stats = _short(extraction.layers), _short(extraction.stats)
    return f"{extraction.fingerprint()}: layers {layers}, statistics {stats}"


def _short(value: object) -> str:
    text = ",".join(map(str, value)) if isinstance(value, tuple) else str(value)
    return text if len(text) <= 40 else text[:40] + "…"
