"""The reader of CTranslate2's files, on a small file written here."""

from __future__ import annotations

import struct

import numpy as np

from layerprobe.embed.models.whisper.ctranslate2 import read_ctranslate2

TYPES = {np.dtype(name): number for number, name in enumerate(("f4", "i1", "i2", "i4", "f2"))}
ARRAYS: dict[str, np.ndarray] = {
    "a/weight": np.arange(6, dtype=np.float16).reshape(2, 3),
    "a/heads": np.array(6, np.int16),
    "b": np.array([[[1.5]], [[-2.0]]], np.float32),
    "c": np.array([-1, 7], np.int8),
    "d": np.array([2**30], np.int32),
}


def text(value: str) -> bytes:
    return struct.pack("<H", len(value) + 1) + value.encode() + b"\0"


def entry(name: str, array: np.ndarray) -> bytes:
    shape = struct.pack(f"<B{array.ndim}I", array.ndim, *array.shape)
    return text(name) + shape + struct.pack("<BI", TYPES[array.dtype], array.nbytes) + array.tobytes()


def content(arrays: dict[str, np.ndarray], aliases: dict[str, str]) -> bytes:
    """As CTranslate2 writes it."""
    body = b"".join(entry(name, array) for name, array in arrays.items())
    names = b"".join(text(name) + text(target) for name, target in aliases.items())
    head = struct.pack("<I", 6) + text("WhisperSpec") + struct.pack("<II", 3, len(arrays))
    return head + body + struct.pack("<I", len(aliases)) + names


def test_a_file_is_read(tmp_path):
    file = tmp_path / "model.bin"
    file.write_bytes(content(ARRAYS, {"tied": "b"}))
    arrays = read_ctranslate2(file)
    assert list(arrays) == list(ARRAYS)
    for name, array in ARRAYS.items():
        assert arrays[name].dtype == array.dtype
        np.testing.assert_array_equal(arrays[name], array)
