"""Any flipped bit is found, and never read as a number."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path

import h5py
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from layerprobe.cache import FeatureStore
from layerprobe.cache.common.disk import TEMPORARY_PREFIX
from layerprobe.cache.common.errors import StoreError
from layerprobe.cache.maintenance.verify import verify
from layerprobe.cache.store.shard import list_shards
from tests.run import cli, refused, write_corpus
from tests.stores import check, clips, extraction, fill

pytestmark = pytest.mark.slow


def filled(
    folder: Path, *, seed: int = 1, count: int = 4
) -> tuple[FeatureStore, dict[str, dict[str, np.ndarray]]]:
    store = FeatureStore.create(folder, extraction())
    held = clips(store.extraction, count, seed=seed)
    fill(store, held)
    return store, held


def shard_of(store: FeatureStore) -> Path:
    (name,) = list_shards(store.folder)
    return store.folder / name


def test_an_intact_store_has_no_findings(tmp_path):
    store, held = filled(tmp_path)
    found = verify(store, repair=True)
    assert (found.shards, found.clips, found.damaged, found.quarantined) == (1, 4, [], [])
    assert (found.abandoned_files, found.foreign_files) == ([], [])
    assert found.nbytes == shard_of(store).stat().st_size
    check(store, held)


@pytest.fixture(scope="module")
def sound(tmp_path_factory):
    store, held = filled(tmp_path_factory.mktemp("sound"))
    return store, {layer: store.layer(layer, list(held)) for layer in store.extraction.layers}, list(held)


@given(data=st.data())
def test_a_flipped_bit_is_found_wherever_it_is_and_never_read_as_a_number(sound, data):
    store, right, keys = sound
    path = shard_of(store)
    before = path.read_bytes()
    at = data.draw(st.integers(0, len(before) - 1), label="byte")
    flipped = bytearray(before)
    flipped[at] ^= 1 << data.draw(st.integers(0, 7), label="bit")
    try:
        path.write_bytes(flipped)
        (damaged,) = verify(store).damaged
        assert damaged.path == path
        assert set(damaged.clips) <= {f"{key[:8]}.wav" for key in keys}
        for layer, expected in right.items():
            try:
                read = FeatureStore(store.folder).layer(layer, keys)
            except StoreError:
                continue
            np.testing.assert_array_equal(read, expected)
    finally:
        path.write_bytes(before)


def test_repair_names_and_quarantines_the_clips_of_a_damaged_shard(tmp_path):
    store, first = filled(tmp_path, seed=1)
    path = shard_of(store)
    second = clips(store.extraction, 3, seed=2)
    fill(store, second)
    with h5py.File(path) as file:
        at = file["states/1"].id.get_chunk_info(0).byte_offset
    raw = bytearray(path.read_bytes())
    raw[at] ^= 4
    path.write_bytes(raw)
    with pytest.raises(StoreError, match=r"shard-.*damaged shard.*cache verify --repair"):
        store.layer("1", list(first))
    (damaged,) = verify(store).damaged
    assert "checksum" in damaged.reason
    assert sorted(damaged.clips) == sorted(f"{key[:8]}.wav" for key in first)
    (aside,) = verify(store, repair=True).quarantined
    assert aside.read_bytes() == raw
    assert store.missing([*first, *second]) == list(first)
    assert verify(store).damaged == []
    fill(store, first)
    check(store, {**first, **second})


def test_a_truncated_or_empty_shard_is_damaged(tmp_path):
    store, _ = filled(tmp_path)
    path = shard_of(store)
    whole = path.read_bytes()
    for length in (0, 100, len(whole) - 1):
        path.write_bytes(whole[:length])
        assert [report.path for report in verify(store).damaged] == [path]
    path.write_bytes(whole[:100])
    with pytest.raises(StoreError, match="damaged shard"):
        store.keys()


def test_a_shard_of_another_store_is_damaged_here_and_refused(tmp_path):
    store, _ = filled(tmp_path)
    other = FeatureStore.create(tmp_path, extraction(window=5.0))
    fill(other, clips(other.extraction, 2, seed=9))
    shutil.copy(shard_of(other), store.folder)
    with pytest.raises(StoreError, match=f"fingerprint {other.extraction.fingerprint()} in the store of"):
        store.keys()
    (damaged,) = verify(store, repair=True).damaged
    assert "fingerprint" in damaged.reason
    assert len(store.keys()) == 4


def test_a_missing_shard_is_never_read_as_zeros(tmp_path):
    store, held = filled(tmp_path)
    store.keys()
    shard_of(store).unlink()
    with pytest.raises(StoreError, match="4 of 4 clips are not held"):
        store.layer("0", list(held))
    assert store.missing(held) == list(held)


def test_foreign_and_abandoned_files_are_reported(tmp_path):
    store, _ = filled(tmp_path)
    path = shard_of(store)
    copy = path.with_name(f"{path.stem} (1).h5")
    shutil.copy(path, copy)
    dead = store.folder / f"{TEMPORARY_PREFIX}0000000000000000"
    dead.touch()
    found = verify(store)
    assert (found.foreign_files, found.abandoned_files) == ([copy], [dead])
    assert len(store.keys()) == 4


def test_a_damaged_record_is_repaired_without_recomputing_states(tmp_path):
    table, where = write_corpus(tmp_path / "speech", clips=3), ("--cache", tmp_path / "my features")
    for model in ("mfcc", "fbank"):
        assert cli("embed", table, "--model", model, *where).returncode == 0
    (record,) = tmp_path.glob("my features/mfcc/*/extraction.json")
    record.write_text(record.read_text().replace('"window": 30.0', '"window": 31.0'))
    export = ("cache", "export", table, *where, "--out", tmp_path / "x.npz", "--force")
    assert cli(*export, "--model", "fbank", "--layer", "fbank").returncode == 0  # its store is intact
    mfcc = (*export, "--model", "mfcc", "--layer", "mfcc")
    assert "cache verify --repair" in refused(cli(*mfcc))
    assert "cache verify --repair" in refused(cli("embed", table, "--model", "mfcc", *where))
    found = cli("cache", "verify", *where)
    assert (found.returncode, "its settings give" in found.stderr) == (1, True)
    mended = cli("cache", "verify", "--repair", *where)
    assert mended.returncode == 0, mended.stderr
    assert (record.parent / "damaged" / record.name).is_file()
    lost = cli("cache", "verify", *where)
    assert (lost.returncode, "holds 1 shards, but no extraction.json" in lost.stderr) == (1, True)
    again = cli("embed", table, "--model", "mfcc", *where, "--json")
    assert (json.loads(again.stdout)["cached"], json.loads(again.stdout)["embedded"]) == (3, 0)
    assert cli("cache", "verify", *where).returncode == 0
    assert cli(*mfcc).returncode == 0


def test_repair_leaves_the_record_of_another_version(tmp_path):
    store, _ = filled(tmp_path)
    record = store.folder / "extraction.json"
    kind = json.loads(record.read_text())
    identity = {k: v for k, v in kind.items() if k not in ("fingerprint", "model", "notes")} | {
        "colour": "red"
    }
    text = json.dumps(identity, sort_keys=True, separators=(",", ":"))
    fingerprint = hashlib.sha256(text.encode()).hexdigest()[:16]
    record.write_text(json.dumps({**kind, "colour": "red", "fingerprint": fingerprint}))
    done = cli("cache", "verify", "--repair", "--cache", tmp_path)
    assert (done.returncode, "another version of layerprobe" in done.stderr) == (1, True)
    assert record.is_file()
