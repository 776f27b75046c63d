"""What FFmpeg reads: length, samples, tracks, and what it must not read."""

from __future__ import annotations

import numpy as np
import pytest
import soundfile

from layerprobe.cache.common.errors import ClipError
from layerprobe.embed.audio import sound as audio
from layerprobe.embed.audio.decoding import Selection, open_decoder
from tests.sounds import COMPRESSED, clip_of, encoded, noise, sound_file


def tone(rate: int, seconds: float = 1.5, pitch: float = 440) -> np.ndarray:
    time = np.arange(int(rate * seconds)) / rate
    return (0.3 * np.sin(2 * np.pi * pitch * time) * np.sin(np.pi * time / seconds)).astype(np.float32)


def decode(path, *, track: int = 1) -> np.ndarray:
    with open_decoder(clip_of(path), Selection(track=track)) as decoder:
        return decoder.read(0, decoder.length()).copy()


@pytest.mark.parametrize("kind", COMPRESSED)
def test_a_compressed_file_has_the_length_and_the_sound_of_what_was_encoded(tmp_path, kind):
    _, _, rate, channels, frame = COMPRESSED[kind]
    wave = tone(rate)
    path = encoded(tmp_path / "a", wave, kind=kind)
    info = audio.probe(clip_of(path))
    assert (info.rate, info.channels) == (rate, channels)
    # Containers without a count of samples end with their last frame, and some begin with a decoder's delay.
    slack = 1 if kind in ("m4a", "mp4", "3gp", "webm", "ffmpeg.mp3") else 2 * frame
    least = len(wave) - (frame if kind == "wma" else 1)  # WMA's last frame is not flushed
    assert least <= info.stop <= len(wave) + slack
    got = decode(path)
    assert len(got) == info.stop
    best = 0.0
    for lag in range(0, 2 * frame, max(1, rate // 8_000)):
        count = min(len(got) - lag, len(wave))
        best = max(best, np.corrcoef(got[lag:][:count], wave[:count])[0, 1])
    assert best > 0.98


@pytest.mark.parametrize("kind", ["m4a", "webm", "wma", "amr", "aac", "ffmpeg.mp3", "mp3.wav"])
@pytest.mark.parametrize("name", ["a.wav", "a.mp3", "a"])
def test_the_name_does_not_matter(tmp_path, kind, name):
    wave = tone(COMPRESSED[kind][2])
    (tmp_path / "other").mkdir()
    expected = decode(encoded(tmp_path / "other" / f"a.{kind}", wave, kind=kind))
    np.testing.assert_array_equal(decode(encoded(tmp_path / name, wave, kind=kind)), expected)


@pytest.mark.parametrize("rate", [8_000, 16_000, 44_100, 48_000])
@pytest.mark.parametrize("mode", ["CONSTANT", "VARIABLE"])
def test_mp3_is_decoded_as_by_libsndfile(tmp_path, rate, mode):
    clip = sound_file(tmp_path / "a.mp3", noise(3 * rate, channels=2, level=0.3), rate, mode=mode)
    theirs = soundfile.read(clip.path, dtype="float32")[0].mean(1)
    np.testing.assert_allclose(decode(clip.path), theirs, rtol=0, atol=4e-6)


@pytest.mark.parametrize("kind", ["mkv", "mp4"])
def test_a_track_is_chosen(tmp_path, kind):
    rate = COMPRESSED[kind][2]
    path = encoded(tmp_path / "a", tone(rate), tone(rate, pitch=700), kind=kind, video=True)
    for track, pitch in ((1, 440), (2, 700)):
        got = decode(path, track=track)
        peak = np.abs(np.fft.rfft(got)).argmax() * rate / len(got)
        assert peak == pytest.approx(pitch, abs=3)
    with pytest.raises(ClipError, match=": has 2 audio tracks, not 3"):
        audio.probe(clip_of(path), Selection(track=3))


def test_a_file_of_one_track_has_no_second(tmp_path):
    clip = sound_file(tmp_path / "a.wav", noise(16_000))
    with pytest.raises(ClipError, match=": has 1 audio track, not 2"):
        audio.probe(clip, Selection(track=2))


def test_a_video_without_sound_is_refused(tmp_path):
    path = encoded(tmp_path / "a.mp4", kind="mp4", video=True)
    with pytest.raises(ClipError, match="has no audio track"):
        audio.probe(clip_of(path))


@pytest.mark.parametrize("channel", [0, 1])
@pytest.mark.parametrize("kind", ["wav", "flac", "ogg"])
def test_a_channel_is_chosen(tmp_path, kind, channel):
    wave = noise(32_000, channels=2)
    clip = sound_file(tmp_path / f"a.{kind}", wave)
    chosen = audio.read_clip(clip, audio.probe(clip, Selection(channel=channel)))
    expected = soundfile.read(clip.path, dtype="float32")[0][:, channel]
    np.testing.assert_allclose(chosen, expected, rtol=0, atol=1e-6)
    segment = clip_of(clip.path, start=0.5, end=1.5)
    got = audio.read_clip(segment, audio.probe(segment, Selection(channel=channel)))
    np.testing.assert_allclose(got, expected[8_000:24_000], rtol=0, atol=1e-6)


def test_a_chosen_channel_cancels_nothing_and_must_exist(tmp_path):
    wave = noise(16_000)
    clip = sound_file(tmp_path / "a.wav", np.stack([wave, -wave], 1))
    audio.read_clip(clip, audio.probe(clip, Selection(channel=1)))
    with pytest.raises(ClipError, match="has no channel 2: it has 2, counted from 0"):
        audio.probe(clip, Selection(channel=2))
    mono = sound_file(tmp_path / "b.wav", wave)
    with pytest.raises(ClipError, match="has no channel 1: it has 1"):
        audio.probe(mono, Selection(channel=1))


def test_a_playlist_opens_no_other_file(tmp_path):
    sound_file(tmp_path / "real.wav", noise(16_000))
    lists = {
        "hls": "#EXTM3U\n#EXT-X-TARGETDURATION:5\n#EXTINF:1,\nreal.wav\n#EXT-X-ENDLIST\n",
        "concat": "ffconcat version 1.0\nfile real.wav\n",
        "sdp": "v=0\no=- 0 0 IN IP4 127.0.0.1\nm=audio 5004 RTP/AVP 0\n",
    }
    for name, text in lists.items():
        (tmp_path / f"{name}.wav").write_text(text)
        with pytest.raises(ClipError, match="not a sound file that can be read"):
            audio.probe(clip_of(tmp_path / f"{name}.wav"))


def test_decoders_print_nothing_of_their_own(tmp_path, capfd):
    path = sound_file(tmp_path / "a.mp3", noise(48_000, level=0.3), mode="VARIABLE").path
    data = path.read_bytes()
    for name, damaged in {
        "cut": data[: len(data) // 2],
        "hole": data[:900] + bytes(700) + data[1_600:],
        "page": b"<html>" * 99,
        "id3": b"ID3\4\0\0\0\0\0\0" + b"x" * 2_000,
        "sync": b"\xff\xfb" + b"x" * 2_000,
    }.items():
        (tmp_path / name).write_bytes(damaged)
        with pytest.raises(ClipError):
            decode(tmp_path / name)
    decode(path)
    assert capfd.readouterr() == ("", "")


def test_a_name_that_is_no_text_is_read(tmp_path):
    import os

    path = tmp_path / os.fsdecode(b"caf\xe9: 1.m4a")
    encoded(tmp_path / "a", tone(44_100), kind="m4a").rename(path)
    assert len(decode(path)) == 66_150


def test_a_codec_that_is_not_known_is_named(tmp_path):
    path = encoded(tmp_path / "a", tone(16_000), kind="mp4")
    data = path.read_bytes()
    path.write_bytes(data.replace(b"mp4a", b"zzzz").replace(b"esds", b"zzzz"))
    with pytest.raises(ClipError, match="not a sound file that can be read"):
        audio.probe(clip_of(path))


@pytest.mark.parametrize("kind", ["m4a", "webm", "wma", "mp3.wav"])
def test_a_truncated_file_is_reported_as_that_also_if_it_cannot_be_opened(tmp_path, kind):
    path = encoded(tmp_path / "a", tone(COMPRESSED[kind][2]), kind=kind)
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])
    with pytest.raises(ClipError, match=": truncated: "):
        audio.probe(clip_of(path))
