"""One shard: its bytes, its name, and the shards that are refused."""

from __future__ import annotations

import hashlib
import shutil
from binascii import Error as HexError
from pathlib import Path

import h5py
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from layerprobe.cache.common.errors import StoreError
from layerprobe.cache.store.keys import digests_to_keys, keys_to_digests
from layerprobe.cache.store.shard import (
    ClipEntry,
    ShardWriter,
    open_shard,
    read_entries,
)
from tests.stores import extraction

KIND = extraction()


def write(folder: Path, *, clips: int = 3, path: str = "a.wav") -> Path:
    entries = [
        ClipEntry(key=f"{i:064x}", rows=1, frames=50 + i, seconds=1.5, path=f"{i}{path}")
        for i in range(clips)
    ]
    with ShardWriter(folder, KIND, rows=clips) as shard:
        for layer, width in zip(KIND.layers, KIND.widths, strict=True):
            shard.append(layer, np.full((clips, 2, width), 0.5, "f2"))
        shard.finish(entries)
        return shard.publish()


def test_a_shard_is_named_by_its_checksum_and_read_by_plain_h5py(tmp_path):
    shard = write(tmp_path)
    assert shard.name == f"shard-{hashlib.sha256(shard.read_bytes()).hexdigest()[:32]}.h5"
    with h5py.File(shard) as file:
        assert dict(file.attrs.items()).keys() == {
            "schema",
            "fingerprint",
            "stats",
            "frame_rate",
            "receptive_field",
        }
        assert file.attrs["schema"] == 1
        assert file.attrs["fingerprint"].decode() == KIND.fingerprint()
        assert file.attrs["stats"].tolist() == [b"mean", b"std"]
        assert list(file["states"]) == ["0", "1", "cnn"]
        for layer, width in (("0", 8), ("cnn", 4)):
            states = file["states"][layer]
            assert (states.shape, states.dtype, states.fletcher32) == ((3, 2, width), np.float16, True)
        assert file["keys"].dtype == "S64"
        assert file["keys"][2].decode() == f"{2:064x}"
        assert file["offsets"][()].tolist() == [0, 1, 2, 3]
        assert file["frames"][()].tolist() == [50, 51, 52]
        assert file["seconds"][()].tolist() == [1.5] * 3
        assert file["paths"][()].tolist() == [b"0a.wav", b"1a.wav", b"2a.wav"]


def test_the_same_content_is_the_same_file(tmp_path):
    assert write(tmp_path) == write(tmp_path)
    assert [p.name[:6] for p in tmp_path.iterdir()] == ["shard-"]


def test_a_path_of_any_bytes_survives_a_round_trip(tmp_path):
    odd = b"s\xff\xfe \xc3\xa9\n,.wav".decode("utf-8", "surrogateescape")
    shard = write(tmp_path, path=odd)
    with open_shard(shard, KIND.fingerprint()) as file:
        assert read_entries(file, shard, row_bytes=KIND.bytes_per_row())[1].path == f"1{odd}"


@pytest.mark.parametrize("clips", [1, 127, 128, 129, 1000])
def test_a_chunk_is_never_much_larger_than_its_rows(tmp_path, clips):
    with h5py.File(write(tmp_path, clips=clips)) as file:
        chunk = file["states/0"].chunks[0]
    assert chunk <= 128
    assert -(-clips // chunk) * chunk - clips < 0.1 * clips + 1


def test_an_unfinished_shard_leaves_no_trace(tmp_path):
    with ShardWriter(tmp_path, KIND) as shard:
        shard.append("0", np.zeros((2, 2, 8), "f2"))
        assert len(list(tmp_path.iterdir())) == 1
        with pytest.raises(ValueError, match=r"layers \['0', '1', 'cnn'\] do not have the 1 rows"):
            shard.finish([ClipEntry(key="a" * 64, rows=1, frames=1, seconds=1.0)])
    assert list(tmp_path.iterdir()) == []


def test_another_fingerprint_schema_or_format_is_refused_with_the_reason(tmp_path):
    shard = write(tmp_path)
    with pytest.raises(
        StoreError, match=f"fingerprint {KIND.fingerprint()} in the store of 0123456789abcdef"
    ):
        open_shard(shard, "0123456789abcdef")
    with h5py.File(shard, "r+") as file:
        file.attrs["schema"] = 7
    with pytest.raises(StoreError, match="schema 7; this version reads 1"):
        open_shard(shard, KIND.fingerprint())
    with h5py.File(shard, "r+") as file:
        del file.attrs["schema"]
    with pytest.raises(StoreError, match="damaged"):
        open_shard(shard, KIND.fingerprint())
    shard.write_bytes(b"not HDF5 at all")
    with pytest.raises(StoreError, match="damaged"):
        open_shard(shard, KIND.fingerprint())
    shutil.rmtree(tmp_path)
    with pytest.raises(FileNotFoundError):
        open_shard(shard, KIND.fingerprint())


@given(st.lists(st.binary(min_size=32, max_size=32)))
def test_keys_and_digests_convert_both_ways(raw):
    keys = [digest.hex() for digest in raw]
    assert digests_to_keys(keys_to_digests(keys)) == keys


@pytest.mark.parametrize("keys", [["ab"], ["a" * 65], ["g" * 64], ["a" * 64, "b" * 63], [""]])
def test_a_malformed_key_is_refused(keys):
    with pytest.raises(HexError):
        keys_to_digests(keys)
