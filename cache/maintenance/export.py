"""Write one layer of a store as a plain file that h5py, NumPy or pandas can open."""

from __future__ import annotations

import io
import os
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import h5py
import numpy as np

from layerprobe.cache.common.disk import atomic_file, require_space
from layerprobe.cache.common.errors import InputError, MissingStatesError, StoreError
from layerprobe.cache.common.text import format_list
from layerprobe.cache.store import failures
from layerprobe.cache.store.deferred_error_file import DeferredErrorFile
from layerprobe.cache.store.feature_store import FeatureStore
from layerprobe.cache.store.keys import NamedClip, known_keys

BATCH_BYTES = (
    256 << 20
)  # in memory at once: in an order other than on disk, each batch reads the complete layer

Format = Literal["h5", "npz", "parquet"]


@dataclass(frozen=True)
class ExportedFile:
    """A written file: `states` (clips, width) float32, `paths` and `keys` (clips,)."""

    path: Path
    format: Format
    layer: str
    stats: tuple[str, ...]
    clips: int
    width: int
    nbytes: int


@dataclass(frozen=True)
class _Content:
    keys: list[str]
    paths: list[str]
    width: int
    batches: Iterator[np.ndarray]  # (some, width) float32, in the order of `keys`
    attributes: dict[str, str]


def export(
    store: FeatureStore,
    out: Path,
    *,
    layer: str,
    format: Format,
    stats: Sequence[str] | None = None,
    clips: Sequence[tuple[str, str]] | None = None,
) -> ExportedFile:
    """Write one layer atomically, in bounded memory.

    stats: concatenated in this order; by default all of the store.
    clips: key and path of each row, in order; by default every clip, sorted by its first known path.
    Raises MissingStatesError for anything not stored, StoreError where the file cannot be written.
    """
    if clips is None:
        stored = store.keys()
        clips = sorted(zip(stored, store.paths(stored), strict=True), key=lambda clip: clip[1])
    keys = [key for key, _ in clips]
    stats = tuple(stats or store.extraction.stats)
    width = store.layer(layer, keys[:1], stats=stats).shape[
        1
    ]  # refuses a layer or statistic that is not stored
    batches = store.iterate(layer, keys, stats=stats, rows=max(1, BATCH_BYTES // (4 * width)))
    content = _Content(
        keys=keys,
        # File names need not be UTF-8, but other programs expect it.
        paths=[os.fsencode(path).decode("utf-8", "replace") for _, path in clips],
        width=width,
        batches=(states for _, states in batches),
        attributes={
            "model": store.extraction.model,
            "fingerprint": store.extraction.fingerprint(),
            "layer": layer,
            "stats": ",".join(stats),
        },
    )
    do = "choose another place for --out"
    require_space(out.parent, len(keys) * (width * 4 + 128), do=do)
    write = {"h5": _write_h5, "npz": _write_npz, "parquet": _write_parquet}[format]
    try:
        with atomic_file(out) as file:
            write(file, content)
        nbytes = out.stat().st_size
    except OSError as error:
        what = f"cannot be written ({error.strerror or error})"
        raise StoreError(what, where=str(out), do=do) from error
    return ExportedFile(out, format, layer, stats, len(keys), width, nbytes)


def select_rows(
    clips: Sequence[NamedClip], store: FeatureStore, *, cache: Path, table: Path
) -> tuple[list[tuple[str, str]], list[str], str]:
    """Key and id of a table's clips, for `export`; the ids of those left out, which failed; a note, or "".

    Raises MissingStatesError where others are not stored, InputError for a file that cannot be read.
    """
    known = known_keys(clips, cache)
    keys = known.keys
    missing = set(store.missing([key for key in keys if isinstance(key, str)]))
    reasons = failures.reasons(store.folder, clips, keys, elsewhere=known.elsewhere)
    rows: list[tuple[str, str]] = []
    absent: list[tuple[str, str]] = []
    left_out: list[str] = []
    for clip, key, reason in zip(clips, keys, reasons, strict=True):
        if reason is not None and (isinstance(key, OSError) or key in missing):
            left_out.append(clip.id)
        elif isinstance(key, OSError):
            raise InputError(f"cannot be read ({key.strerror})", where=str(clip.path))
        else:
            (absent if key in missing else rows).append((key, clip.id))
    if absent:
        ids = format_list([id for _, id in absent], shown=5)
        raise MissingStatesError(
            f"{len(absent)} of {len(clips)} clips have no states: {ids}",
            keys=[key for key, _ in absent],
            where=str(store.folder),
            do=f"run: {store.extraction.embed_command(cache, table=table)}",
        )
    return rows, left_out, known.note


def _write_h5(file: io.BufferedRandom, content: _Content) -> None:
    output = DeferredErrorFile(file.fileno())
    with h5py.File(output, "w") as h5:
        states = h5.create_dataset("states", (len(content.keys), content.width), np.float32)
        done = 0
        for batch in content.batches:
            states[done : done + len(batch)] = batch
            done += len(batch)
            output.check()
        h5.create_dataset("paths", data=content.paths, dtype=h5py.string_dtype(), shape=(len(content.paths),))
        h5.create_dataset("keys", data=np.array(content.keys, "S64"))
        h5.attrs.update(content.attributes)
    output.check()


def _write_npz(file: io.BufferedRandom, content: _Content) -> None:
    header = {"descr": "<f4", "fortran_order": False, "shape": (len(content.keys), content.width)}
    with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
        with archive.open("states.npy", "w", force_zip64=True) as member:
            np.lib.format.write_array_header_1_0(member, header)
            for batch in content.batches:
                member.write(batch.astype("<f4", copy=False).data)
        for name, column in (("paths", content.paths), ("keys", content.keys)):
            with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
                np.lib.format.write_array(member, np.array(column, dtype="U"), allow_pickle=False)


def _write_parquet(file: io.BufferedRandom, content: _Content) -> None:
    import pyarrow as pa  # slow to import, and only needed here
    import pyarrow.parquet as pq

    kind = pa.list_(pa.float32(), content.width)
    columns = [("states", kind), ("paths", pa.string()), ("keys", pa.string())]
    schema = pa.schema(columns, metadata=content.attributes)
    done = 0
    with pq.ParquetWriter(pa.PythonFile(file, mode="wb"), schema) as writer:
        for batch in content.batches:
            rows = slice(done, done + len(batch))
            states = pa.FixedSizeListArray.from_arrays(batch.reshape(-1), type=kind)
            writer.write_table(pa.table([states, content.paths[rows], content.keys[rows]], schema=schema))
            done += len(batch)
