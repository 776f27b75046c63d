"""Matroska and WebM (RFC 9559): elements with a length each, which live recordings leave open."""

from __future__ import annotations

from typing import BinaryIO

from layerprobe.embed.audio.integrity.findings import Findings, file_size, joined, read_at, truncated

_HEADER, _SEGMENT, _CLUSTER = 0x1A45DFA3, 0x18538067, 0x1F43B675
# Elements that contain those of a cluster or of a segment, where these follow one of unknown length.
_SEGMENT_LEVEL = {
    0x114D9B74,
    0x1549A966,
    0x1654AE6B,
    0x1C53BB6B,
    0x1941A469,
    0x1043A770,
    0x1254C367,
    _CLUSTER,
}
_CLUSTER_LEVEL = {0xE7, 0xA7, 0xAB, 0xA3, 0xA0, 0x5854}
_ANYWHERE = {0xEC, 0xBF}  # void, checksum


def check(raw: BinaryIO) -> Findings:
    """Follow the elements of the file, of its segment and of clusters without a length."""
    at, size = 0, file_size(raw)
    known = {_HEADER, _SEGMENT} | _ANYWHERE
    while at < size:
        element = _element(raw, at)
        if element is None:
            return (
                Findings(damage="truncated: its last element is incomplete")
                if size - at < 12
                else _broken(at, size)
            )
        name, begin, length = element
        if name == _HEADER and at:
            return joined("Matroska files")
        if name not in known | _SEGMENT_LEVEL | _CLUSTER_LEVEL | _ANYWHERE:
            return _broken(at, size)
        if name in (_SEGMENT, _CLUSTER) and (length is None or begin + length <= size):
            at = begin  # its content follows
            continue
        if length is None:
            return _broken(at, size)
        at = begin + length
    return truncated(at - size) if at > size else Findings()


def _broken(at: int, size: int) -> Findings:
    return Findings(damage=f"damaged: no element at byte {at} of {size}")


def _element(raw: BinaryIO, at: int) -> tuple[int, int, int | None] | None:
    """Name, first byte and length of the element at byte `at`; a length of None is unknown."""
    data = read_at(raw, at, 12)
    if not data or not data[0]:
        return None
    name = 9 - data[0].bit_length()  # bytes of the name
    if name > 4 or len(data) <= name or not data[name]:
        return None
    width = 9 - data[name].bit_length()
    coded = data[name : name + width]
    if len(coded) < width:
        return None
    mask = (1 << 7 * width) - 1
    length = int.from_bytes(coded, "big") & mask
    return int.from_bytes(data[:name], "big"), at + name + width, None if length == mask else length
