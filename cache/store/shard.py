"""One immutable HDF5 file of states: written completely, synced, renamed; checked when it is opened."""

from __future__ import annotations

import errno
import hashlib
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from math import ceil, prod
from pathlib import Path

import h5py
import numpy as np

from layerprobe.cache.common.disk import FORBIDDEN, SHARE, open_temporary, publish
from layerprobe.cache.common.errors import ForbiddenError, StoreError
from layerprobe.cache.common.text import program
from layerprobe.cache.identity.extraction import Extraction
from layerprobe.cache.store.deferred_error_file import DeferredErrorFile
from layerprobe.cache.store.keys import digests_to_keys, keys_to_digests

SCHEMA = 1
SHARD_NAME = re.compile(r"shard-([0-9a-f]{32})\.h5")
CHUNK_ROWS = 128
COLUMNS = {"offsets": "<i8", "keys": "S64", "frames": "<i4", "seconds": "<f4", "paths": "S"}
# What reading a damaged file raises: HDF5's and NumPy's errors; a malformed key is a ValueError.
READ_ERRORS = (OSError, LookupError, ValueError, ArithmeticError, RuntimeError, TypeError, MemoryError)
REPAIR = f"run `{program()} cache verify --repair`, then embed again"


@dataclass(frozen=True)
class ClipEntry:
    """One clip of a shard: `rows` of states, 1 where statistics are stored and `frames` where frames are."""

    key: str
    rows: int
    frames: int
    seconds: float
    path: str = ""  # where it was first seen; for information and export, not part of its identity


class ShardWriter:
    """A shard being written; a context manager. Leaving it before it was published removes the file.

    rows: number of rows, if known; then no chunk is padded by more than a few rows.
    """

    def __init__(self, folder: Path, extraction: Extraction, *, rows: int | None = None) -> None:
        self._folder = folder
        self._disk, self._temporary = open_temporary(folder)
        self._output = DeferredErrorFile(self._disk.fileno())
        # v110: all metadata checksummed. No chunk cache: what it holds is written by `close`, under the GIL.
        self._file = h5py.File(self._output, "w", libver=("v110", "v110"), rdcc_nbytes=0)
        chunk = CHUNK_ROWS if not rows else ceil(rows / ceil(rows / CHUNK_ROWS))
        stats = len(extraction.stats)
        for layer, width in zip(extraction.layers, extraction.widths, strict=True):
            self._file.create_dataset(
                f"states/{layer}",
                shape=(0, stats, width),
                maxshape=(None, stats, width),
                chunks=(chunk, stats, width),
                dtype=extraction.dtype,
                fletcher32=True,
            )
        # No variable-length strings: HDF5 keeps them in a heap without a checksum, and one flipped bit there
        # can send it into an endless loop.
        self._file.attrs["schema"] = SCHEMA
        self._file.attrs["fingerprint"] = np.bytes_(extraction.fingerprint())
        # For readers who have only this file:
        self._file.attrs["stats"] = np.array(extraction.stats, "S")
        self._file.attrs["frame_rate"] = extraction.frame_rate
        self._file.attrs["receptive_field"] = extraction.receptive_field

    def append(self, layer: str, states: np.ndarray) -> None:
        """Append rows (R, S, D) of one layer. Raises OSError where they cannot be written."""
        dataset = self._file["states"][layer]
        before = dataset.shape[0]
        dataset.resize(before + len(states), axis=0)
        dataset[before:] = states
        self._output.check()

    def __enter__(self) -> ShardWriter:
        return self

    def __exit__(self, *_: object) -> None:
        self.discard()

    def finish(self, entries: Sequence[ClipEntry]) -> None:
        """Write the table of clips, which completes the file. Raises OSError where it cannot be written."""
        rows = np.array([e.rows for e in entries], dtype=np.int64)
        table = {
            "offsets": np.concatenate([[0], np.cumsum(rows)]).astype(np.int64),
            "keys": np.array([e.key for e in entries], dtype="S64"),
            "frames": np.array([e.frames for e in entries], dtype=np.int32),
            "seconds": np.array([e.seconds for e in entries], dtype=np.float32),
            "paths": np.array([os.fsencode(e.path) or b"\0" for e in entries], dtype="S"),
        }
        for name, column in table.items():
            self._file.create_dataset(name, data=column, chunks=column.shape, fletcher32=True)
        uneven = [n for n, d in self._file["states"].items() if len(d) != rows.sum()]
        if uneven:
            raise ValueError(f"layers {uneven} do not have the {rows.sum()} rows that the clips have")
        self._file.close()
        self._output.check()

    def publish(self) -> Path:
        """Give the finished file its name, once all of it is on the disk. Raises as `finish`."""
        target = self._folder / f"shard-{checksum(self._temporary)}.h5"
        publish(self._disk, self._temporary, target)
        return target

    def discard(self) -> None:
        """Close the file; an unfinished one is removed."""
        self._file.close()
        if not self._disk.closed:
            self._disk.close()
            self._temporary.unlink(missing_ok=True)


def checksum(path: Path) -> str:
    """The first 32 hex digits of the SHA-256 of a file, which are part of a shard's name."""
    with path.open("rb", buffering=0) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:32]


def list_shards(folder: Path) -> frozenset[str]:
    """Names of the shards in a store's folder. Raises StoreError where it cannot be listed."""
    try:
        with os.scandir(folder) as entries:
            return frozenset(e.name for e in entries if SHARD_NAME.fullmatch(e.name) and e.is_file())
    except OSError as error:
        raise StoreError(f"cannot be listed ({error.strerror})", where=str(folder)) from error


def stat_shards(folder: Path, names: Iterable[str]) -> dict[str, os.stat_result]:
    """Size and times of shards, without those that a compaction has removed meanwhile. Raises OSError."""
    stats = {}
    for name in names:
        with suppress(FileNotFoundError):
            stats[name] = (folder / name).stat()
    return stats


def open_shard(path: Path, fingerprint: str) -> h5py.File:
    """Open for reading with `read_column` and `layer_dataset`.

    Raises FileNotFoundError, ForbiddenError, or StoreError if it is damaged or of another store.
    """
    try:
        # No file lock: a shard never changes, and some network file systems have no locks. No chunk cache:
        # nothing is read twice from one opening.
        file = h5py.File(path, "r", locking=False, rdcc_nbytes=0)
    except OSError as error:
        if not path.exists():  # HDF5 reports a file that disappears while it is opened as another error
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(path)) from error
        raise damaged_shard(path, error) from error
    try:
        with reporting_damage(path):
            schema, owner = file.attrs["schema"], file.attrs["fingerprint"]
        if not np.array_equal(schema, SCHEMA):
            raise StoreError(f"schema {schema}; this version reads {SCHEMA}", where=str(path), do=REPAIR)
        if not np.array_equal(owner, np.bytes_(fingerprint)):
            shown = owner.decode("ascii", "replace") if isinstance(owner, bytes) else owner
            what = f"a shard of fingerprint {shown} in the store of {fingerprint}"
            raise StoreError(what, where=str(path), do=REPAIR)
    except StoreError:
        file.close()
        raise
    return file


def layer_dataset(file: h5py.File, layer: str, extraction: Extraction, *, rows: int) -> h5py.Dataset:
    """One layer's states (rows, S, D). Raises ValueError where they are not as the extraction says."""
    dataset = _dataset(file, f"states/{layer}")
    row = (len(extraction.stats), extraction.width(layer))
    if dataset.dtype != extraction.dtype or dataset.shape != (rows, *row):
        expected = f"{extraction.dtype} {(rows, *row)}"
        raise ValueError(f"layer {layer} is {dataset.dtype} {dataset.shape}, not {expected}")
    if dataset.chunks[1:] != row or dataset.chunks[0] > CHUNK_ROWS:
        raise ValueError(f"layer {layer} has chunks of {dataset.chunks}")
    return dataset


def read_column(file: h5py.File, name: str) -> np.ndarray:
    """One column of the table of clips. Raises ValueError where it is not as the format says."""
    dataset = _dataset(file, name)
    kind = dataset.dtype.kind if name == "paths" else dataset.dtype
    if dataset.ndim != 1 or kind != COLUMNS[name]:
        raise ValueError(f"{name} is {dataset.dtype} {dataset.shape}")
    return np.asarray(dataset[()])


def read_offsets(file: h5py.File, *, row_bytes: int) -> np.ndarray:
    """First row of each clip, and the end of the last (clips + 1,). Raises ValueError for impossible ones."""
    offsets = read_column(file, "offsets")
    if not len(offsets) or offsets[0] != 0 or (np.diff(offsets) < 0).any():
        raise ValueError("offsets do not ascend from 0")
    if "states" in file and int(offsets[-1]) * row_bytes > file.id.get_filesize():
        raise ValueError(f"offsets end at row {offsets[-1]}, for which the file is too small")
    return offsets


def _dataset(file: h5py.File, name: str) -> h5py.Dataset:
    """A dataset whose content is in this file, complete and checksummed. Raises KeyError, ValueError."""
    parts = name.split("/")
    for end in range(1, len(parts) + 1):
        link = "/".join(parts[:end])
        kind = file.get(link, getlink=True)
        if not isinstance(kind, h5py.HardLink):
            raise ValueError(f"{link} is {'missing' if kind is None else 'a link'}")
    dataset = file[name]
    if not isinstance(dataset, h5py.Dataset):
        raise ValueError(f"{name} is no dataset")
    settings = dataset.id.get_create_plist()
    filters = [settings.get_filter(number)[0] for number in range(settings.get_nfilters())]
    if settings.get_layout() != h5py.h5d.CHUNKED or filters != [h5py.h5z.FILTER_FLETCHER32]:
        raise ValueError(f"{name} is not stored as checksummed chunks")
    chunks = prod(ceil(size / chunk) for size, chunk in zip(dataset.shape, dataset.chunks, strict=True))
    if dataset.id.get_num_chunks() != chunks or dataset.nbytes > file.id.get_filesize():
        raise ValueError(f"{name} is incomplete")
    return dataset


def read_digests(path: Path, fingerprint: str) -> np.ndarray:
    """A shard's keys as (clips,) S32, 32 bytes each. Raises as `open_shard` does."""
    with open_shard(path, fingerprint) as file, reporting_damage(path):
        return keys_to_digests(read_column(file, "keys"))


def read_entries(file: h5py.File, path: Path, *, row_bytes: int) -> list[ClipEntry]:
    """The table of clips of a shard; row_bytes: of a row in all layers. Raises StoreError for damage."""
    with reporting_damage(path):
        columns = zip(
            digests_to_keys(keys_to_digests(read_column(file, "keys"))),
            np.diff(read_offsets(file, row_bytes=row_bytes)).tolist(),
            read_column(file, "frames").tolist(),
            read_column(file, "seconds").tolist(),
            map(os.fsdecode, read_column(file, "paths")),
            strict=True,
        )
        return [ClipEntry(*row) for row in columns]


@contextmanager
def reporting_damage(path: Path) -> Iterator[None]:
    """Turn errors of reading a shard's content into a StoreError that names the shard."""
    try:
        yield
    except READ_ERRORS as error:
        raise damaged_shard(path, error) from error


def damaged_shard(path: Path, error: Exception) -> StoreError:
    if isinstance(error, OSError) and error.errno in FORBIDDEN:
        return ForbiddenError(f"cannot be read ({os.strerror(error.errno)})", where=str(path), do=SHARE)
    reason = " ".join(str(error).split()) or type(error).__name__
    return StoreError(f"damaged shard ({reason})", where=str(path), do=REPAIR)
