"""Shards that were crafted or written by a faulty program, under the name of their checksum.

Each is reported in one line by everything that reads it, set aside by `verify --repair`, and no number of
another file is ever read from it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from functools import partial
from pathlib import Path

import h5py
import numpy as np
import pytest

from layerprobe.cache import FeatureStore
from layerprobe.cache.common.errors import StoreError
from layerprobe.cache.identity.extraction import FRAME, Extraction
from layerprobe.cache.maintenance.catalog import describe_cache
from layerprobe.cache.maintenance.compact import compact
from layerprobe.cache.maintenance.export import Format, export
from layerprobe.cache.maintenance.verify import verify
from layerprobe.cache.store.shard import list_shards
from tests.stores import clips, extraction, fill

COUNT = 3
OTHER = 7.0  # what the other file holds
Change = Callable[[h5py.File, Path], None]


def replace(name: str, data: object = None, **options: object) -> Change:
    """The change that writes another dataset under this name."""

    def change(file: h5py.File, folder: Path) -> None:
        del file[name]
        file.create_dataset(name, data=data, **{"fletcher32": True, "chunks": True, **options})

    return change


def remove(name: str) -> Change:
    return lambda file, folder: file.__delitem__(name)


def link(name: str, made: Callable[[Path], object]) -> Change:
    def change(file: h5py.File, folder: Path) -> None:
        del file[name]
        file[name] = made(folder)

    return change


def external(name: str) -> Callable[[Path], object]:
    return lambda folder: h5py.ExternalLink(str(folder / "other.h5"), name)


def attribute(name: str, value: object) -> Change:
    return lambda file, folder: file.attrs.__setitem__(name, value)


def virtual(file: h5py.File, folder: Path) -> None:
    layout = h5py.VirtualLayout(shape=(COUNT, 2, 8), dtype="f2")
    layout[:] = h5py.VirtualSource(str(folder / "other.h5"), "states/0", shape=(COUNT, 2, 8))
    del file["states/0"]
    file.create_virtual_dataset("states/0", layout)


def external_storage(file: h5py.File, folder: Path) -> None:
    (folder / "raw").write_bytes(np.full((COUNT, 2, 8), OTHER, "f2").tobytes())
    del file["states/0"]
    file.create_dataset(
        "states/0", (COUNT, 2, 8), "f2", external=[(str(folder / "raw"), 0, h5py.h5f.UNLIMITED)]
    )


def shared_states(file: h5py.File, folder: Path) -> None:
    """The group itself is a link to that of another file."""
    del file["states"]
    file["states"] = h5py.ExternalLink(str(folder / "other.h5"), "states")


def cell(name: str, place: object, value: object) -> Change:
    """The change that overwrites a part of a dataset."""
    return lambda file, folder: file[name].__setitem__(place, value)


def fewer(name: str) -> Change:
    return lambda file, folder: replace(name, file[name][:-1])(file, folder)


STATES = np.ones((COUNT, 2, 8), "f2")
KEYS = [f"{number:064x}".encode() for number in range(COUNT)]
CHANGES: dict[str, Change] = {
    "a layer is a link to another file": link("states/0", external("states/0")),
    "all layers are a link to another file": shared_states,
    "a column is a link to another file": link("seconds", external("seconds")),
    "the keys are a link to another file": link("keys", external("keys")),
    "a layer is a link to nowhere": link("states/0", external("nowhere")),
    "a layer is a link to another layer": link("states/0", lambda folder: h5py.SoftLink("/states/1")),
    "a layer is a view of another file": virtual,
    "a layer's bytes are in another file": external_storage,
    "a layer is missing": remove("states/0"),
    "a layer is a group": lambda file, folder: (file.__delitem__("states/0"), file.create_group("states/0"))[
        0
    ],
    "the layers are a dataset": replace("states", STATES),
    "there are no layers": remove("states"),
    "another type": replace("states/0", STATES.astype("f8")),
    "another byte order": replace("states/0", STATES.astype(">f2")),
    "integers": replace("states/0", STATES.astype("i2")),
    "a row too few": replace("states/0", STATES[:-1]),
    "a row too many": replace("states/0", np.ones((COUNT + 1, 2, 8), "f2")),
    "another width": replace("states/0", np.ones((COUNT, 2, 9), "f2")),
    "another number of statistics": replace("states/0", STATES[:, :1]),
    "two dimensions": replace("states/0", STATES[:, 0]),
    "a single number": replace("states/0", np.float16(1), chunks=None, fletcher32=False),
    "not chunked": replace("states/0", STATES, chunks=None, fletcher32=False),
    "no checksums": replace("states/0", STATES, fletcher32=False),
    "compressed": replace("states/0", STATES, compression="gzip"),
    "chunks across layers' rows": replace("states/0", STATES, chunks=(COUNT, 1, 8)),
    "huge chunks": replace("states/0", STATES, chunks=(4096, 2, 8), maxshape=(None, 2, 8)),
    "no chunk is written": replace("states/0", shape=(COUNT, 2, 8), dtype="f2"),
    "more rows than bytes": replace("states/0", shape=(2**40, 2, 8), dtype="f2", chunks=(128, 2, 8)),
    "more keys than bytes": replace("keys", shape=(2**40,), dtype="S64"),
    "more offsets than bytes": replace("offsets", shape=(2**40,), dtype="i8"),
    "keys of any length": replace("keys", KEYS, dtype=h5py.string_dtype(), fletcher32=False),
    "paths of any length": replace("paths", KEYS, dtype=h5py.string_dtype(), fletcher32=False),
    "short keys": replace("keys", np.array([key[:10] for key in KEYS])),
    "keys that are no digests": replace("keys", np.array([b"x" * 64] * COUNT)),
    "keys are numbers": replace("keys", np.arange(COUNT)),
    "one clip twice": lambda file, folder: replace("keys", file["keys"][()][[0, 0, 1]])(file, folder),
    "paths are numbers": replace("paths", np.arange(COUNT)),
    "seconds are text": replace("seconds", np.array([b"1.0"] * COUNT)),
    "seconds that are no number": cell("seconds", 1, np.nan),
    "endless seconds": cell("seconds", 1, np.inf),
    "negative seconds": cell("seconds", 1, -1.0),
    "negative frames": cell("frames", 1, -5),
    "offsets that descend": cell("offsets", 1, 3),
    "offsets that start late": cell("offsets", 0, 1),
    "negative offsets": cell("offsets", 1, -1),
    "offsets beyond the rows": cell("offsets", COUNT, 2**60),
    "offsets of empty clips": lambda file, folder: cell("offsets", slice(None), [0, 0, 0, COUNT])(
        file, folder
    ),
    **{f"no {name}": remove(name) for name in ("keys", "offsets", "frames", "seconds", "paths")},
    **{f"too few {name}": fewer(name) for name in ("keys", "offsets", "frames", "seconds", "paths")},
    "NaN": cell("states/0", (1, 0, 3), np.nan),
    "infinity": cell("states/0", (COUNT - 1, 1, 7), -np.inf),
    "a schema of several": attribute("schema", [1, 1]),
    "a schema in words": attribute("schema", "one"),
    "a fingerprint of several": attribute("fingerprint", [b"a", b"b"]),
    "a fingerprint that is a number": attribute("fingerprint", 7),
    "no attributes": lambda file, folder: file.attrs.__delitem__("fingerprint"),
}


def crafted(folder: Path, change: Change, kind: Extraction) -> FeatureStore:
    """A store of one intact shard and one that was changed and then named by its checksum."""
    store = FeatureStore.create(folder / "cache", kind)
    fill(store, clips(kind, COUNT, seed=1))
    (name,) = list_shards(store.folder)
    fill(store, clips(kind, COUNT, seed=2))
    shard = store.folder / name
    (folder / "other.h5").write_bytes(shard.read_bytes())
    with h5py.File(folder / "other.h5", "r+") as file:
        for layer in kind.layers:
            file["states"][layer][...] = OTHER
        file["seconds"][...] = OTHER
    with h5py.File(shard, "r+", libver=("v110", "v110")) as file:
        change(file, folder)
    shard.rename(store.folder / f"shard-{hashlib.sha256(shard.read_bytes()).hexdigest()[:32]}.h5")
    return FeatureStore(store.folder)


def read_layer(store: FeatureStore, layer: str, states: list[np.ndarray]) -> None:
    states.append(store.layer(layer, store.keys()))


def read_frames(store: FeatureStore, key: str, states: list[np.ndarray]) -> None:
    states.append(store.frames("0", key))


def one_line(action: Callable[[], object]) -> str:
    """The message with which an action is refused; empty if it succeeds. Fails for any other error."""
    message = ""
    try:
        action()
    except StoreError as error:
        message = str(error)
    assert "\n" not in message
    return message


@pytest.mark.parametrize("fault", CHANGES)
def test_a_crafted_shard_is_reported_by_all_and_set_aside_by_repair(tmp_path: Path, fault: str) -> None:
    store = crafted(tmp_path, CHANGES[fault], extraction())
    intact = clips(store.extraction, COUNT, seed=2)
    for layer in store.extraction.layers:
        states: list[np.ndarray] = []
        one_line(partial(read_layer, store, layer, states))
        assert not any((read == OTHER).any() or not np.isfinite(read).all() for read in states)
    one_line(lambda: store.paths(store.keys()))
    one_line(lambda: store.frame_counts(store.keys()))
    names: tuple[Format, ...] = ("npz", "h5")
    for name in names:
        out = tmp_path / f"out.{name}"
        message = one_line(partial(export, store, out, layer="0", format=name))
        assert bool(message) != out.exists()
    assert all("\n" not in line for line in describe_cache(tmp_path / "cache").faults)
    message = one_line(lambda: compact(store))
    assert "cache verify --repair" in message
    assert message.count("damaged shard") <= 1
    (damaged,) = verify(store).damaged
    assert not (fault.startswith("no ") and "is a link" in damaged.reason)
    assert damaged.reason
    assert "\n" not in damaged.reason
    (aside,) = verify(store, repair=True).quarantined
    assert aside.parent.name == "damaged"
    assert verify(store).damaged == []
    assert FeatureStore(store.folder).keys() == sorted(intact)


FRAME_CHANGES: dict[str, Change] = {
    "more frames than the file has room for": cell("offsets", COUNT, 2**60),
    "frames that are not the rows": cell("frames", 1, 2**31 - 1),
    "offsets that descend": cell("offsets", 1, 3),
    "a layer is a link to another file": link("states/0", external("states/0")),
    "NaN": cell("states/0", (1, 0, 3), np.nan),
    "a row too few": replace("states/0", np.ones((COUNT - 1, 1, 8), "f2")),
}


@pytest.mark.parametrize("fault", FRAME_CHANGES)
def test_a_crafted_shard_of_frames_is_reported_by_all(tmp_path: Path, fault: str) -> None:
    store = crafted(tmp_path, FRAME_CHANGES[fault], extraction(stats=(FRAME,)))
    for key in clips(store.extraction, COUNT, seed=1):
        read: list[np.ndarray] = []
        one_line(partial(read_frames, store, key, read))
        assert not any((block == OTHER).any() or not np.isfinite(block).all() for block in read)
    assert one_line(lambda: compact(store))
    (damaged,) = verify(store, repair=True).damaged
    assert damaged.reason
    assert verify(store).damaged == []
