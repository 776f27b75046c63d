"""Names that stand in the place of a layer or a head: layers side by side, ensembles, fusions of models."""

from __future__ import annotations

from typing import Literal

from layerprobe.classify.config import MIX

Fuse = Literal["early", "late", "both"]
EARLY, LATE = "early", "late"  # fusions of models, in the place of a head
FUSION = "fusion"  # kind of a run of several models
ENSEMBLE, SEVERAL = "ensemble", "several"  # an ensemble in the place of a head, and of a layer
JOIN = "+"  # between layers whose columns are side by side, such as 3+6


def layer_parts(layer: str) -> tuple[str, ...]:
    """The layers whose columns are side by side in a layer such as 3+6; of any other layer, itself."""
    return tuple(layer.split(JOIN))


def is_single(layer: str) -> bool:
    """Whether it is one layer of a model: not the mix, layers side by side or the place of an ensemble."""
    return layer not in (MIX, SEVERAL) and JOIN not in layer
