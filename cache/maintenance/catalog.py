"""What a cache holds, at a glance."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

from layerprobe.cache.common.disk import is_locked
from layerprobe.cache.common.errors import StoreError
from layerprobe.cache.common.text import program
from layerprobe.cache.identity import digests
from layerprobe.cache.identity.extraction import FRAME, Extraction
from layerprobe.cache.store import failures
from layerprobe.cache.store.feature_store import EXTRACTION_FILE, FeatureStore, model_slug
from layerprobe.cache.store.shard import list_shards, stat_shards
from layerprobe.cache.store.writer import WRITERS_LOCK

# Fields in which stores of one model may differ, and that a person can tell apart.
DISTINGUISHING_FIELDS = (
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

AUDIT_FOLDER = "audit"  # folder of a cache where an audit remembers what it measured


@dataclass(frozen=True)
class StoreInfo:
    """One store. `failed` clips are those that the last runs over them could not embed."""

    model: str
    fingerprint: str
    folder: Path
    layers: tuple[str, ...]
    stats: tuple[str, ...]
    dtype: str
    clips: int
    duplicates: int  # rows that `compact` would remove
    hours: float
    failed: int | None
    shards: int
    nbytes: int
    last_write: datetime
    being_written: bool  # a process has it open for writing now


@dataclass(frozen=True)
class CacheInfo:
    """Every store of a cache, and a line for each folder that cannot be read as one.

    remembered: bytes of what is known of sound files (hashes, an audit's measures); safe to delete.
    """

    cache: Path
    stores: list[StoreInfo]
    faults: list[str]
    remembered: int


def open_stores(cache: Path, *, model: str | None = None) -> tuple[list[FeatureStore], list[StoreError]]:
    """Every store of a cache, or those of one model as it was typed; and the faults of unreadable ones."""
    stores, faults = [], []
    for folder in sorted(path for path in cache.glob("*/*") if path.is_dir()):
        try:
            if (folder / EXTRACTION_FILE).exists():
                stores.append(FeatureStore(folder))
            elif shards := len(list_shards(folder)):
                do = "embed with the model and options that filled it, which writes it anew: no state is lost"
                raise StoreError(f"holds {shards} shards, but no {EXTRACTION_FILE}", where=str(folder), do=do)
        except StoreError as error:
            faults.append(error)
    return [s for s in stores if model in (None, s.extraction.model)], faults


def describe(cache: Path, *, model: str | None = None) -> CacheInfo:
    """Look at every store of a cache, or at those of one model. A damaged one is told, not raised."""
    stores, errors = open_stores(cache, model=model)
    told = []
    for store in stores:
        try:
            told.append(_describe(store, errors))
        except StoreError as error:
            errors.append(error)
    beside = [cache / digests.DATABASE, *(cache / AUDIT_FOLDER).rglob("*")]
    remembered = sum(path.stat().st_size for path in beside if path.is_file())
    return CacheInfo(cache, told, [error.line() for error in errors], remembered)


def _failed(store: FeatureStore, held: set[str], errors: list[StoreError]) -> int | None:
    try:
        return sum(failure.key not in held for failure in failures.read(store.folder).values())
    except StoreError as error:
        errors.append(error)
        return None


def _describe(store: FeatureStore, errors: list[StoreError]) -> StoreInfo:
    keys, index, extraction = store.keys(), store.index(), store.extraction
    held = set(keys)
    stats = [(store.folder / EXTRACTION_FILE).stat(), *stat_shards(store.folder, index.shards).values()]
    return StoreInfo(
        model=extraction.model,
        fingerprint=extraction.fingerprint(),
        folder=store.folder,
        layers=extraction.layers,
        stats=extraction.stats,
        dtype=extraction.dtype,
        clips=len(keys),
        duplicates=sum(map(len, index.shards.values())) - len(index.digests),
        hours=float(store.seconds(keys).sum(dtype="f8")) / 3600,
        failed=_failed(store, held, errors),
        shards=len(index.shards),
        nbytes=sum(s.st_size for s in stats),
        last_write=datetime.fromtimestamp(max(s.st_mtime for s in stats), tz=UTC),
        being_written=is_locked(store.folder / WRITERS_LOCK),
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
    folder = model_slug(str(match.get("model", model)))
    own = [fault for fault in faults if folder in Path(fault.where).parts[len(cache.parts) :]]
    of_model = [s for s in stores if all(getattr(s.extraction, k) == v for k, v in match.items())]
    found = [s for s in of_model if _holds(s.extraction, layers, stats, frames)]
    if fingerprint is not None:
        found = [s for s in found if s.extraction.fingerprint().startswith(fingerprint)]
    if own:
        raise own[0]
    if len(found) == 1:
        return found[0]
    words = shlex.join([*program().split(), "embed", "TABLE", "--model", model, "--cache", str(cache)])
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
    raise no_states_error(model, stores, cache, do=run)


def no_states_error(model: str, stores: Sequence[FeatureStore], cache: Path, *, do: str = "") -> StoreError:
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
    unlike = [
        name for name in DISTINGUISHING_FIELDS if len({str(asdict(s.extraction)[name]) for s in others}) > 1
    ]
    return ", ".join(f"{name} {_short(mine[name])}" for name in unlike)


def _what(extraction: Extraction) -> str:
    told = f"{extraction.fingerprint()}: layers {_short(extraction.layers)}"
    return f"{told}, statistics {_short(extraction.stats)}"


def _short(value: object) -> str:
    text = ",".join(map(str, value)) if isinstance(value, tuple) else str(value)
    return text if len(text) <= 40 else text[:40] + "…"
