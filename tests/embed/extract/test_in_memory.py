"""States without a store: a model stays open between calls, with its copies for further threads."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from layerprobe.embed.config import RATE, EmbedConfig
from layerprobe.embed.extract import parallel
from layerprobe.embed.extract.in_memory import StateExtractor
from tests.run import tone


@pytest.fixture
def two_threads():
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


def test_copies_for_further_threads_are_made_once(monkeypatch, two_threads):
    made: list[object] = []
    real = parallel.with_same_weights

    def spy(backbone):
        made.append(backbone)
        return real(backbone)

    monkeypatch.setattr(parallel, "with_same_weights", spy)
    extractor = StateExtractor(EmbedConfig(model="mfcc", device="cpu", batch_seconds=0.5))
    waves = [tone(0.4 + 0.01 * seed, seed=seed) for seed in range(6)]
    first = extractor.arrays(waves, rates=[RATE] * 6)
    again = extractor.arrays(waves, rates=[RATE] * 6)
    assert len(made) == 1
    for one, other in zip(first, again, strict=True):
        assert isinstance(one, dict)
        assert isinstance(other, dict)
        np.testing.assert_array_equal(one["mfcc"], other["mfcc"])


def test_a_clip_without_states_does_not_stop_the_others():
    extractor = StateExtractor(EmbedConfig(model="mfcc", device="cpu"))
    good = tone(0.4, seed=1)
    results = extractor.arrays([good, np.zeros(9_000, np.float32), good], rates=[RATE] * 3)
    assert [isinstance(result, dict) for result in results] == [True, False, True]
    assert "silent" in str(results[1])
