"""Caches on servers that speak Google's and Azure's protocols, and on a second server for S3."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import fsspec
import numpy as np
import pytest

from layerprobe.cache import FeatureStore
from layerprobe.cache.common.errors import ForbiddenError, InputError, StoreError
from layerprobe.cache.common.places import local_cache
from layerprobe.cache.identity.extraction import FRAME
from layerprobe.cache.maintenance.verify import verify
from layerprobe.cache.remote import retries, services
from layerprobe.cache.remote.objects import ObjectFolder
from layerprobe.cache.remote.retries import ATTEMPTS, AbsentError
from layerprobe.cache.store.location import remote_cache
from tests.object_servers import BUCKET, SECRET, ObjectServer, object_server
from tests.run import CLI, ROOT
from tests.stores import check, clips, extraction, fill

# aiohttp's advice to gcsfs and Azure's client.
pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore:Sending a large body:ResourceWarning")]

VARIABLES = ("AWS_PROFILE", "AWS_SESSION_TOKEN", "AZURE_STORAGE_ACCOUNT_NAME", "LAYERPROBE_CACHE")
WRITES = ("PUT", "POST")
REQUESTS = {"gs": 1, "az": 2, "s3": 1}  # of a listing
BIG = 6 << 20  # bytes, which are uploaded in several requests to Google's service


@pytest.fixture(scope="module", params=["gs", "az", "s3"])
def running(request) -> Iterator[ObjectServer]:
    with object_server(request.param) as server:
        yield server


@pytest.fixture
def server(running, tmp_path, monkeypatch) -> ObjectServer:
    running.faults.__init__()
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
    for name, value in running.environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(retries, "FIRST_WAIT", 0.01)
    monkeypatch.setitem(fsspec.config.conf, "gs", {"token": "anon"})  # the variable is read once
    forget(running)
    new_machine(tmp_path / "a", monkeypatch)
    return running


@pytest.fixture
def url(server) -> str:
    return f"{server.scheme}://{BUCKET}/{uuid4().hex}"


def forget(server: ObjectServer) -> None:
    """Open the service anew, with the variables of now."""
    services.open_service(server.scheme).clear_instance_cache()


def new_machine(folder: Path, monkeypatch) -> None:
    monkeypatch.setenv("LAYERPROBE_MIRROR", str(folder))
    remote_cache.remote_cache.cache_clear()


def filled(url: str, count: int = 20, **options):
    store = FeatureStore.create(local_cache(url), extraction(**options))
    held = clips(store.extraction, count, seed=1)
    fill(store, held)
    return store, held


def found(url: str, like: FeatureStore) -> FeatureStore:
    store = FeatureStore.find(local_cache(url), like.extraction)
    assert store is not None
    return store


@pytest.mark.parametrize("stats", [("mean", "std"), (FRAME,)])
def test_states_are_read_on_another_machine(server, url, tmp_path, monkeypatch, stats):
    store, held = filled(url, stats=stats)
    check(store, held)
    new_machine(tmp_path / "b", monkeypatch)
    other = found(url, store)
    assert other.folder.is_relative_to(tmp_path / "b")
    check(other, held)
    report = verify(other)
    assert (report.shards, report.clips, report.damaged, report.foreign_files) == (1, 20, [], [])


def test_an_object_is_written_once_and_listed(server, url, tmp_path):
    folder = ObjectFolder(url)
    (tmp_path / "a").write_bytes(b"first")
    (tmp_path / "b").write_bytes(b"second")
    assert folder.listing() == {}
    started = time.time()
    assert folder.upload(tmp_path / "a", "x/y z.h5")
    assert not folder.upload(tmp_path / "b", "x/y z.h5")
    assert folder.read("x/y z.h5") == b"first"
    (one,) = folder.listing().items()
    assert (one[0], one[1].nbytes) == ("x/y z.h5", 5)
    assert abs(one[1].modified - started) < 60
    assert folder.describe("x/y z.h5").etag
    with pytest.raises(AbsentError, match=r"none: does not exist"):
        folder.download("none", tmp_path / "none", fault=lambda _: "")
    with pytest.raises(AbsentError, match=r"none: does not exist"):
        folder.describe("none")
    assert sorted(path.name for path in tmp_path.iterdir() if path.is_file()) == ["a", "b"]


@pytest.mark.parametrize("faults", [["lost"] * 3, ["503"] * 3, ["500", "lost", "429"], ["slow"]])
@pytest.mark.parametrize("size", [1000, BIG])
def test_what_may_pass_is_tried_again(server, url, tmp_path, monkeypatch, faults, size):
    if faults == ["slow"]:
        monkeypatch.setattr(services, "ANSWER_SECONDS", 0.5)
        server.faults.delay = 1.0
    content = np.random.default_rng(0).bytes(size)
    (tmp_path / "a").write_bytes(content)
    folder = ObjectFolder(url)
    server.faults.plan, server.faults.only = list(faults), WRITES
    folder.upload(tmp_path / "a", "x")
    assert server.faults.plan == []
    server.faults.plan, server.faults.only = list(faults), ("GET",)
    folder.download("x", tmp_path / "b", fault=lambda _: "")
    assert server.faults.plan == []
    assert (tmp_path / "b").read_bytes() == content


@pytest.mark.parametrize("fault", ["cut", "damaged"])
def test_an_answer_that_is_cut_or_damaged_is_never_half_a_shard(server, url, tmp_path, monkeypatch, fault):
    store, held = filled(url)
    new_machine(tmp_path / "b", monkeypatch)
    other = found(url, store)
    assert other.keys() == sorted(held)
    server.faults.plan, server.faults.only = [fault] * 2, ("GET",)
    check(other, held)
    assert server.faults.plan == []
    (shard,) = other.folder.glob("shard-*")
    shard.unlink()
    server.faults.always = fault
    monkeypatch.setattr(retries, "ATTEMPTS", 2)  # Azure's client waits in each
    with pytest.raises(StoreError, match=r"shard-.*(no usable answer after 2 attempts|damaged)"):
        other.layer("0", list(held))
    assert not list(other.folder.glob("*shard-*"))


@pytest.mark.parametrize("fault", ["503", "lost"])
def test_a_service_that_never_answers_is_asked_six_times(server, url, fault):
    server.faults.always = fault
    with pytest.raises(StoreError, match=rf"{url}: no usable answer after 6 attempts \(.*\); try again"):
        ObjectFolder(url).listing()
    # aiohttp asks once more at once where a connection that it has used before is lost.
    assert len(server.faults.seen) <= ATTEMPTS * REQUESTS[server.scheme] * (2 if fault == "lost" else 1)


@pytest.mark.parametrize("status", ["401", "403"])
def test_a_service_that_refuses_is_one_line_at_once(server, url, tmp_path, status):
    server.faults.always = status
    (tmp_path / "a").write_bytes(b"a")
    upload = (lambda: ObjectFolder(url).upload(tmp_path / "a", "x"), 1)
    for call, requests in ((ObjectFolder(url).listing, REQUESTS[server.scheme]), upload):
        server.faults.seen.clear()
        with pytest.raises(ForbiddenError, match=rf"{url}.*access is refused .*docs/cache.md") as raised:
            call()
        assert SECRET not in str(raised.value)
        assert len(server.faults.seen) == requests


def test_a_request_that_is_rejected_is_not_repeated(server, url):
    server.faults.always = "400"
    with pytest.raises(StoreError, match="the service rejects the request"):
        ObjectFolder(url).listing()
    assert len(server.faults.seen) == REQUESTS[server.scheme]


def test_a_wrong_key_is_one_line_without_it(server, url, monkeypatch):
    if not server.wrong_key:
        pytest.skip("fake-gcs-server accepts every key")
    for name, value in server.wrong_key.items():
        monkeypatch.setenv(name, value)
    forget(server)
    with pytest.raises(ForbiddenError, match=rf"{url}: access is refused .*docs/cache.md") as raised:
        filled(url)
    assert not any(key in str(raised.value) for key in (SECRET, "d3Jvbmc="))


def test_no_such_bucket(server, tmp_path):
    folder = ObjectFolder(f"{server.scheme}://absent/x")
    (tmp_path / "a").write_bytes(b"a")
    with pytest.raises(AbsentError, match=rf"^{folder.url}: no such bucket; check the URL"):
        folder.listing()
    if server.scheme != "s3":  # SeaweedFS reports an error of its own
        with pytest.raises(AbsentError, match=r"absent/x"):
            folder.upload(tmp_path / "a", "x")


def test_a_kill_during_an_upload_leaves_no_object(server, url, tmp_path):
    (tmp_path / "a").write_bytes(np.random.default_rng(0).bytes(BIG))
    program = (
        "import sys; from pathlib import Path; from layerprobe.cache.remote.objects import ObjectFolder;"
        f"ObjectFolder({url!r}).upload(Path({str(tmp_path / 'a')!r}), 'x')"
    )
    requests = 2 if server.scheme == "gs" else 1  # the first one begins an upload to Google's service
    server.faults.only, server.faults.plan = WRITES, [""] * (requests - 1) + ["slow"]
    server.faults.delay = 3.0
    process = subprocess.Popen([sys.executable, "-c", program], cwd=ROOT, env={**os.environ})
    deadline = time.monotonic() + 60
    while sum(map(server.faults.count, WRITES)) < requests and time.monotonic() < deadline:
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    folder = ObjectFolder(url)
    assert folder.listing() == {}
    server.faults.plan = []
    assert folder.upload(tmp_path / "a", "x")
    assert folder.read("x") == (tmp_path / "a").read_bytes()


def test_the_command_line_reads_it_and_prints_no_secret(server, url, tmp_path):
    filled(url)
    words = [*CLI, "cache", "info", "--cache", url, "--json"]
    done = subprocess.run(words, env=os.environ.copy(), capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert f'"cache": "{url}"' in done.stdout
    assert SECRET not in done.stdout
    assert not any(SECRET.encode() in path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())


def test_azure_without_an_account_is_one_line(monkeypatch):
    pytest.importorskip("adlfs", reason="the extra az is not installed")
    for name in [name for name in os.environ if name.startswith("AZURE_")]:
        monkeypatch.delenv(name)
    fsspec.get_filesystem_class("az").clear_instance_cache()
    with pytest.raises(InputError, match=r"az://: cannot be opened \(.*account_name.*docs/cache.md"):
        ObjectFolder("az://states/x").listing()
