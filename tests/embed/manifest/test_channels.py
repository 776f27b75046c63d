"""Channels of recordings as clips: ids, labels and speakers of each."""

from __future__ import annotations

from layerprobe.embed.manifest.channels import absent_channels, each_channel
from layerprobe.embed.manifest.clips import Clip


def test_each_channel_has_an_id_and_what_its_own_columns_say():
    call = Clip(
        id="call.wav#1.0-2.0",
        file="call.wav",
        start=1.0,
        end=2.0,
        labels={
            "emotion_0": "calm",
            "emotion_1": "angry",
            "topic": "bill",
            "take_3": "x",
            "speaker_1": "ben",
        },
        speaker="both",
    )
    mono = Clip(id="note.wav", file="note.wav", labels={"emotion_0": "sad", "speaker_0": "cleo"})
    assert each_channel([call, mono], [2, 1]) == [
        Clip(
            id="call.wav#1.0-2.0#channel0",
            file="call.wav",
            start=1.0,
            end=2.0,
            labels={"topic": "bill", "take_3": "x", "emotion": "calm"},
            own_channel=0,
        ),
        Clip(
            id="call.wav#1.0-2.0#channel1",
            file="call.wav",
            start=1.0,
            end=2.0,
            labels={"topic": "bill", "take_3": "x", "emotion": "angry"},
            speaker="ben",
            own_channel=1,
        ),
        Clip(
            id="note.wav#channel0", file="note.wav", labels={"emotion": "sad"}, speaker="cleo", own_channel=0
        ),
    ]


def test_without_numbered_columns_all_channels_are_the_recording_s():
    clip = Clip(id="a.wav", file="a.wav", labels={"emotion": "calm", "take_1": "x"}, speaker="ann")
    channels = each_channel([clip], [3])
    assert [(c.labels, c.speaker) for c in channels] == [(clip.labels, "ann")] * 3
    assert [c.id for c in each_channel([clip], [0])] == ["a.wav#channel0"]


def test_labels_of_channels_that_a_recording_lacks_are_named():
    labels = {"emotion_0": "calm", "emotion_1": "angry", "take_3": "x"}
    clips = [Clip(id=name, file=name, labels=labels) for name in ("mono.wav", "stereo.wav", "gone.wav")]
    clips.append(Clip(id="b.wav", file="b.wav", labels={"emotion_0": "calm", "emotion_1": ""}))
    assert absent_channels(clips, [1, 2, 0, 1]) == ["emotion_1 of mono.wav, which has 1 channel"]
