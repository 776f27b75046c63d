"""A reader that knows only the documented format: json, hashlib and h5py, and nothing of this project."""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path

import h5py
import numpy as np
import pytest

from layerprobe.cache import FeatureStore
from layerprobe.cache.identity.extraction import FRAME
from layerprobe.cache.identity.keys import clip_key
from layerprobe.cache.maintenance.compact import compact
from tests.stores import clips, extraction, fill


def read_store(folder: Path) -> dict[str, dict[str, np.ndarray]]:
    """key → layer → (rows, S, D)"""
    record = json.loads((folder / "extraction.json").read_text())
    told = record.pop("fingerprint")
    keyed = {name: value for name, value in record.items() if name not in ("model", "notes")}
    text = json.dumps(keyed, sort_keys=True, separators=(",", ":"))
    assert hashlib.sha256(text.encode()).hexdigest()[:16] == told == folder.name
    found: dict[str, dict[str, np.ndarray]] = {}
    for path in folder.iterdir():
        name = re.fullmatch(r"shard-([0-9a-f]{32})\.h5", path.name)
        if name is None:
            continue
        assert hashlib.sha256(path.read_bytes()).hexdigest().startswith(name[1])
        with h5py.File(path) as file:
            assert file.attrs["schema"] == 1
            assert file.attrs["fingerprint"].decode() == told
            offsets = file["offsets"][()]
            for number, key in enumerate(file["keys"][()]):
                begin, end = offsets[number], offsets[number + 1]
                found[key.decode()] = {name: file[f"states/{name}"][begin:end] for name in record["layers"]}
                for name, width in zip(record["layers"], record["widths"], strict=True):
                    states = found[key.decode()][name]
                    assert (states.shape[1:], str(states.dtype)) == (
                        (len(record["stats"]), width),
                        record["dtype"],
                    )
    return found


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
