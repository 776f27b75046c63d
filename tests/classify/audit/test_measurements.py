"""Length, level, silence and clipping of made signals whose values are known."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile

from layerprobe.classify.audit.measurements import Measurements, measure
from layerprobe.embed.manifest.clips import Clip

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
    found = measured(tmp_path, sound, np.concatenate([sound, quiet]), 0.5 * sound)
    assert found.seconds.tolist() == [1.0, 4.0, 1.0]
    assert found.level[0] == pytest.approx(20 * np.log10(0.1 / np.sqrt(2)), abs=0.05)
    assert found.level[1] == pytest.approx(found.level[0], abs=0.05)
    assert found.level[2] == pytest.approx(found.level[0] - 6.02, abs=0.05)
    assert found.silence == pytest.approx([0.0, 0.75, 0.0], abs=0.01)


def test_clipping_is_seen_at_full_scale_and_after_turning_down(tmp_path):
    loud = np.clip(tone(1.0, amplitude=2.0), -1, 1)
    found = measured(tmp_path, loud, 0.3 * loud, tone(1.0, amplitude=0.999))
    assert found.clipped[0] == pytest.approx(2 / 3, abs=0.02)  # arcsin(1/2) is a third of a right angle
    assert found.clipped[1] == pytest.approx(found.clipped[0], abs=1e-9)
    assert found.clipped[2] == 0


def test_clipping_of_16_bit_and_of_one_channel_at_another_rate(tmp_path):
    loud = np.clip(tone(1.0, amplitude=2.0, rate=44_100), -1, 1)
    found = measured(tmp_path, loud, rate=44_100, subtype="PCM_16")
    assert found.clipped[0] == pytest.approx(2 / 3, abs=0.02)
    assert (found.rate[0], found.channels[0], found.encoding[0]) == (44_100, 1, "WAV PCM_16")


def test_a_long_file_is_measured_as_its_parts_are(tmp_path):
    part = np.clip(tone(1.0, amplitude=2.0), -1, 1)
    found = measured(tmp_path, np.tile(part, 70), part, subtype="PCM_16")
    assert found.seconds[0] == 70
    for name in ("level", "silence", "clipped"):
        long, short = getattr(found, name)
        assert long == pytest.approx(short, abs=0.001)


def test_clipping_of_a_loud_block_does_not_hide_behind_a_quiet_one(tmp_path):
    quiet, loud = tone(30.0, amplitude=0.1), np.clip(tone(30.0, amplitude=2.0), -1, 1)
    found = measured(tmp_path, np.concatenate([quiet, loud]), np.concatenate([loud, quiet]))
    assert found.clipped == pytest.approx([1 / 3, 1 / 3], abs=0.01)


def test_broken_clips_have_a_reason_and_no_values(tmp_path):
    (tmp_path / "bad.wav").write_text("nothing")
    found = measure([Clip(id="bad", file=str(tmp_path / "bad.wav"))], [""], cache=tmp_path / "cache")
    assert "not a sound file" in found.broken[0]
    assert np.isnan(found.seconds[0])
    assert found.copies.shape == (0, 2)


def test_the_very_lowest_rate_and_the_shortest_clip(tmp_path):
    found = measured(tmp_path, np.random.default_rng(0).uniform(-1, 1, 25), rate=1_000)
    assert found.broken[0] == ""
    assert np.isfinite([found.level[0], found.silence[0], found.clipped[0]]).all()
