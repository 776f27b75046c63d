"""Errors caused by user input: one line that says what is wrong, where (file, row, key), and how to fix it.

All of them derive from `InputError`. `cli.py` prints the line and exits with status 2.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from layerprobe.cache.common.text import printable


class InputError(Exception):
    """Input that cannot be used.

    what: the fault, including the offending value.
    where: file, row or key; empty if the fault has no location.
    do: how to fix it; empty if there is no general advice.
    """

    def __init__(self, what: str, *, where: str = "", do: str = "") -> None:
        self.what, self.where, self.do = what, where, do
        super().__init__(self.line())

    def line(self) -> str:
        """The complete message: `where: what; do`; control characters of names in it are escaped."""
        head = f"{self.where}: {self.what}" if self.where else self.what
        return printable(f"{head}; {self.do}" if self.do else head)

    def lines(self) -> list[str]:
        """The message as it is printed: one line, except for a table with several faults."""
        return [self.line()]

    def __reduce__(self) -> tuple[object, ...]:
        # Exception's own pickling loses keyword-only arguments.
        return _unpickle, (type(self), self.__dict__.copy())


def _unpickle(kind: type[InputError], state: dict[str, object]) -> InputError:
    error = kind.__new__(kind)
    error.__dict__.update(state)
    Exception.__init__(error, error.line())
    return error


class WorkerKilledError(Exception):
    """A worker process was killed, as by the system when memory runs out: one line, exit status 1."""


@dataclass(frozen=True)
class Problem:
    """One fault of a table. `row` counts from 1 below the header; None concerns the whole table."""

    row: int | None
    what: str


class ManifestError(InputError):
    """A table of clips with faults; `problems` lists all of them."""

    SHOWN = 20

    def __init__(self, table: str, problems: Sequence[Problem], *, do: str = "") -> None:
        self.problems = list(problems)
        count = len(self.problems)
        super().__init__(f"{count} problem{'s' if count != 1 else ''}", where=table, do=do)

    def line(self) -> str:
        return "\n".join(self.lines())

    def lines(self) -> list[str]:
        faults = [p.what if p.row is None else f"row {p.row}: {p.what}" for p in self.problems]
        lines = [f"{self.where}: {faults[0] if len(faults) == 1 else f'{self.what}:'}"]
        if len(faults) > 1:
            lines += faults[: self.SHOWN]
        if len(faults) > self.SHOWN:
            lines.append(f"… and {len(faults) - self.SHOWN} more")
        first, *others = map(printable, [*lines, self.do] if self.do else lines)
        return [first, *(f"  {other}" for other in others)]


class ClipError(InputError):
    """One clip that cannot be used: the run records it, counts it and continues."""

    @property
    def reason(self) -> str:
        """What is wrong and how to fix it, without the location; the `reason` column of failures.csv."""
        return f"{self.what}; {self.do}" if self.do else self.what


class ModelError(InputError):
    """A model that cannot be found, read or supported."""


class StoreError(InputError):
    """A store or shard that cannot be used as it is."""


class ForeignStoreError(StoreError):
    """An intact store written by another version of layerprobe, which this version cannot read."""


class ForbiddenError(StoreError):
    """A store or shard that this user may not read, which does not make it damaged."""


class MissingStatesError(StoreError):
    """States that the store does not contain; `keys` are the keys of the missing clips."""

    def __init__(self, what: str, *, keys: Sequence[str], where: str = "", do: str = "") -> None:
        self.keys = list(keys)
        super().__init__(what, where=where, do=do)


class NotFiniteError(ClipError):
    """States with NaN or infinity, or that overflow the storage type."""
