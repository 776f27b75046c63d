"""Extraction with a progress line."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from layerprobe.cache.common.console import progress
from layerprobe.cache.common.text import format_duration
from layerprobe.embed.config import EmbedConfig

if TYPE_CHECKING:
    from layerprobe.embed.extract.run import Progress, Summary
    from layerprobe.embed.manifest.clips import Clip


def run(clips: Sequence[Clip], config: EmbedConfig) -> Summary:
    """Extract with a progress line."""
    from layerprobe.embed.extract.run import embed as extract

    with progress(f"embed {config.model}") as line:

        def report(now: Progress) -> None:
            share = now.seconds / now.total_seconds if now.total_seconds else 1.0
            speed = f"{now.done / now.elapsed:.1f} clips/s, {now.seconds / now.elapsed:.1f} x real time"
            left = format_duration(now.elapsed * (1 - share) / share) if share else "?"
            failed = f", {now.failed} failed" if now.failed else ""
            line.update(share, f"{now.done}/{now.total} clips{failed}, {speed}, {left} left")

        return extract(clips, config, report=report)
