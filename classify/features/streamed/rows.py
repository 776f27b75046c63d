"""A head's input as a lazy array: computed from the file of states when a block of it is read."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from layerprobe.classify.features.scaling import unit_rows
from layerprobe.classify.features.streamed.moments import Affine
from layerprobe.classify.features.streamed.stored import StoredStates

BLOCK_BYTES = 8 << 20  # of the blocks of `StreamedRows.blocks`


@dataclass(frozen=True, kw_only=True)
class Transform:
    """Stored states → columns of a head's input: by speaker, by column, unit length, in this order.

    picked: which stored columns, (d,). by_speaker: with a row for each speaker, or None. unit: whether rows
    are scaled to unit length, after which `centre` applies.
    """

    picked: np.ndarray
    by_speaker: Affine | None = None
    columns: Affine | None = None
    unit: bool = False
    centre: Affine | None = None

    def apply(self, X: np.ndarray, speakers: np.ndarray | None) -> np.ndarray:
        """(r, D) stored states → (r, d) float32. speakers: (r,), required by a scaling by speaker."""
        Z = X if len(self.picked) == X.shape[1] and self.in_order else X[:, self._selection]
        if self.by_speaker is not None:
            assert speakers is not None  # for the type checker: `fold` checks it
            Z = self.by_speaker.apply_by(Z, speakers)
        if self.columns is not None:
            Z = self.columns.apply(Z)
        if self.unit:
            Z = unit_rows(Z)
        return Z if self.centre is None else self.centre.apply(Z)

    def times(self, weight: float) -> Transform:
        """The same, and then a factor of all columns."""
        if self.centre is not None:
            return replace(self, centre=self.centre.times(weight))
        assert self.columns is not None  # for the type checker: every input is centred
        return replace(self, columns=self.columns.times(weight))

    @property
    def in_order(self) -> bool:
        """Whether the columns are adjacent in the file."""
        return bool((np.diff(self.picked) == 1).all())

    @property
    def _selection(self) -> slice | np.ndarray:
        return slice(int(self.picked[0]), int(self.picked[-1]) + 1) if self.in_order else self.picked


class StreamedRows:
    """Rows (n, d) float32 of a head's input, of which only the block that is read is in memory.

    Has what heads use of an array: `shape`, `len`, slices of rows, and products with a matrix.
    """

    def __init__(
        self,
        states: StoredStates,
        rows: np.ndarray,
        transform: Transform,
        *,
        speakers: np.ndarray | None = None,
    ) -> None:
        self._states, self._rows, self.transform, self._speakers = states, rows, transform, speakers
        self.shape = len(rows), len(transform.picked)
        self._last: tuple[slice, np.ndarray] | None = None

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, part: slice) -> np.ndarray:
        """Some rows, (r, d). The last block is remembered: an iteration often uses it twice."""
        if self._last is None or self._last[0] != part:
            self._last = None  # so that there is one block in memory, not two
            self._last = part, self._read(self._rows[part])
        return self._last[1]

    def __matmul__(self, W: np.ndarray) -> np.ndarray:
        """(n, k): the product with W (d, k)."""
        out = np.empty((len(self), W.shape[1]), np.result_type(np.float32, W))
        for part in self.parts():
            out[part] = self._read(self._rows[part]) @ W
        return out

    @property
    def power(self) -> float:
        """As `FoldFeatures.power`, of the rows that the scaling was fitted to."""
        last = self.transform.centre or self.transform.columns
        assert last is not None  # for the type checker: every input is centred
        return float(last.spread.sum())

    def times(self, weight: float) -> StreamedRows:
        """The same rows times a factor."""
        transform = self.transform.times(weight)
        return StreamedRows(self._states, self._rows, transform, speakers=self._speakers)

    def take(self, positions: np.ndarray) -> np.ndarray:
        """(r, d) float32: rows by position (r,)."""
        return self._read(self._rows[positions])

    def _read(self, rows: np.ndarray) -> np.ndarray:
        speakers = None if self._speakers is None else self._speakers[rows]
        return self.transform.apply(self._states.read(rows), speakers)

    def parts(self) -> list[slice]:
        """Slices that cover all rows, of about BLOCK_BYTES."""
        step = max(1, BLOCK_BYTES // (4 * self._states.columns))
        return [slice(begin, min(begin + step, len(self))) for begin in range(0, len(self), step)]

    def blocks(self) -> Iterator[np.ndarray]:
        """All rows, (r, d) at a time."""
        for part in self.parts():
            yield self._read(self._rows[part])

    def speaker_blocks(self) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """As `blocks`, with the speaker's number (r,) of each row."""
        assert self._speakers is not None  # for the type checker: `fold` checks it
        for part, block in zip(self.parts(), self.blocks(), strict=True):
            yield block, self._speakers[self._rows[part]]


def row_power(rows: np.ndarray | StreamedRows) -> float:
    """The mean squared length of rows."""
    if isinstance(rows, StreamedRows):
        return rows.power
    return float(np.square(rows).sum(dtype=np.float64) / len(rows))


def row_blocks(rows: np.ndarray | StreamedRows) -> Iterator[tuple[slice, np.ndarray]]:
    """The rows of an array at once, or those of a lazy one block by block; each with its place."""
    if isinstance(rows, StreamedRows):
        yield from zip(rows.parts(), rows.blocks(), strict=True)
    else:
        yield slice(0, len(rows)), rows
