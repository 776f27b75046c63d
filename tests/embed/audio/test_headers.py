"""Clips of channels: counted from files, and what a table says of channels that a file lacks."""

from __future__ import annotations

import numpy as np

from layerprobe.embed.audio.headers import channel_clips
from layerprobe.embed.manifest.clips import Clip
from tests.sounds import noise, sound_file


def test_labels_of_channels_that_a_file_lacks_are_noted_in_one_line(tmp_path, capsys):
    stereo = sound_file(tmp_path / "stereo.wav", np.stack([noise(4_000), noise(4_000, seed=1)], 1)).file
    mono, gone = sound_file(tmp_path / "mono.wav", noise(4_000)).file, str(tmp_path / "gone.wav")
    labels = {"emotion_0": "calm", "emotion_1": "angry"}
    clips = [Clip(id=file, file=file, labels=labels) for file in (stereo, mono, gone)]
    found = channel_clips(clips, channels="each", track=1)
    assert [(c.file, c.own_channel) for c in found] == [(stereo, 0), (stereo, 1), (mono, 0), (gone, 0)]
    expected = (
        f"note: labels of channels that do not exist are not used: emotion_1 of {mono}, which has 1 channel"
    )
    assert capsys.readouterr().err.splitlines() == [expected]


def test_other_selections_leave_the_clips_as_they_are(tmp_path, capsys):
    clips = [Clip(id="a", file=str(tmp_path / "gone.wav"), labels={"emotion_0": "calm", "emotion_1": "x"})]
    assert channel_clips(clips, channels="0", track=1) is clips
    assert capsys.readouterr().err == ""
