"""Sums over the parts of a table: progress while they run, and one summary at the end."""

from __future__ import annotations

import time
from collections.abc import Collection
from dataclasses import dataclass, field

from layerprobe.cache.store.failures import FailureId
from layerprobe.embed.extract.run import ExtractionProgress, ExtractionSummary


@dataclass
class Totals:
    """What the parts have reported so far."""

    _began: float = field(default_factory=time.perf_counter)
    _progress: dict[int, ExtractionProgress] = field(default_factory=dict)
    _summaries: dict[int, ExtractionSummary] = field(default_factory=dict)

    @property
    def summaries(self) -> Collection[ExtractionSummary]:
        """Those of the parts that have ended."""
        return self._summaries.values()

    def update(self, part: int, news: ExtractionProgress | ExtractionSummary) -> None:
        """Note what a part has reported last."""
        if isinstance(news, ExtractionProgress):
            self._progress[part] = news
        else:
            self._summaries[part] = news

    def progress(self) -> ExtractionProgress:
        """The sum over the parts that have reported progress."""
        reports = self._progress.values()
        return ExtractionProgress(
            done=sum(report.done for report in reports),
            failed=sum(report.failed for report in reports),
            total=sum(report.total for report in reports),
            seconds=sum(report.seconds for report in reports),
            total_seconds=sum(report.total_seconds for report in reports),
            elapsed=time.perf_counter() - self._began,
        )

    def ended(self, *, of: int, clips: int) -> ExtractionProgress:
        """Progress where parts report only at their end: `of` parts with `clips` clips in all."""
        summary = self.summary()
        return ExtractionProgress(
            done=summary.embedded + summary.cached + summary.copies,
            failed=len(summary.failures),
            total=clips,
            seconds=summary.seconds,
            total_seconds=summary.seconds * of / len(self.summaries),  # parts are of about the same length
            elapsed=summary.elapsed,
        )

    def summary(self) -> ExtractionSummary:
        """The sum over the parts that have ended, which must be one at least."""
        parts = list(self.summaries)
        seconds = sum(part.seconds for part in parts)
        failures: dict[FailureId, str] = {}
        for part in parts:
            failures |= part.failures
        return ExtractionSummary(
            store=parts[0].store,
            fingerprint=parts[0].fingerprint,
            clips=sum(part.clips for part in parts),
            embedded=sum(part.embedded for part in parts),
            cached=sum(part.cached for part in parts),
            copies=sum(part.copies for part in parts),
            failures=failures,
            seconds=seconds,
            elapsed=time.perf_counter() - self._began,
            padding=sum(part.padding * part.seconds for part in parts) / seconds if seconds else 0.0,
            recomputed=sum(part.recomputed for part in parts),
            stopped=any(part.stopped for part in parts),
        )
