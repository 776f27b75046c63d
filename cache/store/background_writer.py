"""A thread that takes clips from memory to shards, each shard by size, number or age."""

from __future__ import annotations

import errno
import threading
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from layerprobe.cache.common.errors import StoreError
from layerprobe.cache.identity.extraction import Extraction
from layerprobe.cache.store.packed_arrays import PackedArrays
from layerprobe.cache.store.shard import ClipEntry, ShardWriter

FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


@dataclass(eq=False, slots=True)
class PendingClip:
    """A clip on its way to disk; one that outgrows a shard has a shard of its own and goes there in parts."""

    key: str
    path: str
    parts: list[PackedArrays] = field(default_factory=list)  # still in memory; each layer's (R, S, D)
    nbytes: int = 0  # of `parts`
    rows: int = 0  # of all parts, written or not
    frames: int = 0
    seconds: float = 0.0
    over: bool = False  # ended or dropped: no part will follow
    dropped: bool = False
    shard: ShardWriter | None = None

    def entry(self) -> ClipEntry:
        return ClipEntry(
            key=self.key, rows=self.rows, frames=self.frames, seconds=self.seconds, path=self.path
        )


class BackgroundWriter:
    """Holds at most two shards' bytes: those of one that is being filled and of one that is being written.

    All of HDF5 runs in the thread, where no Ctrl-C can cut it short. Its first error ends it, and is raised
    by every call after that.
    """

    def __init__(
        self,
        folder: Path,
        extraction: Extraction,
        *,
        shard_bytes: int,
        shard_clips: int,
        shard_seconds: float,
    ) -> None:
        self._folder, self._extraction = folder, extraction
        self._shard_bytes, self._shard_clips = shard_bytes, shard_clips
        self._shard_seconds = shard_seconds
        self._thread = threading.Thread(target=self._run, name="store-writer")
        self._state = threading.Condition()  # guards what follows
        self._ready: list[PendingClip] = []
        self._ready_bytes = 0
        self._ready_since = 0.0
        self._long: deque[PendingClip] = deque()
        self._held = 0  # bytes in memory
        self._together = False
        self._closing = False
        self._error: Exception | None = None

    def start(self) -> None:
        try:
            self._thread.start()
        except KeyboardInterrupt:
            self.close()  # it may run already
            raise

    def close(self) -> Exception | None:
        """Finish what is ready and end the thread; returns its error, if it had one."""
        with self._state:
            self._closing = True
            self._state.notify_all()
        self._thread.join()
        return self._error

    def check(self) -> None:
        """Raise the thread's error, if it had one."""
        if self._error is not None:
            raise self._error

    def add(self, clip: PendingClip, part: PackedArrays) -> None:
        """Take the next part of a clip. Waits for room."""
        with self._state:
            self._state.wait_for(lambda: self._held < 2 * self._shard_bytes or self._error is not None)
            self.check()
            clip.parts.append(part)
            clip.rows += part.rows
            clip.nbytes += part.nbytes
            self._held += part.nbytes
            if clip.nbytes >= self._shard_bytes:
                if clip not in self._long:
                    self._long.append(clip)
                self._state.notify_all()

    def end(self, clip: PendingClip, *, frames: int, seconds: float) -> None:
        """The clip is complete."""
        with self._state:
            self.check()
            clip.frames, clip.seconds, clip.over = frames, seconds, True
            if clip not in self._long:
                if not self._ready:
                    self._ready_since = time.monotonic()
                self._ready.append(clip)
                self._ready_bytes += clip.nbytes
            self._state.notify_all()

    def drop(self, clip: PendingClip) -> None:
        """Forget a clip that was not ended."""
        with self._state:
            clip.over = clip.dropped = True
            if clip not in self._long:
                self._held -= clip.nbytes
            self._state.notify_all()

    @contextmanager
    def in_one_shard(self) -> Iterator[None]:
        """Clips that end within come into one shard, as long as they fit into memory."""
        with self._state:
            self._together = True
        try:
            yield
        finally:
            with self._state:
                self._together = False
                self._state.notify_all()

    def _run(self) -> None:
        """The thread: long clips part by part, the others a shard at a time."""
        try:
            while self._wait():
                self._write_long()
                self._write_ready()
        except OSError as error:
            self._fail(write_error(self._folder, error))
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
                self._state.wait(
                    self._ready_since + self._shard_seconds - time.monotonic() if aging else None
                )
            return bool(not self._closing or self._ready or self._long)

    def _long_due(self) -> bool:
        return bool(self._long) and (self._long[0].over or self._long[0].nbytes >= self._shard_bytes)

    def _ready_due(self) -> bool:
        waits = self._together and self._held < 2 * self._shard_bytes
        if not self._ready or waits:
            return False
        aged = time.monotonic() - self._ready_since >= self._shard_seconds
        full = self._ready_bytes >= self._shard_bytes or len(self._ready) >= self._shard_clips
        return aged or full or self._closing

    def _write_long(self) -> None:
        with self._state:
            if not self._long_due():
                return
            clip = self._long[0]
            parts, nbytes, over = clip.parts, clip.nbytes, clip.over
            clip.parts, clip.nbytes = [], 0
        if clip.shard is None:
            clip.shard = ShardWriter(self._folder, self._extraction)
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
        with ShardWriter(self._folder, self._extraction, rows=sum(c.rows for c in clips)) as shard:
            self._write(shard, [part for clip in clips for part in clip.parts])
            shard.finish([clip.entry() for clip in clips])
        with self._state:
            self._held -= nbytes
            self._state.notify_all()

    def _write(self, shard: ShardWriter, parts: list[PackedArrays]) -> None:
        shapes = [(len(self._extraction.stats), width) for width in self._extraction.widths]
        dtype = np.dtype(self._extraction.dtype)
        for place, layer in enumerate(self._extraction.layers if parts else ()):
            shard.append(layer, np.concatenate([part.array(place, shapes, dtype) for part in parts]))


def write_error(folder: Path, error: OSError) -> StoreError:
    """What a person is told when the disk refuses a store's bytes."""
    do = "free some space and run again" if error.errno in FULL else "mend it and run again"
    what = f"cannot be written ({error.strerror or error})"
    return StoreError(what, where=str(folder), do=f"{do}: what was finished is kept")
