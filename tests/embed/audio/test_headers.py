"""Clips of channels: counted from files, and what a table says of channels that a file lacks."""

from __future__ import annotations

import numpy as np
import pytest

from layerprobe.cache.common.errors import ClipError
from layerprobe.embed.audio import headers, pcm, sound
from layerprobe.embed.audio.decoding import Selection
from layerprobe.embed.audio.headers import ClipAudio, audio_row, channel_clips, read_headers
from layerprobe.embed.audio.sound import AudioInfo
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


INFOS = [
    AudioInfo(rate=16_000, channels=1, begin=0, stop=16_000, selection=Selection(track=2), plain=44),
    AudioInfo(rate=44_100, channels=2, begin=7, stop=44_108, selection=Selection(track=2, channel=1)),
    AudioInfo(rate=8_000, channels=3, begin=0, stop=12_345, selection=Selection(track=2, channel=0)),
]


def test_rows_of_numbers_are_what_was_known_of_each_file():
    audio = ClipAudio(np.array([audio_row(info) for info in INFOS]), track=2)
    assert list(audio) == INFOS
    assert audio.samples.tolist() == [info.samples for info in INFOS]
    assert audio.seconds.tolist() == [info.seconds for info in INFOS]
    assert (len(ClipAudio(np.zeros((0, 6), np.int64)).samples), audio[1:]) == (0, INFOS[1:])


def described(clip: Clip) -> AudioInfo | str:
    try:
        return sound.probe(clip)
    except ClipError as error:
        return str(error)


@pytest.mark.parametrize("channel", [None, 0, 1])
@pytest.mark.parametrize("known", [False, True], ids=["unknown", "known"])
def test_headers_of_many_clips_are_those_of_each(tmp_path, monkeypatch, known, channel):
    """Also where a file's header is known already: then the file is not opened again."""
    plain = sound_file(tmp_path / "plain.wav", noise(20_000), subtype="PCM_16").file
    short = sound_file(tmp_path / "short.wav", noise(300), subtype="PCM_16").file
    other = sound_file(tmp_path / "other.wav", noise(9_000), rate=8_000).file
    clips = [
        Clip(id=str(number), file=file, start=start, end=end, channel=channel)
        for number, (file, start, end) in enumerate(
            [
                *((plain, None, None), (plain, 0.5, 1.0), (plain, 9.0, None), (plain, None, 1.0)),
                *((short, None, None), (other, None, None), (str(tmp_path / "gone.wav"), None, None)),
            ]
        )
    ]
    expected = [described(clip) for clip in clips]
    table = np.zeros((len(clips), 2), np.int64)
    if known:
        for row, clip in enumerate(clips):
            if (found := pcm.find_plain(clip.file)) is not None:
                table[row] = found.begin, found.samples

        def find_again(path: str) -> None:
            assert path not in (plain, short)

        monkeypatch.setattr(pcm, "find_plain", find_again)
    monkeypatch.setattr(headers, "AHEAD", 2)
    rows = np.array([6, 5, 4, 3, 2, 1, 0])
    infos, faults = read_headers(clips, rows, table)
    failed = {int(rows[number]): str(error) for number, error in faults}
    audio = ClipAudio(infos)
    assert failed == {row: text for row, text in enumerate(expected) if isinstance(text, str)}
    for number, row in enumerate(rows.tolist()):
        if row not in failed:
            assert audio[number] == expected[row]
