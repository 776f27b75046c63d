"""A thread that writes pending clips to shards; a shard is complete by size, number of clips or age."""

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

from layerprobe.cache.common.disk import FORBIDDEN, SHARE
from layerprobe.cache.common.errors import StoreError
from layerprobe.cache.identity.extraction import Extraction
from layerprobe.cache.store.index import Shards
from layerprobe.cache.store.packed_arrays import PackedArrays, RowLayout
from layerprobe.cache.store.shard import ClipEntry, ShardWriter

FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


@dataclass(eq=False, slots=True)
class PendingClip:
    """A clip that is not on disk yet. One larger than a shard gets its own shard, written block by block."""

    key: str
    path: str
    blocks: list[PackedArrays] = field(default_factory=list)  # still in memory; each layer's (R, S, D)
    nbytes: int = 0  # of `blocks`
    rows: int = 0  # of all blocks, written or not
    frames: int = 0
    seconds: float = 0.0
    ended: bool = False  # complete or dropped: no block will follow
    dropped: bool = False
    shard: ShardWriter | None = None

    @property
    def entries(self) -> list[ClipEntry]:
        return [ClipEntry(self.key, self.rows, self.frames, self.seconds, self.path)]


class PendingBatch:
    """Complete clips of one row each, that are not on disk yet."""

    def __init__(self, entries: list[ClipEntry], block: PackedArrays) -> None:
        self.entries, self.blocks, self.nbytes, self.rows = entries, [block], block.nbytes, block.rows


class BackgroundWriter:
    """Holds at most two shards' bytes in memory: one shard being filled and one being written.

    All HDF5 calls are in the thread, where Ctrl-C cannot interrupt them. Its first error ends the thread and
    is raised by every later call.
    """

    def __init__(
        self,
        shards: Shards,
        extraction: Extraction,
        layout: RowLayout,
        *,
        shard_bytes: int,
        shard_clips: int,
        shard_seconds: float,
    ) -> None:
        self._shards, self._folder = shards, shards.written
        self._extraction, self._layout = extraction, layout
        self._shard_bytes, self._shard_clips = shard_bytes, shard_clips
        self._shard_seconds = shard_seconds
        self._thread = threading.Thread(target=self._run, name="store-writer")
        self._changed = threading.Condition()  # guards everything below
        self._ready: list[PendingClip | PendingBatch] = []  # complete clips for the next shard
        self._ready_bytes = self._ready_clips = 0
        self._ready_since = 0.0
        self._long: deque[PendingClip] = deque()  # clips larger than a shard
        self._bytes_in_memory = 0
        self._one_shard = False
        self._closing = False
        self._error: Exception | None = None

    def start(self) -> None:
        try:
            self._thread.start()
        except KeyboardInterrupt:
            self.close()  # the thread may be running already
            raise

    def close(self) -> Exception | None:
        """Write the complete clips and end the thread; returns its error, if it had one."""
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        self._thread.join()
        return self._error

    def check(self) -> None:
        """Raise the thread's error, if it had one."""
        if self._error is not None:
            raise self._error

    def add(self, clip: PendingClip, block: PackedArrays) -> None:
        """Add the next block of a clip. Waits until there is room in memory."""
        with self._changed:
            self._changed.wait_for(lambda: not self._memory_full() or self._error is not None)
            self.check()
            clip.blocks.append(block)
            clip.rows += block.rows
            clip.nbytes += block.nbytes
            self._bytes_in_memory += block.nbytes
            if clip.nbytes >= self._shard_bytes:
                if clip not in self._long:
                    self._long.append(clip)
                self._changed.notify_all()

    def add_batch(self, batch: PendingBatch) -> None:
        """Add complete clips. Waits until there is room in memory."""
        with self._changed:
            self._changed.wait_for(lambda: not self._memory_full() or self._error is not None)
            self.check()
            self._bytes_in_memory += batch.nbytes
            self._add_ready(batch)

    def end(self, clip: PendingClip, *, frames: int, seconds: float) -> None:
        """Mark a clip as complete."""
        with self._changed:
            self.check()
            clip.frames, clip.seconds, clip.ended = frames, seconds, True
            if clip in self._long:
                self._changed.notify_all()
            else:
                self._add_ready(clip)

    def _add_ready(self, clips: PendingClip | PendingBatch) -> None:
        if not self._ready:
            self._ready_since = time.monotonic()
        self._ready.append(clips)
        self._ready_bytes += clips.nbytes
        self._ready_clips += len(clips.entries)
        self._changed.notify_all()

    def drop(self, clip: PendingClip) -> None:
        """Discard an incomplete clip."""
        with self._changed:
            clip.ended = clip.dropped = True
            if clip not in self._long:
                self._bytes_in_memory -= clip.nbytes
            self._changed.notify_all()

    @contextmanager
    def in_one_shard(self) -> Iterator[None]:
        """Write clips that end in this context to one shard, as long as they fit into memory."""
        with self._changed:
            self._one_shard = True
        try:
            yield
        finally:
            with self._changed:
                self._one_shard = False
                self._changed.notify_all()

    def _run(self) -> None:
        """The thread: long clips block by block, the others shard by shard."""
        try:
            while self._wait():
                self._write_long()
                self._write_ready()
        except Exception as error:  # raised again in the caller's thread
            with self._changed:
                self._error = write_error(self._folder, error) if isinstance(error, OSError) else error
                self._changed.notify_all()
        finally:
            for clip in self._long:
                if clip.shard is not None:
                    clip.shard.discard()

    def _wait(self) -> bool:
        """Wait for something to write; False when nothing more will come."""
        with self._changed:
            while not (self._closing or self._long_due() or self._ready_due()):
                timeout = None
                if self._ready and not self._one_shard:
                    timeout = self._ready_since + self._shard_seconds - time.monotonic()
                self._changed.wait(timeout)
            return bool(not self._closing or self._ready or self._long)

    def _memory_full(self) -> bool:
        return self._bytes_in_memory >= 2 * self._shard_bytes

    def _long_due(self) -> bool:
        return bool(self._long) and (self._long[0].ended or self._long[0].nbytes >= self._shard_bytes)

    def _ready_due(self) -> bool:
        if not self._ready or (self._one_shard and not self._memory_full()):
            return False
        old = time.monotonic() - self._ready_since >= self._shard_seconds
        full = self._ready_bytes >= self._shard_bytes or self._ready_clips >= self._shard_clips
        return old or full or self._closing

    def _write_long(self) -> None:
        with self._changed:
            if not self._long_due():
                return
            clip = self._long[0]
            blocks, nbytes, ended = clip.blocks, clip.nbytes, clip.ended
            clip.blocks, clip.nbytes = [], 0
        if clip.shard is None:
            clip.shard = ShardWriter(self._folder, self._extraction)
        if not clip.dropped:
            self._write(clip.shard, blocks)
        if ended:
            if not clip.dropped:
                self._shards.publish(clip.shard.finish(clip.entries))
            clip.shard.discard()
        with self._changed:
            self._bytes_in_memory -= nbytes
            if ended:
                self._long.popleft()
            self._changed.notify_all()

    def _write_ready(self) -> None:
        with self._changed:
            if not self._ready_due():
                return
            clips, nbytes = self._ready, self._ready_bytes
            self._ready, self._ready_bytes, self._ready_clips = [], 0, 0
        with ShardWriter(self._folder, self._extraction, rows=sum(c.rows for c in clips)) as shard:
            self._write(shard, [block for clip in clips for block in clip.blocks])
            path = shard.finish([entry for clip in clips for entry in clip.entries])
        self._shards.publish(path)
        with self._changed:
            self._bytes_in_memory -= nbytes
            self._changed.notify_all()

    def _write(self, shard: ShardWriter, blocks: list[PackedArrays]) -> None:
        for index, layer in enumerate(self._extraction.layers if blocks else ()):
            shard.append(layer, np.concatenate([block.array(index, self._layout) for block in blocks]))


def write_error(folder: Path, error: OSError) -> StoreError:
    """The error for a store that the disk does not accept."""
    what = f"cannot be written ({error.strerror or error})"
    if error.errno in FORBIDDEN:
        return StoreError(what, where=str(folder), do=SHARE)
    advice = "free some space and run again" if error.errno in FULL else "fix the cause and run again"
    return StoreError(what, where=str(folder), do=f"{advice}: finished clips are saved")
