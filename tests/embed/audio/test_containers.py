"""Every container: an intact file passes, and what its header declares is compared with what it holds."""

from __future__ import annotations

import io
import struct
from pathlib import Path

import numpy as np
import pytest
import soundfile

from layerprobe.cache.common.errors import ClipError
from layerprobe.embed.audio import sound as audio
from layerprobe.embed.audio.containers import inspect
from tests.sounds import clip_of, encoded, noise, piped, sound_file

# Containers with a header that libsndfile can write: their encodings. PAF, PVF and IRCAM declare no length.
CONTAINERS = {
    "WAV": ("PCM_U8", "PCM_16", "PCM_24", "FLOAT", "ULAW", "IMA_ADPCM", "MS_ADPCM", "GSM610", "G721_32"),
    "WAVEX": ("PCM_16", "FLOAT"),
    "RF64": ("PCM_16", "FLOAT"),
    "W64": ("PCM_16", "IMA_ADPCM"),
    "AIFF": ("PCM_S8", "PCM_16", "PCM_24", "FLOAT", "DOUBLE", "ULAW", "IMA_ADPCM", "GSM610"),
    "AU": ("PCM_S8", "PCM_16", "ULAW", "G721_32"),
    "CAF": ("PCM_16", "PCM_24", "ALAC_16", "ULAW"),
    "SVX": ("PCM_S8", "PCM_16"),
    "NIST": ("PCM_S8", "PCM_16", "PCM_24", "ULAW"),
    "VOC": ("PCM_U8", "PCM_16", "ULAW"),
    "AVR": ("PCM_S8", "PCM_16"),
    "MPC2K": ("PCM_16",),
    "WVE": ("ALAW",),
    "MAT4": ("PCM_16", "PCM_32", "FLOAT"),
    "MAT5": ("PCM_16", "PCM_U8", "DOUBLE"),
    "FLAC": ("PCM_16", "PCM_24"),
}
KINDS = [(container, encoding) for container, encodings in CONTAINERS.items() for encoding in encodings]
UNKNOWN = {  # lengths of data and of RIFF
    "ffmpeg": (0xFFFFFFFF, 0xFFFFFFFF),
    "ffmpeg, less the header": (0xFFFFFFFF - 36, 0xFFFFFFFF),
    "SoX": (0x7FFFF000, 0x7FFFF024),
    "SoX, less the header": (0x7FFFF000 - 36, 0x7FFFF000),
    "arecord": (0x80000000, 0x80000024),
    "GStreamer": (0x7FFF0000, 0x7FFF0024),
    "largest signed": (0x7FFFFFFF, 0x7FFFFFFF),
    "largest signed, in complete samples": (0x7FFFFFFE, 0x7FFFFFFF),
    "never written": (0, 0),
}


def written(path: Path, container: str, encoding: str, seconds: float = 2.0) -> Path:
    soundfile.write(path, noise(int(8_000 * seconds)), 8_000, format=container, subtype=encoding)
    return path


def read(path: Path) -> np.ndarray:
    clip = clip_of(path)
    return audio.read_clip(clip, audio.probe(clip))


@pytest.mark.parametrize(("container", "encoding"), KINDS)
def test_an_intact_file_passes_and_is_as_long_as_it_was(tmp_path, container, encoding):
    path = written(tmp_path / "a", container, encoding)
    assert inspect(path).container == {"WAVEX": "WAV", "RF64": "WAV"}.get(container, container)
    assert inspect(path).findings.damage is None
    expected = soundfile.read(path, dtype="float32")[0]
    assert abs(audio.probe(clip_of(path)).stop - len(expected)) == 0


@pytest.mark.parametrize(("container", "encoding"), KINDS)
def test_a_file_cut_off_anywhere_is_refused(tmp_path, container, encoding):
    path = written(tmp_path / "a", container, encoding)
    data = path.read_bytes()
    for share in np.linspace(0.02, 0.98, 10):
        path.write_bytes(data[: int(len(data) * share)])
        with pytest.raises(ClipError, match=r"truncated|not a sound file|no samples|too short"):
            read(path)


@pytest.mark.parametrize("container", ["WAV", "RF64", "W64", "AIFF", "FLAC"])
def test_two_files_in_one_are_refused(tmp_path, container):
    path = written(tmp_path / "a", container, "PCM_16")
    path.write_bytes(path.read_bytes() * 2)
    with pytest.raises(ClipError, match=r"several .* are joined in it, of which only the first can be read"):
        audio.probe(clip_of(path))


@pytest.mark.parametrize("container", ["AU", "NIST"])
def test_sound_after_the_declared_length_is_reported(tmp_path, container):
    path = written(tmp_path / "a", container, "PCM_16")
    path.write_bytes(path.read_bytes() * 2)
    with pytest.raises(ClipError, match=r"damaged: its header declares \d+ bytes, and \d+ bytes follow"):
        audio.probe(clip_of(path))


@pytest.mark.parametrize("container", ["WAV", "WAVEX", "RF64", "AIFF", "CAF", "FLAC"])
@pytest.mark.parametrize("after", [b"TAG" + b"x" * 125, bytes(3_000), b"\n"], ids=["tag", "zeros", "newline"])
def test_what_other_programs_append_changes_nothing(tmp_path, container, after):
    path = written(tmp_path / "a", container, "PCM_16")
    expected = read(path)
    path.write_bytes(path.read_bytes() + after)
    np.testing.assert_array_equal(read(path), expected)


# WAV


def wav_with(path: Path, *, data: int, riff: int, pcm: bytes, order: str = "<") -> Path:
    kind = b"RIFX" if order == ">" else b"RIFF"
    form = struct.pack(order + "IHHIIHH", 16, 1, 1, 16_000, 32_000, 2, 16)
    path.write_bytes(
        kind
        + struct.pack(order + "I", riff)
        + b"WAVEfmt "
        + form
        + b"data"
        + struct.pack(order + "I", data)
        + pcm
    )
    return path


def pcm(seconds: float, order: str = "<") -> bytes:
    return (noise(int(16_000 * seconds)) * 32_767).astype(order + "i2").tobytes()


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("name", UNKNOWN)
def test_a_wav_file_of_unknown_length_is_read_to_its_end(tmp_path, name, order):
    data, riff = UNKNOWN[name]
    path = wav_with(tmp_path / "a.wav", data=data, riff=riff, pcm=pcm(0.5, order), order=order)
    expected = np.frombuffer(pcm(0.5), "<i2") / np.float32(32_768)
    np.testing.assert_array_equal(read(path), expected)
    np.testing.assert_array_equal(
        audio.read_clip(clip := clip_of(path, start=0.25), audio.probe(clip)), expected[4_000:]
    )


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize(("data", "riff"), [(32_000, 32_036), (32_000, 32_044), (31_999, 32_035)])
def test_a_wav_file_whose_header_was_last_updated_earlier_is_read_to_its_end(tmp_path, data, riff, order):
    path = wav_with(tmp_path / "a.wav", data=data, riff=riff, pcm=pcm(3.0, order), order=order)
    np.testing.assert_array_equal(read(path), np.frombuffer(pcm(3.0), "<i2") / np.float32(32_768))


@pytest.mark.slow
def test_a_length_that_wrapped_round_at_4_gib_is_not_believed(tmp_path):
    path = wav_with(tmp_path / "a.wav", data=96_000, riff=96_036, pcm=pcm(3.0))
    with path.open("r+b") as raw:  # a sparse file
        raw.truncate(44 + 2**32 + 96_000)
        raw.seek(44 + 2**32)
        raw.write(pcm(3.0))
    clip = clip_of(path)
    assert audio.probe(clip).stop == (2**32 + 96_000) // 2
    clip = clip_of(path, start=2**31 / 16_000)
    np.testing.assert_array_equal(
        audio.read_clip(clip, audio.probe(clip)), np.frombuffer(pcm(3.0), "<i2") / np.float32(32_768)
    )


def test_a_data_length_that_contradicts_the_length_of_the_file_is_damage(tmp_path):
    path = wav_with(tmp_path / "a.wav", data=32_000, riff=96_036, pcm=pcm(3.0))
    what = "its header declares 32000 bytes of sound, and 64000 bytes follow that are no chunk"
    with pytest.raises(ClipError, match=f"damaged: {what}"):
        audio.probe(clip_of(path))


@pytest.mark.parametrize("container", ["RF64", "W64"])
def test_64_bit_lengths_that_were_never_written_are_found_out(tmp_path, container):
    path = written(tmp_path / "a", container, "PCM_16")
    expected, data = read(path), bytearray(path.read_bytes())
    at = data.index(b"ds64") + 8 if container == "RF64" else 16
    for value in (0, 2**64 - 1):
        struct.pack_into("<Q", data, at, value)
        length = at + 8 if container == "RF64" else data.index(b"data") + 16
        struct.pack_into("<Q", data, length, value or (0 if container == "RF64" else 24))
        path.write_bytes(data)
        np.testing.assert_array_equal(read(path), expected)


def test_chunks_behind_the_sound_are_no_sound(tmp_path):
    for chunk in (
        b"LIST\x04\0\0\0INFO",
        b"bext\x02\0\0\0ab" + b"id3 \x10\0\0\0" + bytes(16),
        b"\0LIST\x04\0\0\0INFO",
    ):
        sound = pcm(0.5)[: -1 if chunk[:1] == b"\0" else None]
        riff = 36 + len(sound) + len(chunk)
        path = wav_with(tmp_path / "a.wav", data=len(sound), riff=riff, pcm=sound + chunk)
        assert audio.probe(clip_of(path)).stop == len(sound) // 2


def test_two_chunks_of_sound_in_one_file_are_refused(tmp_path):
    second = b"data" + struct.pack("<I", 16_000) + pcm(0.5)
    path = wav_with(tmp_path / "a.wav", data=16_000, riff=36 + 16_000 + len(second), pcm=pcm(0.5) + second)
    with pytest.raises(ClipError, match="several chunks of sound"):
        audio.probe(clip_of(path))


# Containers that FFmpeg reads


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        *((kind, "MP4") for kind in ("m4a", "mp4", "mov", "alac", "3gp")),
        ("webm", "Matroska"),
        ("mkv", "Matroska"),
        ("wma", "WMA"),
    ],
)
def test_two_encoded_files_in_one_are_refused(tmp_path, kind, name):
    """Decoders play the first of them."""
    path = encoded(tmp_path / "a", noise(16_000), kind=kind)
    audio.probe(clip_of(path))
    path.write_bytes(path.read_bytes() * 2)
    with pytest.raises(ClipError, match=f"several {name} files are joined in it"):
        audio.probe(clip_of(path))


@pytest.mark.parametrize("kind", ["aac", "mp2", "avi"])
def test_two_encoded_files_in_one_are_read_where_players_play_both(tmp_path, kind):
    path = encoded(tmp_path / "a", noise(16_000), kind=kind)
    single = audio.probe(clip_of(path)).stop
    path.write_bytes(path.read_bytes() * 2)
    assert audio.probe(clip_of(path)).stop == pytest.approx(2 * single, abs=4_608)


@pytest.mark.parametrize("kind", ["m4a", "webm", "mkv", "wma", "aac", "avi", "mp3.wav", "ffmpeg.mp3", "3gp"])
def test_a_file_whose_second_half_was_never_copied_is_refused(tmp_path, kind):
    """Programs that reserve a file's space first leave zeros where they were interrupted."""
    path = encoded(tmp_path / "a", noise(96_000, level=0.3), kind=kind)
    data = path.read_bytes()
    half = len(data) // 2
    path.write_bytes(data[:half] + bytes(len(data) - half))
    with pytest.raises(ClipError, match=r"truncated|damaged"):
        audio.read_clip(clip_of(path), audio.probe(clip_of(path)))


@pytest.mark.parametrize("kind", ["m4a", "webm", "wma", "avi"])
def test_a_hole_in_an_encoded_file_is_found(tmp_path, kind):
    path = encoded(tmp_path / "a", noise(96_000, level=0.3), kind=kind)
    data = path.read_bytes()
    path.write_bytes(data[:12_000] + bytes(4_096) + data[16_096:])
    with pytest.raises(ClipError, match="damaged"):
        audio.read_clip(clip_of(path), audio.probe(clip_of(path)))


def test_an_object_with_an_impossible_length_is_reported(tmp_path):
    """64-bit lengths may point beyond what any file can be."""
    path = encoded(tmp_path / "a", noise(16_000), kind="wma")
    data = bytearray(path.read_bytes())
    (first,) = struct.unpack_from("<Q", data, 16)
    for length in (2**63, 2**64 - 1):
        struct.pack_into("<Q", data, first + 16, length)
        path.write_bytes(data)
        with pytest.raises(ClipError, match="truncated"):
            audio.probe(clip_of(path))


def test_padding_after_an_mp3_is_no_damage(tmp_path):
    clip = sound_file(tmp_path / "a.mp3", noise(32_000), mode="CONSTANT")
    data = clip.path.read_bytes()
    second = data.index(data[:2], 4)  # without the frame that counts the others
    clip.path.write_bytes(data[second:])
    expected = read(clip.path)
    clip.path.write_bytes(data[second:] + bytes(4_096))
    np.testing.assert_array_equal(read(clip.path), expected)


@pytest.mark.parametrize(
    ("form", "codec", "rate"),
    [
        *(("wav", "pcm_s16le", 16_000), ("w64", "pcm_s16le", 16_000), ("au", "pcm_s16be", 16_000)),
        *(("caf", "pcm_s16le", 16_000), ("flac", "flac", 16_000), ("ogg", "flac", 16_000)),
        *(("webm", "libopus", 48_000), ("avi", "libmp3lame", 16_000), ("voc", "pcm_s16le", 16_000)),
    ],
)
def test_what_was_written_to_a_pipe_is_read_to_its_end(tmp_path, form, codec, rate):
    """A program that writes to a pipe cannot return to the header to fill in the length."""
    path = tmp_path / "a"
    path.write_bytes(piped(noise(2 * rate, level=0.3), form=form, codec=codec, rate=rate))
    assert len(read(path)) == pytest.approx(32_000, abs=1_500)


@pytest.mark.parametrize("container", ["SDS", "XI"])
def test_formats_of_samplers_are_refused(tmp_path, container, capfd):
    """libsndfile reads what is missing at their end as sound, and prints what it cannot read."""
    encoding = {"SDS": "PCM_16", "XI": "DPCM_16"}[container]
    path = written(tmp_path / "a", container, encoding)
    path.write_bytes(path.read_bytes()[:-1_000])
    capfd.readouterr()
    with pytest.raises(ClipError, match=f"{container}, a format of samplers; convert it to WAV"):
        audio.probe(clip_of(path))
    assert capfd.readouterr() == ("", "")


# FLAC


def test_a_flac_header_that_declares_too_much_is_not_believed(tmp_path):
    clip = sound_file(tmp_path / "a.flac", noise(32_000))
    data = bytearray(clip.path.read_bytes())
    for byte, bit in ((21, 3), (21, 0), (22, 7), (24, 0), (24, 7), (25, 1)):  # of the number of samples
        damaged = bytearray(data)
        damaged[byte] ^= 1 << bit
        clip.path.write_bytes(damaged)
        with pytest.raises(ClipError, match=r"(truncated|damaged): its header declares \d+ samples, its "):
            audio.probe(clip)


@pytest.mark.parametrize("blocksize", [None, 0.0, 1.0])
@pytest.mark.parametrize(("rate", "channels"), [(8_000, 1), (44_100, 2), (48_000, 6), (12_345, 1)])
def test_flac_frames_are_counted(tmp_path, rate, channels, blocksize):
    for length in (rate // 40, rate + 1, 3 * rate):
        path = tmp_path / "a.flac"
        soundfile.write(path, noise(length, channels=channels), rate, compression_level=blocksize)
        assert inspect(path).findings.samples == length
        soundfile.write(path, np.zeros((length, channels)), rate)
        assert inspect(path).findings.samples == length


def test_flac_behind_an_id3_tag_is_flac(tmp_path):
    clip = sound_file(tmp_path / "a.flac", noise(16_000))
    expected = read(clip.path)
    clip.path.write_bytes(b"ID3\x03\0\0\0\0\x07\x76" + bytes(1_014) + clip.path.read_bytes())
    np.testing.assert_array_equal(read(clip.path), expected)


def test_files_that_are_no_sound_are_left_to_the_decoder(tmp_path):
    for name, data in {"empty": b"", "page": b"<!DOCTYPE html>" * 40, "zeros": bytes(5_000)}.items():
        (tmp_path / name).write_bytes(data)
        assert inspect(tmp_path / name).findings.damage is None
    header = io.BytesIO()
    soundfile.write(header, noise(100), 8_000, format="WAV")
    for keep in range(0, 44, 3):
        (tmp_path / "start").write_bytes(header.getvalue()[:keep])
        assert inspect(tmp_path / "start").findings.damage is None


@pytest.mark.parametrize("length", [b"   1023\n", b"     24\n", b"   2048\n", b'   10"4\n'])
def test_a_sphere_header_that_ends_elsewhere_is_damaged(tmp_path, length):
    path = tmp_path / "a.sph"
    soundfile.write(path, noise(16_000), 16_000, format="NIST", subtype="PCM_16")
    data = path.read_bytes()
    assert data[8:16] == b"   1024\n"
    path.write_bytes(data[:8] + length + data[16:])
    findings = inspect(path).findings
    assert "its header does not end where it says" in str(findings.damage) or "truncated" in str(
        findings.damage
    )
