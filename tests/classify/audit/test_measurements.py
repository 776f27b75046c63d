"""Duration, level, silence and clipping of synthetic signals with known values."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile

from layerprobe.classify.audit.measurements import Measurements, measure
from layerprobe.embed.manifest.clips import Clip, select_sound

RATE = 16_000


def tone(seconds: float, *, amplitude: float, rate: int = RATE) -> np.ndarray:
    return amplitude * np.sin(2 * np.pi * 443 * np.arange(round(seconds * rate)) / rate)


def measured(tmp_path: Path, *waves: np.ndarray, rate: int = RATE, subtype: str = "FLOAT") -> Measurements:
    clips = []
    for number, wave in enumerate(waves):
        path = tmp_path / f"{number}.wav"
        soundfile.write(path, wave, rate, subtype=subtype)
        clips.append(Clip(id=path.name, file=str(path)))
    return measure(clips, [clip.id for clip in clips], cache=tmp_path / "cache")


def test_level_and_silence(tmp_path):
    sound, quiet = tone(1.0, amplitude=0.1), tone(3.0, amplitude=0.0009)
    measures = measured(tmp_path, sound, np.concatenate([sound, quiet]), 0.5 * sound)
    assert measures.seconds.tolist() == [1.0, 4.0, 1.0]
    assert measures.level[0] == pytest.approx(20 * np.log10(0.1 / np.sqrt(2)), abs=0.05)
    assert measures.level[1] == pytest.approx(measures.level[0], abs=0.05)
    assert measures.level[2] == pytest.approx(measures.level[0] - 6.02, abs=0.05)
    assert measures.silence == pytest.approx([0.0, 0.75, 0.0], abs=0.01)


def test_clipping_is_found_at_full_scale_and_at_lower_gain(tmp_path):
    loud = np.clip(tone(1.0, amplitude=2.0), -1, 1)
    measures = measured(tmp_path, loud, 0.3 * loud, tone(1.0, amplitude=0.999))
    assert measures.clipped[0] == pytest.approx(2 / 3, abs=0.02)  # arcsin(1/2) is a third of a right angle
    assert measures.clipped[1] == pytest.approx(measures.clipped[0], abs=1e-9)
    assert measures.clipped[2] == 0


def test_clipping_of_16_bit_and_of_one_channel_at_another_rate(tmp_path):
    loud = np.clip(tone(1.0, amplitude=2.0, rate=44_100), -1, 1)
    measures = measured(tmp_path, loud, rate=44_100, subtype="PCM_16")
    assert measures.clipped[0] == pytest.approx(2 / 3, abs=0.02)
    assert (measures.rate[0], measures.channels[0], measures.encoding[0]) == (44_100, 1, "WAV PCM_16")


def test_a_long_file_is_measured_like_its_segments(tmp_path):
    segment = np.clip(tone(1.0, amplitude=2.0), -1, 1)
    measures = measured(tmp_path, np.tile(segment, 70), segment, subtype="PCM_16")
    assert measures.seconds[0] == 70
    for name in ("level", "silence", "clipped"):
        long, short = getattr(measures, name)
        assert long == pytest.approx(short, abs=0.001)


def test_clipping_in_one_block_is_found_whatever_the_other_blocks(tmp_path):
    quiet, loud = tone(30.0, amplitude=0.1), np.clip(tone(30.0, amplitude=2.0), -1, 1)
    measures = measured(tmp_path, np.concatenate([quiet, loud]), np.concatenate([loud, quiet]))
    assert measures.clipped == pytest.approx([1 / 3, 1 / 3], abs=0.01)


def test_broken_clips_have_a_reason_and_no_values(tmp_path):
    (tmp_path / "bad.wav").write_text("nothing")
    measures = measure([Clip(id="bad", file=str(tmp_path / "bad.wav"))], [""], cache=tmp_path / "cache")
    assert "not a sound file" in measures.broken[0]
    assert np.isnan(measures.seconds[0])
    assert measures.copies.shape == (0, 2)


def test_the_lowest_rate_and_the_shortest_clip(tmp_path):
    measures = measured(tmp_path, np.random.default_rng(0).uniform(-1, 1, 25), rate=1_000)
    assert measures.broken[0] == ""
    assert np.isfinite([measures.level[0], measures.silence[0], measures.clipped[0]]).all()


def test_one_channel_is_measured_where_one_is_chosen(tmp_path):
    sound = tone(1.0, amplitude=0.5)
    path = tmp_path / "call.wav"
    soundfile.write(path, np.stack([sound, -0.1 * sound], axis=1), RATE, subtype="FLOAT")
    clips, cache = [Clip(id="call", file=str(path))], tmp_path / "cache"
    levels = [
        measure(select_sound(clips, channels=channels, track=1), ["key"], cache=cache).level[0]
        for channels in ("mean", "0", "1", "0")
    ]
    assert np.diff(levels) == pytest.approx([20 * np.log10(0.5 / 0.225), -20.0, 20.0], abs=0.01)
    broken = measure(select_sound(clips, channels="2", track=1), ["key"], cache=cache).broken
    assert broken[0].startswith("has no channel 2: it has 2, counted from 0")
