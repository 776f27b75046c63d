"""The dry run: what it counts, and that it can time any batch of a plan."""

from __future__ import annotations

import pytest
import soundfile

from layerprobe.embed.config import EmbedConfig
from layerprobe.embed.extract.estimate import estimate
from layerprobe.embed.extract.run import embed
from layerprobe.embed.manifest.clips import Clip, read_manifest
from tests.run import tone, write_corpus


def test_it_counts_cached_missing_and_unusable_clips(tmp_path):
    clips = read_manifest(write_corpus(tmp_path, clips=4))
    config = EmbedConfig(model="mfcc", cache=tmp_path / "features")
    embed(clips[:1], config)
    clips[3].path.write_text("not sound")
    result = estimate(clips, config)
    assert (result.clips, result.cached, result.missing, result.failed) == (4, 1, 2, 1)
    assert result.hours * 3600 == pytest.approx(sum(soundfile.info(c.file).duration for c in clips[1:3]))
    assert result.seconds > 0
    assert result.real_time > 0
    assert result.bytes > 0


@pytest.mark.timeout(60)
def test_a_batch_from_the_middle_of_a_long_clip_is_timed(tmp_path):
    path = tmp_path / "long.wav"
    soundfile.write(path, tone(20.0, seed=1), 16_000)
    config = EmbedConfig(model="mfcc", cache=tmp_path / "features", window=2.0, batch_seconds=4.0)
    result = estimate([Clip(id="long", file=str(path))], config)
    assert (result.missing, result.failed) == (1, 0)
    assert result.seconds > 0
