"""Full fine-tuning of a model on fixed splits, into the run folder that `classify` writes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from classify.finetune_config import FinetuneConfig
from classify.parts import Assignment
from embed.config import DEFAULT_CACHE
from embed.manifest import Clip


@dataclass(frozen=True, kw_only=True)
class FinetuneProgress:
    """How far a fine-tuning is: `share` of all training steps (0 to 1), and in words what matters now."""

    share: float
    told: str


Report = Callable[[FinetuneProgress], None]


def finetune(
    clips: Sequence[Clip],
    assignment: Assignment,
    *,
    model: str,
    out: Path,
    config: FinetuneConfig,
    revision: str | None = None,
    cache: Path = DEFAULT_CACHE,
    command: Mapping[str, Any] | None = None,
    report: Report | None = None,
) -> dict[str, Any]:
    """Fine-tune on each fold's training clips, test once, write the run folder `out`; returns its summary.

    assignment: for each outer fold the ids of its (training, test) clips, as in splits.json and as
    `protocols.assign` gives them. model, revision: as for `embed`. cache: where file hashes are remembered.

    A run that was cut short goes on where it was; a finished one is left as it is. Raises InputError.
    """
    raise NotImplementedError
