"""Which container a file has, by its content, and whether it is complete."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import BinaryIO

from layerprobe.embed.audio.integrity import asf, flac, frames, headers, iff, matroska, mp3, mp4, ogg, riff
from layerprobe.embed.audio.integrity.findings import Findings, read_at
from layerprobe.embed.audio.section import Section

_BUFFER = 1 << 16  # bytes read at a time
_FORMS = {b"AIFF": "AIFF", b"AIFC": "AIFF", b"8SVX": "SVX", b"16SV": "SVX"}
_RIFFS = {b"WAVE": "WAV", b"AVI ": "AVI"}
_BOXES = (b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip")
_MAGICS = (
    (riff.W64_RIFF, "W64"),
    (b"caff", "CAF"),
    (b".snd", "AU"),
    (b"dns.", "AU"),
    (b"NIST_1A", "NIST"),
    (b"Creative Voice File", "VOC"),
    (b"fLaC", "FLAC"),
    (b"OggS", "OGG"),
    *((magic, "AMR") for magic in frames.AMR_MAGIC),
    (b"\x1a\x45\xdf\xa3", "MATROSKA"),
    (asf.MAGIC, "ASF"),
    (b"2BIT", "AVR"),
    (b"\x01\x04", "MPC2K"),
    (b"ALawSoundFile**", "WVE"),
    (b"MATLAB 5.0 MAT-file", "MAT5"),
    (b"\xf0\x7e", "SDS"),
    (b"Extended Instrument:", "XI"),
)
_MAT4 = (b"\0\0\0\0\1\0\0\0\1\0\0\0\0\0\0\0", b"\0\0\3\xe8\0\0\0\1\0\0\0\1\0\0\0\0")  # a single number first

_CHECKS: dict[str, Callable[[BinaryIO], Findings]] = {
    **dict.fromkeys(("WAV", "W64"), riff.check),
    "AVI": riff.check_avi,
    **dict.fromkeys(("AIFF", "SVX"), iff.check),
    "CAF": iff.check_caf,
    "OGG": ogg.check,
    "MP3": mp3.check,
    "MP4": mp4.check,
    "MATROSKA": matroska.check,
    "ASF": asf.check,
    "AMR": frames.check_amr,
    "AU": partial(headers.check, find_end=headers.au_end),
    "NIST": partial(headers.check, find_end=headers.nist_end),
    "VOC": partial(headers.check, find_end=headers.voc_end),
    "AVR": partial(headers.check, find_end=headers.avr_end),
    "MPC2K": partial(headers.check, find_end=headers.mpc_end),
    "WVE": partial(headers.check, find_end=headers.wve_end),
    "MAT4": partial(headers.check, find_end=headers.mat4_end),
    "MAT5": partial(headers.check, find_end=headers.mat5_end),
}


@dataclass(frozen=True, kw_only=True)
class Inspection:
    """What a file is.

    container: "" where no check knows it. span: the bytes (begin, end) of an MP3 stream within a WAV file.
    """

    container: str
    findings: Findings
    span: tuple[int, int] | None = None


def inspect(path: Path) -> Inspection:
    """Check a file once for all its segments, until it changes. Raises OSError."""
    status = path.stat()
    return _inspect(path, status.st_size, status.st_mtime_ns)


@lru_cache(maxsize=256)
def _inspect(path: Path, size: int, modified: int) -> Inspection:
    """size, modified: keys of the cache."""
    with path.open("rb", buffering=_BUFFER) as raw:
        begin = 0
        while tag := mp3.tag_size(raw, begin):
            begin += tag
        container = _identify(raw, begin)
        if container == "FLAC":
            findings = flac.check(raw, begin)
        elif container == "AAC":
            findings = frames.check_adts(raw, begin)
        else:
            check = _CHECKS.get(container)
            findings = Findings() if check is None else check(raw)
        header = riff.read_header(raw) if container == "WAV" and findings.damage is None else None
        if header is not None and header.tag == riff.MPEG_LAYER_3:
            span = header.begin, min(header.begin + header.length, size)
            within = io.BufferedReader(Section(raw, *span), _BUFFER)
            return Inspection(container="MP3", findings=mp3.check(within), span=span)
    return Inspection(container=container, findings=findings)


def _identify(raw: BinaryIO, begin: int) -> str:
    head = read_at(raw, begin, 32)
    if head[:4] in (b"RIFF", b"RIFX", b"RF64", b"BW64"):
        return _RIFFS.get(head[8:12], "")
    if head.startswith(b"FORM"):
        return _FORMS.get(head[8:12], "")
    if head[4:8] in _BOXES:
        return "MP4"
    for magic, container in _MAGICS:
        if head.startswith(magic):
            return container
    if head.startswith(_MAT4):
        return "MAT4"
    if frames.is_adts(head):
        return "AAC"
    # Layers I and II have the same beginning; what follows a tag is no other sound.
    is_mpeg = begin or (head[:1] == b"\xff" and head[1:2] >= b"\xe0")
    return "MP3" if is_mpeg or mp3.is_mp3(raw) else ""
