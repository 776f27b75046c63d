"""Objects through fsspec's other file systems: memory stands for services that cannot be had here."""

from __future__ import annotations

import errno
from pathlib import Path

import fsspec
import pytest

from layerprobe.cache import FeatureStore
from layerprobe.cache.common import places
from layerprobe.cache.common.errors import InputError
from layerprobe.cache.common.places import local_cache
from layerprobe.cache.remote import services
from layerprobe.cache.remote.objects import ObjectFolder
from layerprobe.cache.remote.retries import AbsentError
from layerprobe.cache.store.location import remote_cache
from tests.stores import check, clips, extraction, fill


@pytest.fixture
def memory(tmp_path, monkeypatch):
    monkeypatch.setattr(places, "SCHEMES", (*places.SCHEMES, "memory"))
    monkeypatch.setenv("LAYERPROBE_MIRROR", str(tmp_path / "mirror"))
    remote_cache.remote_cache.cache_clear()
    files = fsspec.filesystem("memory")
    files.mkdirs("/bucket", exist_ok=True)
    yield files
    files.rm("/bucket", recursive=True)


def test_a_store_on_another_file_system(memory, tmp_path, monkeypatch):
    store = FeatureStore.create(local_cache("memory://bucket/p"), extraction())
    held = clips(store.extraction, 5, seed=1)
    fill(store, held)
    monkeypatch.setenv("LAYERPROBE_MIRROR", str(tmp_path / "b"))
    other = FeatureStore.find(local_cache("memory://bucket/p"), store.extraction)
    assert other is not None
    assert other.folder != store.folder
    check(other, held)


def test_an_object_is_written_once(memory, tmp_path):
    folder = ObjectFolder("memory://bucket/p")
    (tmp_path / "a").write_bytes(b"first")
    (tmp_path / "b").write_bytes(b"second")
    assert folder.listing() == {}
    assert folder.upload(tmp_path / "a", "x/y")
    assert not folder.upload(tmp_path / "b", "x/y")
    assert folder.read("x/y") == b"first"
    assert {name: one.nbytes for name, one in folder.listing().items()} == {"x/y": 5}
    with pytest.raises(AbsentError, match=r"memory://bucket/p/z: does not exist"):
        folder.download("z", tmp_path / "z", fault=lambda _: "")
    assert sorted(path.name for path in tmp_path.iterdir() if path.is_file()) == ["a", "b"]


def test_a_service_without_conditional_writes(memory, tmp_path, monkeypatch):
    put = type(memory).put_file

    def without(self, lpath: str, rpath: str, *, mode: str = "overwrite", **options: object) -> None:
        if mode == "create":
            raise OSError(errno.ENOSYS, "A header you provided implies functionality that is not implemented")
        put(self, lpath, rpath, **options)

    monkeypatch.setattr(type(memory), "put_file", without)
    (tmp_path / "a").write_bytes(b"content")
    folder = ObjectFolder("memory://bucket/p")
    assert folder.upload(tmp_path / "a", "x")
    assert folder.read("x") == b"content"


@pytest.mark.parametrize(
    ("scheme", "advice"),
    [
        ("s3", r"needs the package s3fs; pip install 'layerprobe\[s3\]'"),
        ("gs", r"needs the package gcsfs; pip install 'layerprobe\[gs\]'"),
        ("az", r"needs the package adlfs; pip install 'layerprobe\[az\]'"),
    ],
)
def test_a_missing_package_is_named(monkeypatch, scheme, advice):
    monkeypatch.setattr(services.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(InputError, match=advice):
        ObjectFolder(f"{scheme}://bucket/p").listing()


def test_a_file_that_is_read_is_complete_or_absent(memory, tmp_path):
    memory.pipe_file("/bucket/p/x", b"content")
    seen: list[bytes] = []

    def fault(path: Path) -> str:
        seen.append(path.read_bytes())
        return "" if len(seen) == 2 else "odd"

    ObjectFolder("memory://bucket/p").download("x", tmp_path / "new" / "x", fault=fault)
    assert seen == [b"content"] * 2
    assert (tmp_path / "new" / "x").read_bytes() == b"content"
