"""A cache at a URL and the folder that stands for it; what no cache can be on is refused."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from layerprobe.cache.common.errors import InputError, StoreError
from layerprobe.cache.common.places import (
    local_cache,
    local_store,
    portable,
    refuse_url,
    remote_url,
    size_limit,
)
from layerprobe.cache.common.text import printable


@pytest.fixture(autouse=True)
def mirror(tmp_path, monkeypatch):
    monkeypatch.setenv("LAYERPROBE_MIRROR", str(tmp_path / "mirror"))
    for name in ("AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3", "FSSPEC_S3_ENDPOINT_URL"):
        monkeypatch.delenv(name, raising=False)


def test_a_folder_is_itself():
    for name in ("features", "/data/features", "s3", "a:b/c", "./s3:", "C:/x/y".lower()[2:]):
        assert local_cache(name) == Path(name)
        assert remote_url(Path(name)) is None


def test_every_spelling_of_a_url_has_one_mirror(tmp_path, monkeypatch):
    folder = local_cache("s3://bucket/a/b")
    assert folder.parent == tmp_path / "mirror" / "caches"
    assert {
        local_cache(text) for text in ("s3://bucket/a/b/", "S3://bucket/a/b", Path("s3://bucket/a/b"))
    } == {folder}
    assert local_cache("s3://bucket/a") != folder
    assert local_cache("gs://bucket/a/b") != folder
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9000")
    assert local_cache("s3://bucket/a/b") != folder  # another server's bucket of that name


def test_messages_have_the_url_and_not_the_folder():
    folder = local_cache("s3://bucket/a")
    store = local_store("s3://bucket/a/mfcc/0123456789abcdef")
    assert store == folder / "mfcc" / "0123456789abcdef"
    assert (
        printable(f"{store}: damaged; {folder}")
        == "s3://bucket/a/mfcc/0123456789abcdef: damaged; s3://bucket/a"
    )
    assert portable(store) == "s3://bucket/a/mfcc/0123456789abcdef"
    assert printable(f"{store}/failures.csv") == f"{store}/failures.csv"  # which is only there
    assert StoreError("x", where=str(folder)).line() == "s3://bucket/a: x"


@pytest.mark.parametrize(
    ("url", "line"),
    [
        ("ftp://host/x", r"ftp://…: a cache cannot be on a URL of this kind; use s3://, gs://, az://"),
        ("s3://key:secret@bucket/x", r"s3://…: a URL with credentials or parameters in it; give scheme"),
        ("s3://bucket/x?X-Amz-Signature=secret", r"s3://…: a URL with credentials or parameters in it"),
        ("s3://bucket/a/../b", r"names no place in a bucket; write it as s3://bucket/prefix"),
        ("s3://bucket//b", "names no place in a bucket"),
        ("s3://", "s3://: names no place in a bucket; write it as s3://bucket/prefix"),
        (Path("s3://"), "s3://: names no place in a bucket"),
        ("gs:///", "gs://: names no place in a bucket"),
        ("s3://bucket/a\nb", "names no place in a bucket"),
    ],
)
def test_a_url_that_cannot_be_a_cache_is_refused_without_its_secret(url, line):
    with pytest.raises(InputError, match=line) as raised:
        local_cache(url)
    assert "secret" not in str(raised.value)


def test_the_size_of_local_copies(monkeypatch):
    monkeypatch.setenv("LAYERPROBE_MIRROR_SIZE", "3GiB")
    assert size_limit() == 3 << 30
    monkeypatch.setenv("LAYERPROBE_MIRROR_SIZE", "much")
    with pytest.raises(InputError, match="LAYERPROBE_MIRROR_SIZE much; write it as 8GB"):
        local_cache("s3://bucket/a")


def test_a_place_without_room_for_copies_is_one_line(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("LAYERPROBE_MIRROR", str(tmp_path / "file"))
    with pytest.raises(StoreError, match=r"/file: no local copies can be made there .*set LAYERPROBE_MIRROR"):
        local_cache("s3://bucket/a")


def test_the_mirror_is_in_the_users_cache_folder(tmp_path, monkeypatch):
    monkeypatch.delenv("LAYERPROBE_MIRROR")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert str(local_cache("s3://bucket/a")).startswith(os.fspath(tmp_path / "xdg" / "layerprobe" / "remote"))


def test_a_url_is_no_path_but_a_file_with_a_colon_is():
    for text in ("s3://bucket/run", "s3:/bucket/run", "https://server/x.csv"):
        with pytest.raises(InputError, match="a URL cannot be used here"):
            refuse_url(text, option="--out")
    refuse_url("./s3:/run", option="--out")
    refuse_url("runs/a:b", option="--out")
