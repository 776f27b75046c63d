"""What a person watches while a study runs: a live table on a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from layerprobe.cache.common.console import progress, told_seconds

if TYPE_CHECKING:
    from rich.table import Table

    from layerprobe.classify.search.progress import Progress, Report

PER_SECOND = 4  # times the table is drawn
AROUND = 9  # lines of a terminal that are not the table's rows: label, a long line wrapped, borders


@contextmanager
def watching(label: str) -> Iterator[Report]:
    """The function that a study reports to; shows what it is told until the block ends."""
    if not sys.stderr.isatty():
        with progress(label) as line:
            yield lambda now: line.update(now.done / now.total, told(now))
        return
    from rich.console import Console, Group
    from rich.live import Live

    console = Console(stderr=True)
    with Live(console=console, refresh_per_second=PER_SECOND, transient=True) as live:
        # What does not fit is cut off at the bottom, so the one line that tells the time left comes first.
        yield lambda now: live.update(Group(label, told(now), table(now, most=console.height - AROUND)))


def told(now: Progress) -> str:
    """One line: trials, rate, time left, and the best (layer, head) so far by its inner score."""
    left = told_seconds(now.eta) if now.eta is not None else "?"
    so_far = ""
    if leader := now.leader():
        (layer, head), score = leader, now.mean_best()[leader]
        so_far = f", best so far {head} on layer {layer} ({score:.3f} inner)"
    return f"{now.done}/{now.total} trials, {now.rate:.1f} trials/s, {left} left{so_far}"


def table(now: Progress, *, most: int) -> Table:
    """Layers down, heads across: the best inner score so far of each, the mean over the outer folds begun.

    Dim are means over fewer folds than others have. most: rows that a screen has room for; of more layers the
    best are shown, in their order.
    """
    from rich.table import Table

    best = now.mean_best()
    heads = sorted({head for _, head in best})
    drawn = Table()
    drawn.add_column("layer", justify="right")
    for head in heads:
        drawn.add_column(head, justify="right")
    leader = now.leader()
    folds = len(now.best[leader]) if leader else 0
    layers = sorted({layer for layer, _ in best}, key=lambda name: (not name.isdigit(), name.zfill(3)))
    left_out = len(layers) - max(most, 1)
    if left_out > 0:
        top = {layer: max(score for (of, _), score in best.items() if of == layer) for layer in layers}
        fitting = set(sorted(layers, key=lambda name: -top[name])[: max(most, 1)])
        layers = [layer for layer in layers if layer in fitting]
        drawn.caption = f"… {left_out} more"
    for layer in layers:
        cells = []
        for head in heads:
            key = layer, head
            fewer = len(now.best.get(key, ())) < folds
            style = "bold green" if key == leader else "dim" if fewer else "none"
            cells.append(f"[{style}]{best[key]:.3f}[/]" if key in best else "")
        drawn.add_row(layer, *cells)
    return drawn
