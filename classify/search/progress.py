"""Progress of a search, and its live table on the terminal."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from layerprobe.cache.common.console import is_quiet, progress
from layerprobe.cache.common.text import format_duration, printable
from layerprobe.classify.scores.results import StudyId

if TYPE_CHECKING:
    from rich.table import Table

REFRESH_RATE = 4  # per second
OTHER_LINES = 9  # on the terminal, next to the table's rows: label, a wrapped status line, borders


@dataclass(kw_only=True)
class Progress:
    """Trials done and the best inner scores so far; changed in place as trials end.

    total: trials that are planned; fewer where time was up. best: (layer, head) → best inner score of each
    outer fold. began: end of the first trial of this session; the time before it goes to starting workers and
    computing shared arrays. deadline: `time.monotonic()` at
    the end of the search's time limit, or None. waiting: studies of other processes for which this one waits.
    """

    total: int
    done: int = 0
    resumed: int = 0
    best: dict[tuple[str, str], dict[int, float]] = field(default_factory=dict)
    began: float | None = None
    deadline: float | None = None
    waiting: int = 0

    @property
    def rate(self) -> float:
        """Trials per second since the first trial of this session ended; 0 before the second one."""
        counted = self.done - self.resumed - 1
        return 0.0 if self.began is None else counted / max(time.monotonic() - self.began, 1e-9)

    @property
    def eta(self) -> float | None:
        """Remaining seconds at this rate, or until the deadline; None before the second trial."""
        rate = self.rate
        if not rate:
            return None
        left = (self.total - self.done) / rate
        return left if self.deadline is None else min(left, max(self.deadline - time.monotonic(), 0.0))

    def mean_best(self) -> dict[tuple[str, str], float]:
        """(layer, head) → best inner score, averaged over the outer folds started so far."""
        return {key: sum(folds.values()) / len(folds) for key, folds in self.best.items()}

    def leader(self) -> tuple[str, str] | None:
        """The best (layer, head) among those with the most outer folds started; None before the first score.

        Otherwise the mean over one easy fold would lead for long.
        """
        most = max(map(len, self.best.values()), default=0)
        means = self.mean_best()
        return max((key for key in means if len(self.best[key]) == most), key=means.__getitem__, default=None)

    def add(self, id: StudyId, score: float | None) -> None:
        """Count a trial; its score is None if it was pruned."""
        self.done += 1
        if self.began is None:
            self.began = time.monotonic()
        if score is not None:
            folds = self.best.setdefault((id.layer, id.head), {})
            folds[id.fold] = max(score, folds.get(id.fold, score))

    def resume(self, id: StudyId, scores: Sequence[float], *, trials: int) -> None:
        """Count trials of an earlier session."""
        self.done += trials
        self.resumed += trials
        if scores:
            folds = self.best.setdefault((id.layer, id.head), {})
            folds[id.fold] = max(*scores, folds.get(id.fold, scores[0]))


ProgressCallback = Callable[[Progress], None]


@contextmanager
def live_display(label: str) -> Iterator[ProgressCallback]:
    """Show progress until the block ends, as a table on a terminal. Gives the callback of `run_study`."""
    if is_quiet() or not sys.stderr.isatty():
        with progress(label) as line:
            yield lambda now: line.update(now.done / now.total, status_line(now))
        return
    from rich.console import Console, Group
    from rich.live import Live
    from rich.text import Text

    console = Console(stderr=True)
    with Live(console=console, refresh_per_second=REFRESH_RATE, transient=True) as live:
        # What does not fit is cut off at the bottom, so the status line comes first.
        yield lambda now: live.update(
            Group(
                Text(printable(label)), Text(status_line(now)), table(now, most=console.height - OTHER_LINES)
            )
        )


def status_line(now: Progress) -> str:
    """One line: trials, rate, time left, and the best (layer, head) so far by its inner score."""
    left = format_duration(now.eta) if now.eta is not None else "?"
    so_far = ""
    if leader := now.leader():
        (layer, head), score = leader, now.mean_best()[leader]
        so_far = f", best so far {head} on layer {layer} ({score:.3f} inner)"
    others = ""
    if now.waiting:
        others = f"waiting for {now.waiting} stud{'ies' if now.waiting > 1 else 'y'} of other processes, "
    return f"{now.done}/{now.total} trials, {others}{now.rate:.1f} trials/s, {left} left{so_far}"


def table(now: Progress, *, most: int) -> Table:
    """Layers by heads: best inner score, averaged over the outer folds started; dim where these are fewer.

    most: rows that fit on the screen; of more layers the best are shown, in their order.
    """
    from rich.table import Table

    best = now.mean_best()
    heads = sorted({head for _, head in best})
    rows = Table()
    rows.add_column("layer", justify="right")
    for head in heads:
        rows.add_column(head, justify="right")
    leader = now.leader()
    folds = len(now.best[leader]) if leader else 0
    layers = sorted({layer for layer, _ in best}, key=lambda name: (not name.isdigit(), name.zfill(3)))
    left_out = len(layers) - max(most, 1)
    if left_out > 0:
        top = {layer: max(score for (of, _), score in best.items() if of == layer) for layer in layers}
        fitting = set(sorted(layers, key=lambda name: -top[name])[: max(most, 1)])
        layers = [layer for layer in layers if layer in fitting]
        rows.caption = f"… {left_out} more"
    for layer in layers:
        cells = []
        for head in heads:
            key = layer, head
            fewer = len(now.best.get(key, ())) < folds
            style = "bold green" if key == leader else "dim" if fewer else "none"
            cells.append(f"[{style}]{best[key]:.3f}[/]" if key in best else "")
        rows.add_row(layer, *cells)
    return rows
