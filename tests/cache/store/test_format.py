"""A reader written from docs/store-format.md alone, with json, hashlib and h5py only."""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path

import h5py
import numpy as np
import pytest

from layerprobe.cache import FeatureStore
from layerprobe.cache.common.disk import TEMPORARY_PREFIX
from layerprobe.cache.identity.digests import DATABASE
from layerprobe.cache.identity.extraction import FRAME
from layerprobe.cache.maintenance.catalog import AUDIT_FOLDER
from layerprobe.cache.maintenance.compact import compact
from layerprobe.cache.maintenance.verify import QUARANTINE, STORE_FILES
from layerprobe.cache.store.keys import clip_key
from layerprobe.cache.store.shard import SHARD_NAME
from tests.run import ROOT
from tests.stores import clips, extraction, fill


def read_store(folder: Path) -> dict[str, dict[str, np.ndarray]]:
    """key → layer → (rows, S, D)"""
    record = json.loads((folder / "extraction.json").read_text())
    recorded = record.pop("fingerprint")
    identity = {name: value for name, value in record.items() if name not in ("model", "notes")}
    text = json.dumps(identity, sort_keys=True, separators=(",", ":"))
    assert hashlib.sha256(text.encode()).hexdigest()[:16] == recorded == folder.name
    states_by_key: dict[str, dict[str, np.ndarray]] = {}
    for path in folder.iterdir():
        name = re.fullmatch(r"shard-([0-9a-f]{32})\.h5", path.name)
        if name is None:
            continue
        assert hashlib.sha256(path.read_bytes()).hexdigest().startswith(name[1])
        with h5py.File(path) as file:
            assert file.attrs["schema"] == 1
            assert file.attrs["fingerprint"].decode() == recorded
            offsets = file["offsets"][()]
            for number, key in enumerate(file["keys"][()]):
                begin, end = offsets[number], offsets[number + 1]
                states_by_key[key.decode()] = {
                    name: file[f"states/{name}"][begin:end] for name in record["layers"]
                }
                for name, width in zip(record["layers"], record["widths"], strict=True):
                    states = states_by_key[key.decode()][name]
                    assert (states.shape[1:], str(states.dtype)) == (
                        (len(record["stats"]), width),
                        record["dtype"],
                    )
    return states_by_key


@pytest.mark.parametrize("dtype", ["float16", "float32"])
@pytest.mark.parametrize("stats", [("mean", "std"), (FRAME,)])
def test_the_documented_format_is_enough_to_read_a_store(tmp_path, stats, dtype):
    store = FeatureStore.create(tmp_path, extraction(stats=stats, dtype=dtype, notes={"torch": "é"}))
    held = clips(store.extraction, 20, seed=1)
    for begin in range(0, 20, 5):
        fill(store, dict(list(held.items())[begin : begin + 8]))
    for _ in range(2):
        found = read_store(store.folder)
        assert found.keys() == held.keys()
        for key, layers in held.items():
            for name, states in layers.items():
                np.testing.assert_array_equal(found[key][name].reshape(states.shape), states)
        compact(store)


@pytest.mark.parametrize(
    ("start", "end", "text"), [(0.5, 1.25, "|0.5|1.25"), (None, 2.0, "|0.0|2.0"), (3, None, "|3.0|")]
)
def test_the_documented_key_of_a_segment(start, end, text):
    digest = hashlib.sha256(b"sound").hexdigest()
    assert clip_key(digest, start=start, end=end) == hashlib.sha256(f"{digest}{text}".encode()).hexdigest()


def test_every_file_of_a_store_and_every_object_of_a_shard_is_documented(tmp_path):
    text = (ROOT / "docs" / "store-format.md").read_text(encoding="utf-8")
    store = FeatureStore.create(tmp_path, extraction())
    fill(store, clips(store.extraction, 2, seed=1))
    for name in (*STORE_FILES, QUARANTINE, TEMPORARY_PREFIX, AUDIT_FOLDER, DATABASE):
        assert name in text
    (shard,) = store.folder.glob("shard-*")
    with h5py.File(shard) as file:
        assert SHARD_NAME.pattern.replace("(", "").replace(")", "") in text
        for name in {*file.attrs, *file} - {"states"}:
            assert f"`{name}`" in text
