"""What a person is told when something they gave cannot be used.

Every error that input can cause derives from `InputError`: one line that says what is wrong, where it was
found (file, row, key) and what to do. `cli.py` prints that line and exits with status 2.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


class InputError(Exception):
    """Input that cannot be used.

    what: the fault, with the offending value in it.
    where: file, row or key at which it was found; empty if the fault has no place.
    do: what would mend it; empty if there is nothing general to say.
    """

    def __init__(self, what: str, *, where: str = "", do: str = "") -> None:
        self.what, self.where, self.do = what, where, do
        super().__init__(self.line())

    def line(self) -> str:
        """The whole message on one line: `where: what; do`."""
        head = f"{self.where}: {self.what}" if self.where else self.what
        return f"{head}; {self.do}" if self.do else head

    def __reduce__(self) -> tuple[object, ...]:
        # Keyword-only arguments do not survive Exception's own pickling between processes.
        return _rebuild, (type(self), self.__dict__.copy())


def _rebuild(kind: type[InputError], state: dict[str, object]) -> InputError:
    error = kind.__new__(kind)
    error.__dict__.update(state)
    Exception.__init__(error, error.line())
    return error


class WorkerKilledError(Exception):
    """A worker process was killed, as by the system when memory runs out: one line, exit status 1."""


@dataclass(frozen=True)
class Problem:
    """One fault of a table: `row` counts from 1 under the header, None if it concerns the whole table."""

    row: int | None
    what: str


class ManifestError(InputError):
    """A table of clips with faults; all of them are in `problems`."""

    SHOWN = 20

    def __init__(self, table: str, problems: Sequence[Problem], *, do: str = "") -> None:
        self.problems = list(problems)
        count = len(self.problems)
        super().__init__(f"{count} problem{'s' if count != 1 else ''}", where=table, do=do)

    def line(self) -> str:
        told = [p.what if p.row is None else f"row {p.row}: {p.what}" for p in self.problems[: self.SHOWN]]
        more = len(self.problems) - len(told)
        body = told[0] if len(self.problems) == 1 else "".join(f"\n  {t}" for t in told)
        tail = f"\n  … and {more} more" if more else ""
        head = f"{self.where}: " if len(self.problems) == 1 else f"{self.where}: {self.what}:"
        return f"{head}{body}{tail}" + (f"\n  {self.do}" if self.do else "")


class ClipError(InputError):
    """One clip that cannot be used: the run lists it, counts it, and goes on."""

    @property
    def reason(self) -> str:
        """What is wrong and what to do, without the place: what a list of failures says beside the clip."""
        return f"{self.what}; {self.do}" if self.do else self.what


class ModelError(InputError):
    """A model that cannot be found, read or supported."""


class StoreError(InputError):
    """A store or shard that cannot be used as it is."""


class ForeignStoreError(StoreError):
    """A store that another version of layerprobe wrote: sound, but not to be read by this one."""


class MissingStatesError(StoreError):
    """States were asked for that the store does not hold; `keys` are the missing clips' keys."""

    def __init__(self, what: str, *, keys: Sequence[str], where: str = "", do: str = "") -> None:
        self.keys = list(keys)
        super().__init__(what, where=where, do=do)


class NotFiniteError(ClipError):
    """States with NaN or infinity, or that overflow the storage type."""
