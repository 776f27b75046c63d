"""Every byte of a store against the checksums that its shards carry."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import h5py

from layerprobe.cache.common.disk import TEMPORARY_PREFIX, abandoned_files, fsync_folder
from layerprobe.cache.common.errors import ForeignStoreError, StoreError
from layerprobe.cache.identity.extraction import Extraction
from layerprobe.cache.maintenance.rewrite import MAINTENANCE_LOCK, maintenance_lock
from layerprobe.cache.store import costs, failures
from layerprobe.cache.store.feature_store import EXTRACTION_FILE, FeatureStore
from layerprobe.cache.store.shard import (
    SHARD_NAME,
    ClipEntry,
    checksum,
    list_shards,
    open_shard,
    read_entries,
)
from layerprobe.cache.store.writer import WRITERS_LOCK

QUARANTINE = "damaged"  # the folder into which damaged shards are moved; nothing reads it
STORE_FILES = {
    EXTRACTION_FILE,
    failures.FILE_NAME,
    failures.LOCK,
    costs.FILE_NAME,
    costs.LOCK,
    MAINTENANCE_LOCK,
    WRITERS_LOCK,
    QUARANTINE,
}


@dataclass(frozen=True)
class ShardReport:
    """One shard that was read whole.

    reason: what is wrong with it; empty if it is sound.
    clips: whose states it holds: their paths where these were told, else their keys; empty where the shard's
    own list is damaged.
    """

    path: Path
    reason: str
    clips: list[str]
    nbytes: int


@dataclass(frozen=True)
class Verification:
    """What `verify` found in one store."""

    folder: Path
    model: str
    fingerprint: str
    shards: int
    clips: int  # of sound shards, duplicates counted
    nbytes: int
    damaged: list[ShardReport]
    quarantined: list[Path]
    abandoned_files: list[Path]  # left by dead processes; the next writer removes them
    foreign_files: list[Path]  # files that are no part of a store, which nothing reads


def verify(store: FeatureStore, *, repair: bool = False, workers: int = 4) -> Verification:
    """Read every shard whole and compare it with its name: one flipped bit anywhere is found.

    repair: move damaged shards to FOLDER/damaged, so that the next embed computes just their clips.
    Raises StoreError where the folder cannot be read, or a repair cannot be made.
    """
    folder = store.folder

    def report(path: Path) -> ShardReport | None:
        try:
            return check_shard(path, store.extraction)
        except FileNotFoundError:
            return None  # compacted away meanwhile

    with ThreadPoolExecutor(workers) as pool:
        found = list(pool.map(report, sorted(folder / name for name in list_shards(folder))))
    reports = [report for report in found if report is not None]
    damaged = [report for report in reports if report.reason]
    return Verification(
        folder=folder,
        model=store.extraction.model,
        fingerprint=store.extraction.fingerprint(),
        shards=len(reports),
        clips=sum(len(report.clips) for report in reports if not report.reason),
        nbytes=sum(report.nbytes for report in reports),
        damaged=damaged,
        quarantined=_set_aside(folder, [report.path for report in damaged]) if repair and damaged else [],
        abandoned_files=abandoned_files(folder),
        foreign_files=[
            path
            for path in sorted(folder.iterdir())
            if path.name not in STORE_FILES
            and not SHARD_NAME.fullmatch(path.name)
            and not path.name.startswith(TEMPORARY_PREFIX)
        ],
    )


def quarantine_record(fault: StoreError) -> bool:
    """Move the record that `open_stores` told of to FOLDER/damaged: the next embed writes it anew.

    Returns whether it did: one of another version is sound, and one that is lost cannot be moved.
    Raises StoreError.
    """
    if isinstance(fault, ForeignStoreError):
        return False
    folder = Path(fault.where) if Path(fault.where).is_dir() else Path(fault.where).parent
    return (folder / EXTRACTION_FILE).exists() and bool(_set_aside(folder, [folder / EXTRACTION_FILE]))


def check_shard(path: Path, extraction: Extraction) -> ShardReport:
    """Read one shard whole. Raises FileNotFoundError."""
    reason, entries, nbytes = "", [], 0
    try:
        nbytes = path.stat().st_size
        told, found = path.name.removeprefix("shard-").removesuffix(".h5"), checksum(path)
        if told != found:
            reason = f"its bytes have the checksum {found}, its name says {told}"
        with open_shard(path, extraction.fingerprint()) as file:
            entries = read_entries(file, path)
            reason = reason or _misfit(file, entries, extraction)
    except FileNotFoundError:
        raise
    except StoreError as error:
        reason = reason or error.what
    except OSError as error:
        reason = f"cannot be read ({error.strerror or error})"
    return ShardReport(path, reason, [entry.path or entry.key for entry in entries], nbytes)


def _misfit(file: h5py.File, entries: list[ClipEntry], extraction: Extraction) -> str:
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
    with maintenance_lock(folder):
        aside = folder / QUARANTINE
        aside.mkdir(exist_ok=True)
        moved = [path.replace(aside / path.name) for path in paths if path.exists()]
        fsync_folder(aside)
        fsync_folder(folder)
    return moved
