"""Fine-tuning with a progress line."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from layerprobe.cache.common.console import progress
from layerprobe.cache.common.interrupts import Interrupted

if TYPE_CHECKING:
    from layerprobe.classify.data.splits import Assignment
    from layerprobe.embed.manifest.clips import Clip


def finetune_with_progress(
    clips: Sequence[Clip], assignment: Assignment, *, model: str, out: Path, **options: Any
) -> dict[str, Any]:
    """Fine-tune as `classify.finetune.run.finetune` does, with a progress line; returns the run's summary.

    Raises Interrupted if the user stops the run; finished folds and the last checkpoint stay in `out`.
    """
    from layerprobe.classify.finetune.run import finetune

    try:
        with progress(f"finetune {model}") as line:
            return finetune(
                clips,
                assignment,
                model=model,
                out=out,
                report=lambda now: line.update(now.share, now.status),
                **options,
            )
    except KeyboardInterrupt:
        saved = f"finished folds and the last checkpoint are kept in {out}"
        raise Interrupted(f"{saved}; run the same command again to continue") from None
