"""Networks over frames that are trained in moments."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from layerprobe.classify.heads.frames import bilstm
from layerprobe.classify.heads.frames.bilstm import BILSTM
from layerprobe.classify.heads.solvers import frame_training


@contextmanager
def small_networks(*, rounds: int, steps: int = frame_training.LEAST_STEPS) -> Iterator[None]:
    """Within it, networks have few units and are trained for few rounds of at least `steps` batches."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(frame_training, "ROUNDS", rounds)
        patch.setattr(frame_training, "LEAST_STEPS", steps)
        patch.setattr(bilstm, "HIDDEN", [8])
        patch.setitem(BILSTM.start, "hidden", 8)
        patch.setitem(BILSTM.start, "rate", 1e-2)
        yield
