"""A folder of shards as one lazy table."""

from __future__ import annotations

import os
import re
from binascii import Error as HexError
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

import h5py
import numpy as np

from layerprobe.cache.common.disk import write_atomically
from layerprobe.cache.common.errors import MissingStatesError, StoreError
from layerprobe.cache.identity.extraction import FRAME, Extraction
from layerprobe.cache.store.index import ClipIndex, ShardRows
from layerprobe.cache.store.row_reader import RowReader
from layerprobe.cache.store.shard import (
    digests_to_keys,
    keys_to_digests,
    list_shards,
    open_shard,
    read_digests,
    reporting_damage,
)
from layerprobe.cache.store.writer import StoreWriter

EXTRACTION_FILE = "extraction.json"


class FeatureStore:
    """The states of one extraction: an existing folder CACHE/MODEL-SLUG/FINGERPRINT.

    Holds no open file, so it may be pickled, forked and shared between threads. Each call sees the shards
    that other processes have finished by then. Raises StoreError where the folder is no store, and from every
    method where a shard is damaged, or of another schema or fingerprint.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = Path(folder)
        record = self.folder / EXTRACTION_FILE
        try:
            text = record.read_text(encoding="utf-8")
        except (OSError, ValueError) as error:
            raise StoreError(
                f"not a store ({error})", where=str(folder), do="name a folder that holds extraction.json"
            ) from error
        self.extraction = Extraction.from_json(text, where=str(record))
        self._fingerprint = self.extraction.fingerprint()
        self._keeps_frames = self.extraction.stats == (FRAME,)
        self._index = ClipIndex({})

    @classmethod
    def find(cls, cache: Path, extraction: Extraction) -> FeatureStore | None:
        """The store of that fingerprint, whatever its model was called then; None if there is none."""
        for record in sorted(cache.glob(f"*/{extraction.fingerprint()}/{EXTRACTION_FILE}")):
            return cls(record.parent)
        return None

    @classmethod
    def create(cls, cache: Path, extraction: Extraction) -> FeatureStore:
        """The store of that fingerprint, as `find` finds it; made if there is none.

        A folder of that fingerprint that has lost its record is given it again.
        """
        there = cls.find(cache, extraction)
        if there is not None:
            return there
        try:
            lost = sorted(cache.glob(f"*/{extraction.fingerprint()}"))
            folder = lost[0] if lost else cache / model_slug(extraction.model) / extraction.fingerprint()
            folder.mkdir(parents=True, exist_ok=True)
            write_atomically(folder / EXTRACTION_FILE, extraction.to_json())
        except OSError as error:
            raise StoreError(f"cannot be written ({error.strerror})", where=str(cache)) from error
        return cls(folder)

    def __repr__(self) -> str:
        return f"FeatureStore({str(self.folder)!r}, model={self.extraction.model!r}, clips={len(self)})"

    def __len__(self) -> int:
        return len(self.index().digests)

    def __contains__(self, key: str) -> bool:
        return not self.missing([key])

    @property
    def cache(self) -> Path:
        """The cache folder that contains the store."""
        return self.folder.parent.parent

    def __getstate__(self) -> dict[str, object]:
        return {**self.__dict__, "_index": ClipIndex({})}

    def writer(self) -> StoreWriter:
        """A context manager that adds clips; see StoreWriter."""
        return StoreWriter(self.folder, self.extraction)

    def keys(self) -> list[str]:
        """Every clip held, sorted."""
        return digests_to_keys(self.index().digests)

    def missing(self, keys: Iterable[str]) -> list[str]:
        """Those of the keys that are not held, in the given order."""
        wanted = list(keys)
        held = self.holds(self._digests(wanted))
        return [key for key, there in zip(wanted, held, strict=True) if not there]

    def holds(self, digests: np.ndarray) -> np.ndarray:
        """(N,) bool: which clips are held; digests: (N,) S32, the bytes that keys write as hex digits."""
        return self.index().find(digests) >= 0

    def layer(self, name: str, keys: Sequence[str], *, stats: Sequence[str] | None = None) -> np.ndarray:
        """(N, S*D) float32: a layer's statistics side by side, a row for each key in the given order.

        stats: which, in which order; by default all, in the store's order. Memory: the result and a few MiB.
        Raises MissingStatesError for what is not held, StoreError where the store keeps frames.
        """
        if self._keeps_frames:
            raise StoreError(
                "keeps every frame, no statistics", where=str(self.folder), do="read it by `frames`"
            )
        columns = self._columns(name, stats)
        width = self.extraction.width(name)
        out = np.empty((len(keys), len(columns), width), np.float32)
        with RowReader(out, columns) as gather:
            self._visit(keys, lambda file, p: gather.read(file["states"][name], p.rows, p.wanted))
        return out.reshape(len(keys), len(columns) * width)

    def layers(
        self, names: Sequence[str], keys: Sequence[str], *, stats: Sequence[str] | None = None
    ) -> dict[str, np.ndarray]:
        """Several layers, each as `layer` gives it."""
        return {name: self.layer(name, keys, stats=stats) for name in names}

    def iterate(
        self,
        name: str,
        keys: Sequence[str] | None = None,
        *,
        stats: Sequence[str] | None = None,
        rows: int = 4096,
    ) -> Iterator[tuple[list[str], np.ndarray]]:
        """Batches (keys, (≤rows, S*D) float32) in bounded memory, each as `layer` gives it.

        keys: in this order; by default all, as they lie on disk, which reads each byte once. In any other
        order each batch reads all chunks that hold one of its clips: the larger the batches, the faster.
        """
        wanted = digests_to_keys(self.index().stored()) if keys is None else keys
        for begin in range(0, len(wanted), rows):
            batch = list(wanted[begin : begin + rows])
            yield batch, self.layer(name, batch, stats=stats)

    def frames(self, name: str, key: str) -> np.ndarray:
        """(F, D) float32: every frame of a clip, in a store that keeps frames. Raises MissingStatesError."""
        self._check_frames()
        self._columns(name, None)
        out = np.empty((int(self.frame_counts([key])[0]), self.extraction.width(name)), np.float32)
        self.frames_into(name, [key], out, np.zeros(1, np.int64))
        return out

    def frame_counts(self, keys: Sequence[str]) -> np.ndarray:
        """(N,) int64: how many frames each clip has. Raises MissingStatesError."""
        return self._column("frames", keys, np.int64)

    def frames_into(self, name: str, keys: Sequence[str], out: np.ndarray, begins: np.ndarray) -> None:
        """Write the frames of each clip to `out` (…, D) from row `begins[i]` on, each shard opened once.

        Raises MissingStatesError, and StoreError where the store keeps no frames.
        """
        self._check_frames()
        self._columns(name, None)

        def fill(file: h5py.File, place: ShardRows) -> None:
            offsets, states = file["offsets"][()], file["states"][name]
            for i in np.argsort(place.rows):
                begin, end = offsets[place.rows[i] : place.rows[i] + 2]
                at = begins[place.wanted[i]]
                out[at : at + end - begin] = states[begin:end, 0]

        self._visit(keys, fill)

    def seconds(self, keys: Sequence[str]) -> np.ndarray:
        """(N,) float32: each clip's length. Raises MissingStatesError."""
        return self._column("seconds", keys, np.float32)

    def paths(self, keys: Sequence[str]) -> list[str]:
        """Where each clip was first seen; empty if that was not told. Raises MissingStatesError."""
        return [os.fsdecode(path) for path in self._column("paths", keys, object)]

    def _check_frames(self) -> None:
        if not self._keeps_frames:
            held = ", ".join(self.extraction.stats)
            raise StoreError(f"holds {held}, not frames", where=str(self.folder), do="embed with --frames")

    def _column(self, name: str, keys: Sequence[str], dtype: type) -> np.ndarray:
        """A column of the shards' tables, for each key."""
        out: np.ndarray = np.empty(len(keys), dtype)

        def fill(file: h5py.File, place: ShardRows) -> None:
            out[place.wanted] = file[name][()][place.rows]

        self._visit(keys, fill)
        return out

    def _columns(self, name: str, stats: Sequence[str] | None) -> list[int]:
        held = self.extraction
        if name not in held.layers:
            raise MissingStatesError(
                f"layer {name!r} is not held, only {', '.join(held.layers)}", keys=[], where=str(self.folder)
            )
        wanted = held.stats if stats is None else tuple(stats)
        if not wanted or set(wanted) - set(held.stats):
            told = ", ".join(wanted) or "none"
            raise MissingStatesError(
                f"statistics asked for: {told}; held: {', '.join(held.stats)}",
                keys=[],
                where=str(self.folder),
            )
        return [held.stats.index(s) for s in wanted]

    def _digests(self, keys: Sequence[str]) -> np.ndarray:
        try:
            return keys_to_digests(keys)
        except HexError as error:
            raise StoreError(f"not all are clips' keys ({error})", where=str(self.folder)) from error

    def index(self) -> ClipIndex:
        """Where each clip lies that the folder holds now."""
        names = list_shards(self.folder)
        while names != self._index.shards.keys():
            known = self._index.shards
            shards = {}
            for name in names:
                try:
                    shards[name] = known[name] if name in known else self._read_digests(name)
                except FileNotFoundError:
                    continue  # compacted away meanwhile: its clips are in another shard
            self._index = ClipIndex(shards)
            # A folder that changes while it is listed can hide both the old and the new: look until it rests.
            names = list_shards(self.folder)
        return self._index

    def _read_digests(self, name: str) -> np.ndarray:
        return read_digests(self.folder / name, self._fingerprint)

    def _visit(self, keys: Sequence[str], fill: Callable[[h5py.File, ShardRows], None]) -> None:
        """Call `fill` with each shard that holds some of the keys. Raises MissingStatesError."""
        digests = self._digests(keys)
        left = np.arange(len(keys))
        while len(left):
            index = self.index()
            positions = index.find(digests[left])
            absent = left[positions < 0]
            if len(absent):
                raise self._missing([keys[i] for i in absent], len(keys))
            again = []
            for place in index.places(positions, left):
                try:
                    path = self.folder / place.shard
                    with open_shard(path, self._fingerprint) as file, reporting_damage(path):
                        fill(file, place)
                except FileNotFoundError:
                    again.append(place.wanted)  # compacted away meanwhile
            left = np.concatenate([np.empty(0, np.intp), *again])

    def _missing(self, absent: list[str], asked: int) -> MissingStatesError:
        first = ", ".join(key[:12] for key in absent[:3]) + (" …" if len(absent) > 3 else "")
        return MissingStatesError(
            f"{len(absent)} of {asked} clips are not held ({first})",
            keys=absent,
            where=str(self.folder),
            do=f"run: {self.extraction.embed_command(self.cache)}",
        )


def model_slug(model: str) -> str:
    """A folder's name for whatever a person types as a model."""
    return re.sub(r"[^A-Za-z0-9._]+", "-", model).strip("-.")[-80:] or "model"
