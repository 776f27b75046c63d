"""Every byte of a store against the checksums that its shards carry."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import h5py

from cache import failures
from cache.durable import PREFIX, fsync_folder, temporaries
from cache.errors import StoreError
from cache.identity import Extraction
from cache.maintenance import LOCK, maintaining
from cache.shard import NAME, Entry, checksum, list_shards, open_shard, read_entries
from cache.store import RECORD, FeatureStore
from cache.writer import WRITERS

ASIDE = "damaged"  # the folder into which damaged shards are moved; nothing reads it
KNOWN = {RECORD, failures.NAME, failures.LOCK, LOCK, WRITERS, ASIDE}


@dataclass(frozen=True)
class DamagedShard:
    """A shard that must not be read, and whose states it holds.

    clips: their paths where these were told, else their keys; empty where the shard's own list is damaged.
    """

    path: Path
    reason: str
    clips: list[str]


@dataclass(frozen=True)
class Verification:
    """What `verify` found in one store."""

    folder: Path
    model: str
    fingerprint: str
    shards: int
    clips: int
    nbytes: int
    damaged: list[DamagedShard]
    set_aside: list[Path]
    unfinished: list[Path]  # left by dead processes; the next writer removes them
    strangers: list[Path]  # files that are no part of a store, which nothing reads


def verify(store: FeatureStore, *, repair: bool = False, workers: int = 4) -> Verification:
    """Read every shard whole and compare it with its name: one flipped bit anywhere is found.

    repair: move damaged shards to FOLDER/damaged, so that the next embed computes just their clips.
    Raises StoreError where the folder cannot be read, or a repair cannot be made.
    """
    folder = store.folder
    paths = sorted(folder / name for name in list_shards(folder))
    with ThreadPoolExecutor(workers) as pool:
        reports = list(pool.map(lambda path: inspect(path, store.extraction), paths))
    damaged = [report for report in reports if isinstance(report, DamagedShard)]
    return Verification(
        folder=folder,
        model=store.extraction.model,
        fingerprint=store.extraction.fingerprint(),
        shards=len(paths),
        clips=sum(report for report in reports if isinstance(report, int)),
        nbytes=sum(path.stat().st_size for path in paths),
        damaged=damaged,
        set_aside=_set_aside(folder, [shard.path for shard in damaged]) if repair and damaged else [],
        unfinished=temporaries(folder)[0],
        strangers=[
            path
            for path in sorted(folder.iterdir())
            if path.name not in KNOWN and not NAME.fullmatch(path.name) and not path.name.startswith(PREFIX)
        ],
    )


def inspect(path: Path, extraction: Extraction) -> int | DamagedShard:
    """A shard's number of clips, or what is wrong with it."""
    reason, entries = "", []
    try:
        told, found = path.name.split("-")[1].split(".")[0], checksum(path)
        if told != found:
            reason = f"its bytes have the checksum {found}, its name says {told}"
        with open_shard(path, extraction.fingerprint()) as file:
            entries = read_entries(file, path)
            reason = reason or _misfit(file, entries, extraction)
    except StoreError as error:
        reason = reason or error.what
    except OSError as error:
        reason = f"cannot be read ({error.strerror or error})"
    return DamagedShard(path, reason, [e.path or e.key for e in entries]) if reason else len(entries)


def _misfit(file: h5py.File, entries: list[Entry], extraction: Extraction) -> str:
    """How an intact shard's arrays differ from what its store says they are; empty if they do not."""
    rows = sum(entry.rows for entry in entries)
    for layer, width in zip(extraction.layers, extraction.widths, strict=True):
        dataset = file["states"].get(layer)
        shape = (rows, len(extraction.stats), width)
        if dataset is None:
            return f"layer {layer} is not in it"
        if dataset.shape != shape or dataset.dtype != extraction.dtype:
            return f"layer {layer} is {dataset.dtype} {dataset.shape}, not {extraction.dtype} {shape}"
    return ""


def _set_aside(folder: Path, paths: list[Path]) -> list[Path]:
    with maintaining(folder):
        aside = folder / ASIDE
        aside.mkdir(exist_ok=True)
        moved = [path.replace(aside / path.name) for path in paths if path.exists()]
        fsync_folder(aside)
        fsync_folder(folder)
    return moved
