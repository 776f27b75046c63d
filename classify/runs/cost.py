"""What a run of `classify` took: its own search, and its share of the extraction it stands on."""

from __future__ import annotations

import resource
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from layerprobe.cache.common.metering import Cost, peak_memory
from layerprobe.cache.store import costs
from layerprobe.classify.config import MIX
from layerprobe.classify.features.shared import BOTH
from layerprobe.classify.heads.registry import HEADS
from layerprobe.classify.runs.folder import OUTCOMES, read_json, write_json
from layerprobe.classify.search.jobs import Plan
from layerprobe.classify.search.nested import Outcome

SPENT = "spent.json"


class Watch:
    """Seconds of work on a run, those of earlier sittings included as far as they were saved."""

    def __init__(self, out: Path) -> None:
        self._file = out / OUTCOMES / SPENT
        self._before = float(read_json(self._file)["seconds"]) if self._file.is_file() else 0.0
        self._began = time.monotonic()

    def seconds(self) -> float:
        return self._before + time.monotonic() - self._began

    def save(self) -> None:
        """Write down the seconds so far, for a sitting that goes on after this one was killed."""
        self._file.parent.mkdir(exist_ok=True)
        write_json(self._file, {"seconds": self.seconds()})


def cost_of(plan: Plan, chosen: Sequence[Outcome], *, seconds: float) -> dict[str, Any]:
    """The `cost` of run.json: the search's, and under `extraction` that of its clips' states or None.

    chosen: the selected system, an outcome for each outer fold. seconds: of the search.
    """
    search = Cost(
        wall_s=seconds,
        device_s=seconds,
        peak_memory_bytes=peak_memory(resource.RUSAGE_SELF) + _workers(plan),
        trained_parameters=trained_parameters(plan, chosen),
    )
    sound = float(plan.store.seconds(plan.data.keys).sum(dtype="f8"))
    extraction = costs.share(plan.store.folder, seconds=sound)
    return {**asdict(search), "extraction": None if extraction is None else asdict(extraction)}


def trained_parameters(plan: Plan, chosen: Sequence[Outcome]) -> int | None:
    """Of the largest fold's system; None where a head, such as trees, has no fixed number of them."""
    counts = []
    for outcome in chosen:
        count = HEADS[outcome.id.head].parameters
        if count is None or outcome.id.layer == MIX:
            return None
        stats = str(outcome.params["stats"]).split(BOTH)
        width = plan.store.extraction.width(outcome.id.layer) * len(stats)
        counts.append(count(outcome.params["pca"] or width, len(plan.data.classes), outcome.params))
    return max(counts)


def _workers(plan: Plan) -> int:
    """Bytes of all worker processes at most: as if each had held as much as the largest."""
    return plan.jobs * peak_memory(resource.RUSAGE_CHILDREN) if plan.jobs > 1 else 0
