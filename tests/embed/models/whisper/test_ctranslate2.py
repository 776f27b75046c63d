"""The reader of CTranslate2's files, on small files written here, complete and damaged."""

from __future__ import annotations

import struct
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from layerprobe.cache.common.errors import ModelError
from layerprobe.embed.models.whisper.ctranslate2 import read_ctranslate2

TYPES = {np.dtype(name): number for number, name in enumerate(("f4", "i1", "i2", "i4", "f2"))}


def text(value: str) -> bytes:
    return struct.pack("<H", len(value) + 1) + value.encode() + b"\0"


def entry(name: str, array: np.ndarray) -> bytes:
    shape = struct.pack(f"<B{array.ndim}I", array.ndim, *array.shape)
    return text(name) + shape + struct.pack("<BI", TYPES[array.dtype], array.nbytes) + array.tobytes()


def content(
    arrays: dict[str, np.ndarray], aliases: dict[str, str] | None = None, *, spec: str = "WhisperSpec"
) -> bytes:
    """As CTranslate2 writes it."""
    body = b"".join(entry(name, array) for name, array in arrays.items())
    names = b"".join(text(name) + text(target) for name, target in (aliases or {}).items())
    head = struct.pack("<I", 6) + text(spec) + struct.pack("<II", 3, len(arrays))
    return head + body + struct.pack("<I", len(aliases or {})) + names


ARRAYS: dict[str, np.ndarray] = {
    "a/weight": np.arange(6, dtype=np.float16).reshape(2, 3),
    "a/heads": np.array(6, np.int16),
    "b": np.array([[[1.5]], [[-2.0]]], np.float32),
    "c": np.array([-1, 7], np.int8),
    "d": np.array([2**30], np.int32),
}
COMPLETE = content(ARRAYS, {"tied": "b"})


def write(folder: Path, data: bytes) -> Path:
    file = folder / "model.bin"
    file.write_bytes(data)
    return file


def test_a_complete_file_is_read(tmp_path):
    model = read_ctranslate2(write(tmp_path, COMPLETE))
    assert (model.specification, model.revision, model.aliases) == ("WhisperSpec", 3, {"tied": "b"})
    assert list(model.arrays) == list(ARRAYS)
    for name, array in ARRAYS.items():
        assert model.arrays[name].dtype == array.dtype
        np.testing.assert_array_equal(model.arrays[name], array)


def test_every_cut_is_refused(tmp_path):
    for length in range(len(COMPLETE)):
        with pytest.raises(ModelError, match=r"ends within its|cannot be read"):
            read_ctranslate2(write(tmp_path, COMPLETE[:length]))


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (COMPLETE + b"\0", "1 bytes after its last alias"),
        (b"\x07" + COMPLETE[1:], "version 7"),
        (COMPLETE.replace(b"a/weight\0", b"a/weight\1"), "no name at byte"),
        (COMPLETE.replace(b"a/weight\0", b"a/we\0ght\0"), "no name at byte"),
        (
            content({"x": np.zeros(2, np.float32)})[:-4] + b"\xff\xff\xff\xff",
            "within its length of a name",
        ),
        (content(ARRAYS, {"b": "c"}), "an alias b of c"),
        (content(ARRAYS, {"tied": "z"}), "an alias tied of z"),
        (
            struct.pack("<I", 6) + text("S") + struct.pack("<II", 3, 2) + 2 * entry("b", ARRAYS["b"]),
            "has b twice",
        ),
    ],
    ids=[
        "longer",
        "version",
        "no end",
        "two ends",
        "aliases",
        "shadowing alias",
        "alias of nothing",
        "twice",
    ],
)
def test_what_does_not_fit_is_refused(tmp_path, data, message):
    with pytest.raises(ModelError, match=message):
        read_ctranslate2(write(tmp_path, data))


def one_array(*, rank: int = 1, size: int = 2, kind: int = 0, nbytes: int = 8) -> bytes:
    head = struct.pack("<I", 6) + text("S") + struct.pack("<II", 3, 1) + text("x")
    return (
        head + struct.pack(f"<B{rank}I", rank, *[size] * rank) + struct.pack("<BI", kind, nbytes) + bytes(64)
    )


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (one_array(rank=9), "x has 9 dimensions"),
        (one_array(kind=5), "x has the unknown type 5"),
        (one_array(nbytes=7), r"x has 7 bytes, and its shape \(2,\) requires 8"),
        (one_array(rank=4, size=2**32 - 1, nbytes=0), "x has 0 bytes, and its shape"),
        (one_array(size=2**28, nbytes=2**30), "ends within its x"),
    ],
    ids=["rank", "type", "size", "overflow", "beyond the end"],
)
def test_an_array_that_does_not_fit_is_refused(tmp_path, data, message):
    with pytest.raises(ModelError, match=message):
        read_ctranslate2(write(tmp_path, data))


@settings(max_examples=200)
@given(at=st.integers(0, len(COMPLETE) - 1), value=st.integers(0, 255))
def test_any_changed_byte_is_read_or_refused(tmp_path_factory, at, value):
    """Never another error, whatever a length or a type becomes."""
    changed = COMPLETE[:at] + bytes([value]) + COMPLETE[at + 1 :]
    with suppress(ModelError):
        read_ctranslate2(write(tmp_path_factory.mktemp("damaged"), changed))
