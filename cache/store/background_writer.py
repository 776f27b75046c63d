"""Threads that write pending clips to shards; a shard is complete by size, number of clips or age."""

from __future__ import annotations

import errno
import threading
import time
from collections import deque
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from layerprobe.cache.common.disk import FORBIDDEN, SHARE
from layerprobe.cache.common.errors import StoreError
from layerprobe.cache.identity.extraction import Extraction
from layerprobe.cache.store.index import Shards
from layerprobe.cache.store.packed_arrays import PackedArrays, PendingBatch, PendingClip, RowLayout
from layerprobe.cache.store.shard import ShardWriter

FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


class BackgroundWriter:
    """Holds at most two shards' bytes in memory: one shard being filled and one being written.

    A third one may be on its way from the system's memory to the disk, which another thread waits for. All
    HDF5 calls are in these threads, where Ctrl-C cannot interrupt them. Their first error ends them and is
    raised by every later call.
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
        self._publisher = ThreadPoolExecutor(1, "store-publisher")
        self._changed = threading.Condition()  # guards everything below
        self._ready: list[PendingClip | PendingBatch] = []  # complete clips for the next shard
        self._ready_bytes = self._ready_clips = 0
        self._ready_since = 0.0
        self._long: deque[PendingClip] = deque()  # clips larger than a shard
        self._bytes_in_memory = 0
        self._one_shard = False
        self._publishing = self._closing = False
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
        except Exception as error:
            self._fail(error)
        finally:
            self._publisher.shutdown()
            for clip in self._long:
                if clip.shard is not None:
                    clip.shard.discard()

    def _fail(self, error: Exception) -> None:
        """End the threads; the error is raised again in the caller's."""
        with self._changed:
            if self._error is None:
                self._error = write_error(self._folder, error) if isinstance(error, OSError) else error
            self._changed.notify_all()

    def _wait(self) -> bool:
        """Wait for something to write; False when nothing more will come."""
        with self._changed:
            while not (self._closing or self._long_due() or self._ready_due() or self._error is not None):
                timeout = None
                if self._ready and not self._one_shard:
                    timeout = self._ready_since + self._shard_seconds - time.monotonic()
                self._changed.wait(timeout)
            return self._error is None and bool(not self._closing or self._ready or self._long)

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
            if clip.dropped:
                clip.shard.discard()
            else:
                clip.shard.finish(clip.entries)
                self._publish(clip.shard)
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
        shard = ShardWriter(self._folder, self._extraction, rows=sum(c.rows for c in clips))
        try:
            self._write(shard, [block for clip in clips for block in clip.blocks])
            shard.finish([entry for clip in clips for entry in clip.entries])
        except BaseException:
            shard.discard()
            raise
        self._publish(shard)
        with self._changed:
            self._bytes_in_memory -= nbytes
            self._changed.notify_all()

    def _publish(self, shard: ShardWriter) -> None:
        """Have a complete shard published, once the one before is: one at most waits for the disk."""
        with self._changed:
            self._changed.wait_for(lambda: not self._publishing)
            self._publishing = True
        self._publisher.submit(self._publish_now, shard)

    def _publish_now(self, shard: ShardWriter) -> None:
        try:
            with shard:
                self._shards.publish(shard.publish())
        except Exception as error:
            self._fail(error)
        finally:
            with self._changed:
                self._publishing = False
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
