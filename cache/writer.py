"""Clips in, shards out: a thread of its own finishes a shard by size or by age."""

from __future__ import annotations

import errno
import re
import threading
import time
from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from cache.durable import locked, unfinished
from cache.errors import StoreError
from cache.identity import FRAME, Extraction
from cache.shard import Entry, ShardFile

SHARD_BYTES = 32 << 20  # one shard being filled and one being written: 64 MiB in flight at most
SHARD_SECONDS = 60.0
WRITERS = ".writers.lock"  # shared by all that write the store
KEY = re.compile(r"[0-9a-f]{64}")
FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


@dataclass(eq=False)
class _Clip:
    """A clip on its way to disk; one that outgrows a shard has a shard of its own and goes there in parts."""

    key: str
    path: str
    parts: list[dict[str, np.ndarray]] = field(default_factory=list)  # layer → (R, S, D), still in memory
    nbytes: int = 0  # of `parts`
    rows: int = 0  # of all parts, written or not
    frames: int = 0
    seconds: float = 0.0
    over: bool = False  # ended or dropped: no part will follow
    dropped: bool = False
    shard: ShardFile | None = None

    def entry(self) -> Entry:
        return Entry(key=self.key, rows=self.rows, frames=self.frames, seconds=self.seconds, path=self.path)


class StoreWriter:
    """Writes one store; any number of them may write it at once, in any number of processes.

    A context manager. Leaving it, by an exception too, finishes the shard in hand; a clip that was begun and
    not ended is dropped. A failure to write surfaces as StoreError in the next call or on leaving; every
    shard finished before it stays. HDF5 runs only in the writer's thread, where no Ctrl-C can cut it short.
    """

    def __init__(self, folder: Path, extraction: Extraction) -> None:
        self._folder, self._extraction = folder, extraction
        self._pooled = extraction.stats != (FRAME,)
        self._dtype = np.dtype(extraction.dtype)
        self._shapes = {
            layer: (len(extraction.stats), width)
            for layer, width in zip(extraction.layers, extraction.widths, strict=True)
        }
        self._presence = ExitStack()
        self._thread = threading.Thread(target=self._run, name="store-writer")
        self._state = threading.Condition()  # guards what follows
        self._open: _Clip | None = None
        self._ready: list[_Clip] = []
        self._ready_bytes = 0
        self._ready_since = 0.0
        self._long: deque[_Clip] = deque()
        self._held = 0  # bytes in memory
        self._together = False
        self._closing = False
        self._error: Exception | None = None

    def __enter__(self) -> StoreWriter:
        try:
            # Held while we write, so that nobody removes the store under us.
            self._presence.enter_context(locked(self._folder / WRITERS, shared=True))
            unfinished(self._folder, remove=True)
            self._thread.start()
        except OSError as error:
            raise self._refused(error) from error
        except KeyboardInterrupt:
            self._close()
            raise
        return self

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        self._close()
        self._thread.join()
        self._presence.close()
        if self._error is not None and self._error is not error:
            raise self._error

    def add(
        self, key: str, states: Mapping[str, np.ndarray], *, frames: int, seconds: float, path: str = ""
    ) -> None:
        """A whole clip: layer → (S, D), or (F, D) where every frame is kept; all layers, in the storage type.

        `frames` is how many frames the clip has, `path` where it was first seen. The states are copied. Waits
        while 64 MiB are in flight. Raises StoreError.
        """
        self.begin(key, path=path)
        self.append(states)
        self.end(frames=frames, seconds=seconds)

    @contextmanager
    def together(self) -> Iterator[None]:
        """Clips that are added within come into one shard, so that none of them is kept without the others.

        Unless they are too many to wait for one another: past 128 MiB they go as they come.
        """
        with self._state:
            self._together = True
        try:
            yield
        finally:
            with self._state:
                self._together = False
                self._state.notify_all()

    def begin(self, key: str, *, path: str = "") -> None:
        """Begin a clip that comes in parts; one that was begun before and never ended is dropped."""
        if not KEY.fullmatch(key):
            raise StoreError(f"{key!r} is no clip's key (64 hex digits)", where=str(self._folder))
        with self._state:
            self._raise_error()
            self._drop()
            self._open = _Clip(key, path)

    def append(self, states: Mapping[str, np.ndarray]) -> None:
        """The next part of the clip in hand, as in `add`. Raises StoreError."""
        if states.keys() != self._shapes.keys():
            odd = ", ".join(sorted(states.keys() ^ self._shapes.keys()))
            raise StoreError(f"layers that are not those of the store: {odd}", where=str(self._folder))
        part = {layer: self._block(layer, states[layer]) for layer in self._shapes}
        counts = {len(block) for block in part.values()}
        if len(counts) != 1:
            raise StoreError(f"layers of unequal length: {sorted(counts)}", where=str(self._folder))
        nbytes = sum(block.nbytes for block in part.values())
        with self._state:
            self._state.wait_for(lambda: self._held < 2 * SHARD_BYTES or self._error is not None)
            clip = self._in_hand()
            clip.parts.append(part)
            clip.rows += counts.pop()
            clip.nbytes += nbytes
            self._held += nbytes
            if clip.nbytes >= SHARD_BYTES:
                if clip not in self._long:
                    self._long.append(clip)
                self._state.notify_all()

    def end(self, *, frames: int, seconds: float) -> None:
        """The clip in hand is complete. Raises StoreError."""
        with self._state:
            clip = self._in_hand()
            expected = 1 if self._pooled else frames
            if clip.rows != expected:
                raise StoreError(f"{clip.rows} rows for {expected} expected", where=f"clip {clip.key}")
            clip.frames, clip.seconds, clip.over = frames, seconds, True
            self._open = None
            if clip not in self._long:
                if not self._ready:
                    self._ready_since = time.monotonic()
                self._ready.append(clip)
                self._ready_bytes += clip.nbytes
            self._state.notify_all()

    def _block(self, layer: str, states: np.ndarray) -> np.ndarray:
        """A copy as (R, S, D); StoreError where shape or type are not the store's."""
        rows = states[None] if self._pooled else states[:, None]
        if rows.shape[1:] != self._shapes[layer] or rows.dtype != self._dtype:
            told = f"{states.dtype} {states.shape}"
            stats, width = self._shapes[layer]
            need = f"{self._dtype} {(stats, width) if self._pooled else ('F', width)}"
            raise StoreError(f"layer {layer} is {told}, not {need}", where=str(self._folder))
        return np.array(rows, order="C")

    def _in_hand(self) -> _Clip:
        self._raise_error()
        if self._open is None:
            raise StoreError("no clip was begun", where=str(self._folder))
        return self._open

    def _drop(self) -> None:
        if self._open is None:
            return
        self._open.over = self._open.dropped = True
        if self._open not in self._long:
            self._held -= self._open.nbytes
        self._open = None
        self._state.notify_all()

    def _raise_error(self) -> None:
        if self._error is not None:
            raise self._error

    def _refused(self, error: OSError) -> StoreError:
        do = "free some space and run again" if error.errno in FULL else "mend it and run again"
        what = f"cannot be written ({error.strerror or error})"
        return StoreError(what, where=str(self._folder), do=f"{do}: what was finished is kept")

    def _close(self) -> None:
        with self._state:
            self._drop()
            self._closing = True
            self._state.notify_all()

    def _run(self) -> None:
        """The thread: long clips part by part, the others a shard at a time."""
        try:
            while self._wait():
                self._write_long()
                self._write_ready()
        except OSError as error:
            self._fail(self._refused(error))
        except Exception as error:  # handed to the caller's thread
            self._fail(error)
        finally:
            for clip in self._long:
                if clip.shard is not None:
                    clip.shard.discard()

    def _fail(self, error: Exception) -> None:
        with self._state:
            self._error = error
            self._state.notify_all()

    def _wait(self) -> bool:
        """Wait for something to write; False once there will be nothing more."""
        with self._state:
            while not (self._closing or self._long_due() or self._ready_due()):
                aging = self._ready and not self._together
                self._state.wait(self._ready_since + SHARD_SECONDS - time.monotonic() if aging else None)
            return bool(not self._closing or self._ready or self._long)

    def _long_due(self) -> bool:
        return bool(self._long) and (self._long[0].over or self._long[0].nbytes >= SHARD_BYTES)

    def _ready_due(self) -> bool:
        waits = self._together and self._held < 2 * SHARD_BYTES
        if not self._ready or waits:
            return False
        aged = time.monotonic() - self._ready_since >= SHARD_SECONDS
        return aged or self._closing or self._ready_bytes >= SHARD_BYTES

    def _write_long(self) -> None:
        with self._state:
            if not self._long_due():
                return
            clip = self._long[0]
            parts, nbytes, over = clip.parts, clip.nbytes, clip.over
            clip.parts, clip.nbytes = [], 0
        if clip.shard is None:
            clip.shard = ShardFile(self._folder, self._extraction)
        if not clip.dropped:
            self._write(clip.shard, parts)
        if over:
            if not clip.dropped:
                clip.shard.finish([clip.entry()])
            clip.shard.discard()
        with self._state:
            self._held -= nbytes
            if over:
                self._long.popleft()
            self._state.notify_all()

    def _write_ready(self) -> None:
        with self._state:
            if not self._ready_due():
                return
            clips, nbytes = self._ready, self._ready_bytes
            self._ready, self._ready_bytes = [], 0
        with ShardFile(self._folder, self._extraction, rows=sum(c.rows for c in clips)) as shard:
            self._write(shard, [part for clip in clips for part in clip.parts])
            shard.finish([clip.entry() for clip in clips])
        with self._state:
            self._held -= nbytes
            self._state.notify_all()

    def _write(self, shard: ShardFile, parts: list[dict[str, np.ndarray]]) -> None:
        for layer in self._shapes if parts else ():
            shard.append(layer, np.concatenate([part[layer] for part in parts]))
