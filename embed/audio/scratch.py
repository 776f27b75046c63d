"""Decoded samples of files that can only be decoded from their start, on disk for as long as a run lasts.

Without it, each segment of a long compressed file would cost the decoding of everything before it.
"""

from __future__ import annotations

import os
import shutil
import tempfile
import threading
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from layerprobe.embed.audio.sources import DecodingError, Source
from layerprobe.embed.config import EmbedConfig

_SAMPLE = 4  # bytes
_EXTENT = 1 << 18  # samples written at a time
_RESERVE = 1 << 30  # bytes of free space that are left to others


@dataclass
class _Decoded:
    """A decoded file: where each extent of its samples begins in the scratch file, or why there are none."""

    lock: threading.Lock = field(default_factory=threading.Lock)
    format: tuple[int, int, str] | None = None  # rate, channels, encoding; None before it is decoded
    extents: list[int] = field(default_factory=list)
    length: int = 0
    error: DecodingError | None = None


class Scratch:
    """One unnamed file with the samples of all decoded files; it ends with the process, however that ends.

    Safe to use from several threads: the first that wants a file decodes it, the others wait for it.
    """

    def __init__(self, budget: int = EmbedConfig.scratch, folder: Path | None = None) -> None:
        """budget: bytes. folder: of the file; the system's folder of temporary files if omitted."""
        self._budget, self._folder = budget, folder
        self._lock = threading.Lock()
        self._full = 0
        self._reset()

    @property
    def full(self) -> int:
        """Files whose samples did not fit."""
        return self._full

    def decoded(self, key: Hashable, open_source: Callable[[], Source]) -> ScratchSource | None:
        """The samples of the source called `key`; None if they do not fit. Raises DecodingError."""
        with self._lock:
            if self._process != os.getpid():
                self._reset()  # after a fork, the file belongs to the parent
            entry = self._entries.setdefault(key, _Decoded())
        with entry.lock:
            if entry.format is None:
                source = open_source()
                self._fill(entry, source)
                entry.format = source.rate, source.channels, source.encoding
        if entry.error is not None:
            raise entry.error
        return ScratchSource(self, entry) if entry.extents else None

    def read(self, size: int, at: int) -> bytes:
        return os.pread(self._descriptor, size, at)

    def close(self) -> None:
        """Free the space."""
        with self._lock:
            if self._descriptor >= 0:
                os.close(self._descriptor)
            self._reset()

    def _reset(self) -> None:
        self._process = os.getpid()
        self._entries: dict[Hashable, _Decoded] = {}
        self._free: dict[int, list[int]] = {}  # extents to use again, by their bytes
        self._used = 0
        self._descriptor = -1

    def _fill(self, entry: _Decoded, source: Source) -> None:
        size = _EXTENT * source.channels * _SAMPLE
        try:
            while len(samples := source.read(_EXTENT)):
                entry.extents.append(self._allocate(size))
                data = samples.tobytes()
                if os.pwrite(self._descriptor, data, entry.extents[-1]) < len(data):
                    raise OSError("no space left")
                entry.length += len(samples)
            return
        except DecodingError as error:
            entry.error = error
        except OSError:  # full: the file's segments are decoded from its start, one by one
            self._full += 1
        with self._lock:
            self._free.setdefault(size, []).extend(entry.extents)
            entry.extents = []

    def _allocate(self, size: int) -> int:
        """Raises OSError where budget or disk are exhausted."""
        with self._lock:
            if self._descriptor < 0:
                with tempfile.TemporaryFile(dir=self._folder) as file:  # deleted at once, open until closed
                    self._descriptor = os.dup(file.fileno())
            if free := self._free.get(size):
                return free.pop()
            folder = self._folder or tempfile.gettempdir()
            if self._used + size > self._budget or shutil.disk_usage(folder).free < size + _RESERVE:
                raise OSError("no space left")
            self._used += size
            return self._used - size


class ScratchSource:
    """The samples of a decoded file; see `Source`."""

    exact = True

    def __init__(self, scratch: Scratch, entry: _Decoded) -> None:
        assert entry.format is not None
        self._scratch, self._entry, self._at = scratch, entry, 0
        self.rate, self.channels, self.encoding = entry.format
        self.frames: int | None = entry.length

    def seek(self, sample: int) -> None:
        self._at = sample

    def read(self, count: int) -> np.ndarray:
        blocks, stop, width = [], min(self._at + count, self._entry.length), self.channels * _SAMPLE
        while self._at < stop:
            number, first = divmod(self._at, _EXTENT)
            length = min(_EXTENT - first, stop - self._at)
            data = self._scratch.read(length * width, self._entry.extents[number] + first * width)
            blocks.append(np.frombuffer(data, np.float32).reshape(length, self.channels))
            self._at += length
        return np.concatenate(blocks) if blocks else np.empty((0, self.channels), np.float32)


def space_of(samples: int, channels: int) -> int:
    """Bytes that the decoded samples of a file take."""
    return -(-samples // _EXTENT) * _EXTENT * channels * _SAMPLE


_current = Scratch()


def current() -> Scratch:
    """The scratch space of this run."""
    return _current


@contextmanager
def scratch_space(budget: int, folder: Path) -> Iterator[Scratch]:
    """Decode into a file of at most this size in this folder; it is gone afterwards."""
    global _current
    previous, _current = _current, Scratch(budget, folder)
    try:
        yield _current
    finally:
        _current.close()
        _current = previous
