"""How many operations a batch launches on a GPU."""

from __future__ import annotations

from benchmarks.fake_gpu import clips_of, count_batch
from layerprobe.embed.config import RATE, EmbedConfig


def test_hubert_large_launches_fewer_than_900_operations():
    lengths = clips_of(2.0, total=320.0)
    assert sum(lengths) > 250 * RATE
    operations, _ = count_batch(EmbedConfig(model="random:hubert-large", precision="fp16"), lengths)
    assert 24 * 8 < operations.launched.total() < 900
    assert not operations.waiting
