"""How far a search has come: what a live table shows."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from layerprobe.classify.scores.results import StudyId


@dataclass(kw_only=True)
class Progress:
    """Trials done and the best inner scores so far; changed in place as trials end.

    best: (layer, head) → each outer fold's best inner score so far. began: when this process ended its first
    trial; until then processes start and arrays are made, which later trials do not wait for. deadline:
    `time.monotonic()` when the time given to the search is up; None where it has no limit.
    """

    studies: int
    trials_each: int
    done: int = 0
    resumed: int = 0
    best: dict[tuple[str, str], dict[int, float]] = field(default_factory=dict)
    began: float | None = None
    deadline: float | None = None

    @property
    def total(self) -> int:
        return self.studies * self.trials_each

    @property
    def rate(self) -> float:
        """Trials a second since the first trial of this process ended; 0 before the second one."""
        counted = self.done - self.resumed - 1
        return 0.0 if self.began is None else counted / max(time.monotonic() - self.began, 1e-9)

    @property
    def eta(self) -> float | None:
        """Seconds to go at this rate, or until the time is up; None before the second trial."""
        rate = self.rate
        if not rate:
            return None
        left = (self.total - self.done) / rate
        return left if self.deadline is None else min(left, max(self.deadline - time.monotonic(), 0.0))

    def mean_best(self) -> dict[tuple[str, str], float]:
        """(layer, head) → mean over the outer folds begun of their best inner score."""
        return {key: sum(folds.values()) / len(folds) for key, folds in self.best.items()}

    def leader(self) -> tuple[str, str] | None:
        """The best (layer, head) among those with the most outer folds begun; None before the first score.

        A mean over one easy fold would lead until the others come.
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
        """Count what an earlier run did."""
        self.done += trials
        self.resumed += trials
        if scores:
            self.best.setdefault((id.layer, id.head), {})[id.fold] = max(scores)


Report = Callable[[Progress], None]
