"""Reading a store: a folder of shards as one lazy table."""

from __future__ import annotations

import os
from binascii import Error as HexError
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

import h5py
import numpy as np

from layerprobe.cache.common.errors import MissingStatesError, StoreError
from layerprobe.cache.common.text import format_list
from layerprobe.cache.identity.extraction import FRAME, Extraction
from layerprobe.cache.store.index import ClipIndex, Opened, ShardRows
from layerprobe.cache.store.keys import digests_to_keys, keys_to_digests
from layerprobe.cache.store.location.folders import (
    EXTRACTION_FILE,
    create_folder,
    find_folders,
    open_shards,
    present_folder,
)
from layerprobe.cache.store.row_reader import RowReader, all_finite
from layerprobe.cache.store.shard import (
    damaged_shard,
    layer_dataset,
    open_shard,
    read_column,
    read_offsets,
    reporting_damage,
)
from layerprobe.cache.store.writer import StoreWriter

ReadColumn = Callable[[h5py.File], np.ndarray]


class FeatureStore:
    """The states of one extraction, in an existing folder (or at a URL) CACHE/MODEL-SLUG/FINGERPRINT.

    Has no open file, so it may be pickled, forked and shared between threads. Each call sees the shards that
    other processes have finished by then (on object storage, ten seconds before). Raises StoreError where the
    folder is not a store, and from every method for a damaged shard or one of another schema or fingerprint.
    """

    def __init__(self, folder: Path | str) -> None:
        folder = present_folder(folder)
        record = folder / EXTRACTION_FILE
        try:
            text = record.read_text(encoding="utf-8")
        except PermissionError as error:
            raise damaged_shard(record, error) from error
        except (OSError, ValueError) as error:
            do = f"name a folder that holds {EXTRACTION_FILE}"
            raise StoreError(f"not a store ({error})", where=str(folder), do=do) from error
        self.extraction = Extraction.from_json(text, where=str(record))
        self._fingerprint = self.extraction.fingerprint()
        self.shards = open_shards(folder, self._fingerprint)
        self._stores_frames = self.extraction.stats == (FRAME,)
        self._index = ClipIndex({})

    @classmethod
    def find(cls, cache: Path, extraction: Extraction) -> FeatureStore | None:
        """The store of that fingerprint, under any model name; None if there is none."""
        folders = find_folders(cache, extraction.fingerprint())
        return cls(folders[0]) if folders else None

    @classmethod
    def create(cls, cache: Path, extraction: Extraction) -> FeatureStore:
        """The store of that fingerprint; created if there is none, or only a folder. Raises StoreError."""
        return cls.find(cache, extraction) or cls(create_folder(cache, extraction))

    def __repr__(self) -> str:
        return f"FeatureStore({str(self.folder)!r}, model={self.extraction.model!r}, clips={len(self)})"

    def __len__(self) -> int:
        return len(self.index().digests)

    def __bool__(self) -> bool:
        return True  # an empty store is a store too

    def __contains__(self, key: str) -> bool:
        return not self.missing([key])

    def __getstate__(self) -> dict[str, object]:
        return {**self.__dict__, "_index": ClipIndex({})}

    @property
    def folder(self) -> Path:
        """The store's folder; of one on object storage, that of its local copies."""
        return self.shards.folder

    @property
    def cache(self) -> Path:
        """The cache folder that contains the store."""
        return self.folder.parent.parent

    def writer(self) -> StoreWriter:
        """A context manager that adds clips; see StoreWriter."""
        return StoreWriter(self.shards, self.extraction)

    def keys(self) -> list[str]:
        """The key of every stored clip, sorted."""
        return digests_to_keys(self.index().digests)

    def missing(self, keys: Iterable[str]) -> list[str]:
        """Those of the keys that are not stored, in the same order."""
        keys = list(keys)
        stored = self.contains_digests(self._digests(keys))
        return [key for key, is_stored in zip(keys, stored, strict=True) if not is_stored]

    def contains_digests(self, digests: np.ndarray) -> np.ndarray:
        """(N,) bool: which clips are stored; digests: (N,) S32, the bytes that keys write as hex digits."""
        return self.index().find(digests) >= 0

    def layer(self, name: str, keys: Sequence[str], *, stats: Sequence[str] | None = None) -> np.ndarray:
        """One layer's statistics (N, S*D) float32, concatenated along the columns; a row per key, in order.

        stats: which, and in which order; by default all, in the store's order. Needs little more memory than
        the result. Raises MissingStatesError for anything not stored, StoreError where frames are stored.
        """
        if self._stores_frames:
            raise StoreError("keeps every frame, no statistics", where=str(self.folder), do="use `frames`")
        columns = self.extraction.stat_columns(name, stats, where=str(self.folder))
        width = self.extraction.width(name)
        out = np.empty((len(keys), len(columns), width), np.float32)
        with reporting_damage(self.folder), RowReader(out, columns) as reader:

            def read_rows(file: h5py.File, selected: ShardRows) -> None:
                dataset = layer_dataset(file, name, self.extraction, rows=selected.clips)
                reader.read(dataset, selected.rows, selected.positions)

            self._visit(keys, read_rows)
        return out.reshape(len(keys), len(columns) * width)

    def layers(
        self, names: Sequence[str], keys: Sequence[str], *, stats: Sequence[str] | None = None
    ) -> dict[str, np.ndarray]:
        """Several layers, each as `layer` returns it."""
        return {name: self.layer(name, keys, stats=stats) for name in names}

    def iterate(
        self,
        name: str,
        keys: Sequence[str] | None = None,
        *,
        stats: Sequence[str] | None = None,
        rows: int = 4096,
    ) -> Iterator[tuple[list[str], np.ndarray]]:
        """Batches of keys and states (≤rows, S*D) float32 in bounded memory, each as `layer` returns it.

        keys: in this order; by default all in their order on disk, which reads each byte once. In any other
        order, each batch reads every chunk that has one of its clips: larger batches are faster.
        """
        ordered = digests_to_keys(self.index().in_disk_order()) if keys is None else keys
        for begin in range(0, len(ordered), rows):
            batch = list(ordered[begin : begin + rows])
            yield batch, self.layer(name, batch, stats=stats)

    def frames(self, name: str, key: str) -> np.ndarray:
        """(F, D) float32: every frame of a clip, where frames are stored. Raises MissingStatesError."""
        self._require_frames(name)
        out = np.empty((int(self.frame_counts([key])[0]), self.extraction.width(name)), np.float32)
        self.frames_into(name, [key], out, np.zeros(1, np.int64))
        return out

    def frame_counts(self, keys: Sequence[str]) -> np.ndarray:
        """(N,) int64: number of frames of each clip. Raises MissingStatesError."""
        if not self._stores_frames:
            return self._column(keys, np.int64, lambda file: read_column(file, "frames"))
        row = self.extraction.bytes_per_row()
        return self._column(keys, np.int64, lambda file: np.diff(read_offsets(file, row_bytes=row)))

    def frames_into(self, name: str, keys: Sequence[str], out: np.ndarray, begins: np.ndarray) -> None:
        """Write the frames of each clip to `out` (…, D) from row `begins[i]` on, opening each shard once.

        Raises MissingStatesError, and StoreError where statistics are stored.
        """
        self._require_frames(name)

        def read_frames(file: h5py.File, selected: ShardRows) -> None:
            offsets = read_offsets(file, row_bytes=self.extraction.bytes_per_row())
            states = layer_dataset(file, name, self.extraction, rows=int(offsets[-1]))
            for row, position in zip(selected.rows, selected.positions, strict=True):
                begin, end = offsets[row : row + 2]
                block = states[begin:end, 0]
                if not all_finite(block):
                    raise ValueError(f"layer {name} of clip {keys[position][:12]} is not finite")
                out[begins[position] : begins[position] + end - begin] = block

        self._visit(keys, read_frames)

    def seconds(self, keys: Sequence[str]) -> np.ndarray:
        """(N,) float32: duration of each clip in seconds. Raises MissingStatesError."""
        return self._column(keys, np.float32, lambda file: read_column(file, "seconds"))

    def paths(self, keys: Sequence[str]) -> list[str]:
        """Where each clip was first seen; empty if that is unknown. Raises MissingStatesError."""
        return list(map(os.fsdecode, self._column(keys, object, lambda file: read_column(file, "paths"))))

    def index(self) -> ClipIndex:
        """Which shard has which clip, as of now."""
        self._index = self._index.refreshed(self.shards)
        return self._index

    def _require_frames(self, name: str) -> None:
        if not self._stores_frames:
            stats = ", ".join(self.extraction.stats)
            raise StoreError(f"holds {stats}, not frames", where=str(self.folder), do="embed with --frames")
        self.extraction.stat_columns(name, None, where=str(self.folder))

    def _column(self, keys: Sequence[str], dtype: type, read: ReadColumn) -> np.ndarray:
        """One column of the shards' tables, for each key."""
        out: np.ndarray = np.empty(len(keys), dtype)

        def read_rows(file: h5py.File, selected: ShardRows) -> None:
            out[selected.positions] = read(file)[selected.rows]

        self._visit(keys, read_rows, open=self.shards.table)
        return out

    def _digests(self, keys: Sequence[str]) -> np.ndarray:
        try:
            return keys_to_digests(keys)
        except HexError as error:
            raise StoreError(f"not all are clips' keys ({error})", where=str(self.folder)) from error

    def _visit(
        self, keys: Sequence[str], read: Callable[[h5py.File, ShardRows], None], *, open: Opened | None = None
    ) -> None:
        """Call `read` for the file (from `open`) of each shard with some keys. Raises MissingStatesError."""
        digests = self._digests(keys)
        remaining = np.arange(len(keys))
        while len(remaining):
            index = self.index()
            entries = index.find(digests[remaining])
            if absent := [keys[i] for i in remaining[entries < 0]]:
                short = format_list([key[:12] for key in absent])
                raise MissingStatesError(
                    f"{len(absent)} of {len(keys)} clips are not held ({short})",
                    keys=absent,
                    where=str(self.folder),
                    do=f"run: {self.extraction.embed_command(self.cache)}",
                )
            retry = [np.empty(0, np.intp)]
            parts = list(index.by_shard(entries, remaining))
            with self.shards.in_order([part.shard for part in parts] if open is None else []) as opened:
                for part in parts:
                    try:
                        with (
                            (open or opened)(part.shard) as path,
                            open_shard(path, self._fingerprint) as file,
                            reporting_damage(path),
                        ):
                            read(file, part)
                    except FileNotFoundError:
                        self.shards.forget()
                        retry.append(part.positions)  # removed by a compaction meanwhile
            remaining = np.concatenate(retry)
