"""Samples of a file at its own rate, by one of two decoders: libsndfile, or FFmpeg for what it does not read.

libsndfile reads WAV, FLAC and other formats in which it seeks exactly, and Ogg from its start; FFmpeg
(through PyAV) reads MP3, AAC, WMA, AMR and the sound of videos, always from the start.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack
from typing import BinaryIO, Protocol

import av
import numpy as np
import soundfile

from layerprobe.embed.audio.containers import Inspection
from layerprobe.embed.audio.integrity import riff
from layerprobe.embed.audio.section import Section

# FFmpeg's name of each container. Naming it keeps FFmpeg from guessing: a playlist would open other files.
_DEMUXERS = {
    **{"MP3": "mp3", "AAC": "aac", "AMR": "amr", "MP4": "mov", "MATROSKA": "matroska", "ASF": "asf"},
    **{"AVI": "avi", "WAV": "wav", "W64": "w64", "AIFF": "aiff", "CAF": "caf", "AU": "au", "VOC": "voc"},
    **{"SVX": "iff", "NIST": "nistsphere", "OGG": "ogg", "FLAC": "flac"},
}
_FFMPEG_ONLY = ("MP3", "AAC", "AMR", "MP4", "MATROSKA", "ASF", "AVI")
# Of samplers: libsndfile reads what is missing at their end as sound.
_NOT_SPEECH = ("SDS", "XI")
_FULL_SCALE = {"u1": 128.0, "i2": 32_768.0, "i4": 2_147_483_648.0}  # of integer samples

av.logging.set_level(av.logging.PANIC)  # what is wrong with a file is reported once, as its ClipError


class DecodingError(Exception):
    """What a decoder says of a file that it cannot decode, in words for a message."""


class TrackError(DecodingError):
    """A file without the audio track that was selected."""


class Source(Protocol):
    """Samples of a file from the current position on.

    rate: in Hz. encoding: container and codec. frames: samples per channel by the header, None where only
    decoding tells. exact: `seek` reaches any sample; otherwise only sample 0.
    """

    rate: int
    channels: int
    encoding: str
    frames: int | None
    exact: bool

    def seek(self, sample: int) -> None: ...

    def read(self, count: int) -> np.ndarray:
        """(T, C) float32, T < count at the end. Raises DecodingError."""
        ...


def open_source(raw: BinaryIO, inspection: Inspection, *, track: int, open_files: ExitStack) -> Source:
    """Raises DecodingError where neither decoder reads the file, or it has fewer tracks."""
    container = inspection.container
    if container in _NOT_SPEECH:
        raise DecodingError(f"{container}, a format of samplers; convert it to WAV")
    header = riff.read_header(raw) if container == "WAV" else None
    if container in _FFMPEG_ONLY or (header is not None and header.tag == riff.MPEG_LAYER_2):
        return FFmpegSource(raw, inspection, track=track, open_files=open_files)
    try:
        source = SoundFileSource(raw, inspection, open_files)
    except DecodingError as reason:
        if container not in _DEMUXERS:
            raise
        try:
            return FFmpegSource(raw, inspection, track=track, open_files=open_files)
        except TrackError:
            raise
        except DecodingError:
            raise reason from None
    if track > 1:
        raise TrackError(f"has 1 audio track, not {track}")
    return source


class _ForwardSoundFile(soundfile.SoundFile):
    """A sound file that is read strictly forwards.

    After each read of a seekable file, soundfile seeks to where the read has just ended, which costs a search
    in FLAC and is unreliable in Ogg.
    """

    def seekable(self) -> bool:
        return False


class SoundFileSource:
    """A file that libsndfile reads."""

    def __init__(self, raw: BinaryIO, inspection: Inspection, open_files: ExitStack) -> None:
        sound = inspection.findings.sound
        try:
            os.lseek(raw.fileno(), 0, os.SEEK_SET)  # where libsndfile expects the file to begin
            if sound is None:
                # Opened by descriptor, libsndfile detects the format from the content, not from the name.
                file = _ForwardSoundFile(raw.fileno(), closefd=False)
            else:
                file = _ForwardSoundFile(_with_wav_lengths(raw, end=sound[1]))
        except soundfile.LibsndfileError as error:
            raise DecodingError(_reason(error)) from error
        self._file = open_files.enter_context(file)
        self.rate, self.channels = file.samplerate, file.channels
        self.encoding = f"{file.format} {file.subtype}"
        self.frames: int | None = file.frames
        # libsndfile's seeking in Ogg is unreliable; in some WAV files, such as GSM 6.10, it has none.
        self.exact = file.format != "OGG" and soundfile.SoundFile.seekable(file)

    def seek(self, sample: int) -> None:
        self._file.seek(sample)

    def read(self, count: int) -> np.ndarray:
        try:
            return np.asarray(self._file.read(count, dtype="float32", always_2d=True))
        except soundfile.LibsndfileError as error:
            raise DecodingError(_reason(error)) from error


def _with_wav_lengths(raw: BinaryIO, *, end: int) -> Section:
    """A WAV file with lengths in its header by which its sound goes on to byte `end`.

    libsndfile reads as much as the header says; players play to the end.
    """
    header = riff.read_header(raw)
    assert header is not None, "only WAV files are inspected for it"
    return Section(raw, header.begin, head=riff.with_lengths(raw, header, end))


class FFmpegSource:
    """A track of a file that FFmpeg reads, from its start on."""

    exact = False

    def __init__(self, raw: BinaryIO, inspection: Inspection, *, track: int, open_files: ExitStack) -> None:
        self._raw: BinaryIO | Section = raw
        self._inspection, self._track = inspection, track
        if inspection.span is not None:
            self._raw = Section(raw, *inspection.span)
        self._files = open_files.enter_context(ExitStack())
        self.frames = inspection.findings.samples
        self._rest = np.empty((0, 1), np.float32)  # decoded, not read yet
        self._start()

    def seek(self, sample: int) -> None:
        assert sample == 0, "FFmpeg's seeking may end elsewhere"
        self._start()

    def read(self, count: int) -> np.ndarray:
        blocks, have = [self._rest], len(self._rest)
        while have < count and (block := next(self._blocks, None)) is not None:
            blocks.append(block)
            have += len(block)
        samples = np.concatenate(blocks) if len(blocks) > 1 else blocks[0]
        self._rest = samples[count:]
        return samples[:count]

    def _start(self) -> None:
        self._files.close()
        self._raw.seek(0)
        demuxer = _DEMUXERS[self._inspection.container]
        try:
            file = self._files.enter_context(
                av.open(self._raw, mode="r", format=demuxer, metadata_errors="ignore")
            )
            tracks = file.streams.audio
            if self._track > len(tracks):
                count = f"{len(tracks)} audio track{'s' * (len(tracks) != 1)}"
                raise TrackError(f"has {count}, not {self._track}" if tracks else "has no audio track")
            stream = tracks[self._track - 1]
            if stream.codec_context is None:  # although its type says otherwise
                raise DecodingError("its codec is not known")
            stream.codec_context.thread_count = 1
        except (av.FFmpegError, ValueError) as error:
            raise DecodingError(_ffmpeg_reason(error)) from error
        self._blocks = self._decode(file, stream)
        self._rest = next(self._blocks, np.empty((0, 1), np.float32))
        context = stream.codec_context
        self.rate, self.channels = context.sample_rate, self._rest.shape[1]
        self.encoding = f"{self._inspection.container} {context.codec.canonical_name.upper()}"
        self.declared = self._declared_samples(file, stream)

    def _declared_samples(self, file: av.container.InputContainer, stream: av.AudioStream) -> int | None:
        """Samples by the file's header, where it describes this track alone."""
        if self._inspection.container == "MP4" and stream.duration and stream.time_base:
            return round(stream.duration * stream.time_base * self.rate)
        if self._inspection.container in ("MATROSKA", "ASF") and len(file.streams) == 1 and file.duration:
            return round(file.duration / av.time_base * self.rate)
        return None

    def _decode(self, file: av.container.InputContainer, stream: av.AudioStream) -> Iterator[np.ndarray]:
        """Yield (T, C) float32, a frame at a time."""
        shape: tuple[int, int] | None = None
        # A last packet of fewer samples than usual is "corrupt"; of PCM it holds all that it can.
        is_pcm = stream.codec_context.codec.canonical_name.startswith("pcm_")
        try:
            for packet in file.demux(stream):
                if packet.is_corrupt and not is_pcm:
                    raise DecodingError("a packet of its sound is damaged")
                for frame in packet.decode():
                    if frame.is_corrupt:
                        raise DecodingError("a frame of its sound is damaged")
                    now = frame.sample_rate, frame.layout.nb_channels
                    if now != (shape := shape or now):
                        raise DecodingError("its rate or its number of channels changes")
                    yield _to_float(frame)
        except (av.FFmpegError, ValueError) as error:
            raise DecodingError(_ffmpeg_reason(error)) from error


def _to_float(frame: av.AudioFrame) -> np.ndarray:
    """A frame as (T, C) float32 in [-1, 1)."""
    samples = frame.to_ndarray()
    samples = samples.T if frame.format.is_planar else samples.reshape(-1, frame.layout.nb_channels)
    kind = samples.dtype.str[1:]
    if kind not in _FULL_SCALE:
        return samples.astype(np.float32, order="C")
    centred = samples.astype(np.float32, order="C")
    return (centred - 128 if kind == "u1" else centred) / np.float32(_FULL_SCALE[kind])


def _reason(error: soundfile.LibsndfileError) -> str:
    return str(error.error_string).removeprefix("Error : ").rstrip(".")


def _ffmpeg_reason(error: Exception) -> str:
    text = str((error.strerror if isinstance(error, av.FFmpegError) else "") or error).lower()
    return "invalid data" if text.startswith("error number") else text
