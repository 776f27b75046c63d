"""A store on an S3 server: what is written is read, here and on other machines, whatever the network does."""

from __future__ import annotations

import hashlib
import io
import pickle
import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest

from layerprobe.cache import FeatureStore
from layerprobe.cache.common.errors import ForbiddenError, InputError, MissingStatesError, StoreError
from layerprobe.cache.common.places import local_cache, outgoing
from layerprobe.cache.identity.extraction import FRAME, Extraction
from layerprobe.cache.maintenance.catalog import describe_cache
from layerprobe.cache.maintenance.compact import compact
from layerprobe.cache.maintenance.export import export
from layerprobe.cache.maintenance.prune import plan_pruning
from layerprobe.cache.maintenance.verify import verify
from layerprobe.cache.remote import services
from layerprobe.cache.remote.retries import ATTEMPTS, AbsentError
from layerprobe.cache.store.location import remote_cache
from tests.s3_server import SECRET, Server, environment
from tests.stores import check, clips, extraction, fill

CACHE = "s3://states/corpus/features"


def new_machine(s3: Server, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The cache as another machine sees it, which has no local copy of anything."""
    monkeypatch.setenv("LAYERPROBE_MIRROR", str(folder))
    remote_cache.remote_cache.cache_clear()
    s3.faults.seen.clear()
    return local_cache(CACHE)


def filled(count: int = 20, *, seed: int = 1, cache: str = CACHE):
    store = FeatureStore.create(local_cache(cache), extraction())
    held = clips(store.extraction, count, seed=seed)
    fill(store, held)
    return store, held


def found(cache: Path, of: Extraction) -> FeatureStore:
    store = FeatureStore.find(cache, of)
    assert store is not None
    return store


def shards(s3: Server) -> list[str]:
    return [name for name in s3.names() if "/shard-" in name]


def test_states_are_read_back_here_and_on_another_machine(s3, tmp_path, monkeypatch):
    store, held = filled()
    check(store, held)
    (name,) = shards(s3)
    assert hashlib.sha256(s3.content(name)).hexdigest()[:32] == name[-35:-3]
    assert not list(outgoing(store.folder).glob("shard-*"))
    cache = new_machine(s3, tmp_path / "b", monkeypatch)
    other = found(cache, store.extraction)
    assert other.folder.is_relative_to(tmp_path / "b")
    assert other.missing(["0" * 64, *held]) == ["0" * 64]
    assert other.seconds(list(held)).tolist() == [1.0] * 20
    assert sorted(other.paths(list(held))) == sorted(f"{key[:8]}.wav" for key in held)
    assert s3.faults.count("GET", "/shard-") == 0  # the table of a shard says all of that
    check(other, held)
    sent = pickle.dumps(other)
    assert str(tmp_path).encode() not in sent
    check(pickle.loads(sent), held)
    assert s3.faults.count("GET", "/shard-") == 1
    check(FeatureStore(f"{CACHE}/tiny/{store.extraction.fingerprint()}"), held)


def test_the_table_beside_a_shard_is_the_shard_without_its_states(s3):
    filled()
    (name,) = shards(s3)
    (table,) = [name for name in s3.names() if "/tables/" in name]
    assert table == name.replace("/shard-", "/tables/table-")
    with h5py.File(io.BytesIO(s3.content(name))) as whole, h5py.File(io.BytesIO(s3.content(table))) as part:
        assert set(whole) - set(part) == {"states"}
        for column in part:
            np.testing.assert_array_equal(part[column][()], whole[column][()])
        assert {k: v.tobytes() for k, v in part.attrs.items()} == {
            k: v.tobytes() for k, v in whole.attrs.items()
        }


def test_stores_of_frames(s3, tmp_path, monkeypatch):
    store = FeatureStore.create(local_cache(CACHE), extraction(stats=(FRAME,)))
    held = clips(store.extraction, 3, seed=1)
    fill(store, held)
    new_machine(s3, tmp_path / "b", monkeypatch)
    other = found(local_cache(CACHE), store.extraction)
    assert other.frame_counts(list(held)).tolist() == [1, 1, 1]
    assert s3.faults.count("GET", "/shard-") == 0
    check(other, held)


def test_a_local_cache_that_was_copied_there_is_read(s3, tmp_path):
    store = FeatureStore.create(tmp_path / "local", extraction())
    held = clips(store.extraction, 5, seed=1)
    fill(store, held)
    for path in store.folder.glob("[!.]*"):
        s3.put(f"corpus/features/{path.relative_to(tmp_path / 'local')}", path.read_bytes())
    check(found(local_cache(CACHE), store.extraction), held)


def test_two_writers_add_to_one_store(s3, tmp_path, monkeypatch):
    store, held = filled()
    new_machine(s3, tmp_path / "b", monkeypatch)
    other, more = filled(5, seed=2)
    assert other.folder != store.folder
    check(other, {**held, **more})
    fill(other, held)  # the same shard again: it is there already
    assert len(shards(s3)) == 2


@pytest.mark.parametrize("faults", [["lost"] * 3, ["503"] * 3, ["500", "lost", "503"], ["slow"]])
def test_what_may_pass_is_tried_again(s3, tmp_path, monkeypatch, faults):
    if faults == ["slow"]:
        monkeypatch.setattr(services, "ANSWER_SECONDS", 0.5)
        s3.faults.delay = 1.0
    s3.faults.plan = list(faults)
    s3.faults.only = ("PUT",)
    store, held = filled()
    assert s3.faults.plan == []
    cache = new_machine(s3, tmp_path / "b", monkeypatch)
    s3.faults.only, s3.faults.plan = ("GET",), list(faults)
    other = found(cache, store.extraction)
    s3.faults.plan = list(faults)
    check(other, held)
    assert s3.faults.plan == []


@pytest.mark.parametrize("fault", ["cut", "damaged"])
def test_an_answer_that_is_cut_or_damaged_is_never_half_a_shard(s3, tmp_path, monkeypatch, fault):
    store, held = filled()
    other = found(new_machine(s3, tmp_path / "b", monkeypatch), store.extraction)
    assert other.keys() == sorted(held)
    s3.faults.plan, s3.faults.only = [fault] * 2, ("GET",)
    remote_cache.remote_cache(other.cache).listing()
    check(other, held)
    assert s3.faults.plan == []
    (other.folder / shards(s3)[0].rpartition("/")[2]).unlink()
    s3.faults.always = fault
    with pytest.raises(StoreError, match=r"shard-.*(no usable answer after 6 attempts|damaged)"):
        other.layer("0", list(held))
    assert not list(other.folder.glob("*shard-*"))


def test_a_server_that_never_answers_is_one_line(s3):
    s3.faults.always = "503"
    with pytest.raises(
        StoreError, match=rf"{CACHE}: no usable answer after 6 attempts \(.*\); try again later"
    ):
        filled()
    assert len(s3.faults.seen) == ATTEMPTS


def test_shards_that_could_not_be_uploaded_are_uploaded_by_the_next_run(s3, tmp_path, monkeypatch):
    store = FeatureStore.create(local_cache(CACHE), extraction())
    held = clips(store.extraction, 4, seed=1)
    s3.faults.only, s3.faults.always = ("PUT",), "lost"
    with pytest.raises(StoreError, match=r"1 shard could not be uploaded .*run again") as raised:
        fill(store, held)
    assert shards(s3) == []
    (waiting,) = outgoing(store.folder).glob("shard-*")
    assert str(waiting.parent) in raised.value.line()
    check(store, held)  # on this machine
    s3.faults.always = ""
    store.shards.complete()
    assert len(shards(s3)) == 1
    assert not waiting.exists()
    check(store, held)
    check(found(new_machine(s3, tmp_path / "b", monkeypatch), store.extraction), held)


@pytest.mark.parametrize(
    ("name", "value"), [("AWS_SECRET_ACCESS_KEY", "wrong"), ("AWS_ACCESS_KEY_ID", "nobody")]
)
def test_a_service_that_refuses_is_one_line_without_a_secret(s3, monkeypatch, name, value):
    monkeypatch.setenv(name, value)
    s3.faults.always = "403"  # moto accepts every key
    with pytest.raises(ForbiddenError, match=rf"{CACHE}: access is refused .*credentials") as raised:
        filled()
    assert SECRET not in str(raised.value)
    assert len(s3.faults.seen) == 1  # not tried again


def test_a_reader_who_may_not_write_reads_and_is_stopped_at_the_first_shard(s3, tmp_path, monkeypatch):
    store, held = filled()
    s3.faults.only, s3.faults.always = ("PUT",), "403"
    other = found(new_machine(s3, tmp_path / "b", monkeypatch), store.extraction)
    check(other, held)
    with pytest.raises(ForbiddenError, match=r"tables/table-.*access is refused"):
        fill(other, clips(store.extraction, 2, seed=2))


def test_credentials_that_expire_during_a_run_lose_nothing(s3, capsys):
    store, held = filled()
    s3.faults.only, s3.faults.always = ("PUT",), "403"
    more = clips(store.extraction, 2, seed=2)
    with pytest.raises(StoreError, match=r"1 shard could not be uploaded \(access is refused"):
        fill(store, more)
    assert "the states are saved on this machine and uploaded later" in capsys.readouterr().err
    check(store, {**held, **more})


def test_no_such_bucket_and_no_credentials(s3, monkeypatch):
    with pytest.raises(AbsentError, match=r"s3://absent/x: no such bucket; check the URL"):
        filled(cache="s3://absent/x")
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    services.open_service("s3").clear_instance_cache()
    with pytest.raises(InputError, match=r"no usable credentials were found.*docs/cache.md"):
        FeatureStore.find(local_cache("s3://states/y"), extraction())


def test_a_shard_that_somebody_deleted_is_missing(s3, tmp_path, monkeypatch):
    store, held = filled()
    other = found(new_machine(s3, tmp_path / "b", monkeypatch), store.extraction)
    assert len(other) == 20
    for name in shards(s3):
        s3.client.delete_object(Bucket="states", Key=name)
    with pytest.raises(MissingStatesError, match=r"20 of 20 clips.*--cache s3://states/corpus/features"):
        other.layer("0", list(held))
    for name in s3.names():
        s3.client.delete_object(Bucket="states", Key=name)
    remote_cache.remote_cache(other.cache).forget()
    assert FeatureStore.find(other.cache, store.extraction) is None


def test_local_copies_keep_to_their_size(s3, tmp_path, monkeypatch):
    store = FeatureStore.create(local_cache(CACHE), extraction(widths=(2048, 2048, 4)))
    parts = [clips(store.extraction, 64, seed=seed) for seed in range(4)]  # of 1 MiB each
    for part in parts:
        fill(store, part)
    other = found(new_machine(s3, tmp_path / "b", monkeypatch), store.extraction)
    monkeypatch.setenv("LAYERPROBE_MIRROR_SIZE", "2500KiB")
    for part in parts:
        other.layer("0", list(part))
        copies = list(other.folder.glob("shard-*"))
        assert sum(path.stat().st_size for path in copies) < 2500 << 10
    assert len(copies) == 2
    check(other, {key: states for part in parts for key, states in part.items()})


def test_shards_that_are_read_next_are_downloaded_ahead_each_once(s3, tmp_path, monkeypatch):
    store = FeatureStore.create(local_cache(CACHE), extraction())
    parts = [clips(store.extraction, 3, seed=seed) for seed in range(7)]
    for part in parts:
        fill(store, part)
    held = {key: states for part in parts for key, states in part.items()}
    other = found(new_machine(s3, tmp_path / "b", monkeypatch), store.extraction)
    other.seconds(list(held))
    assert s3.faults.count("GET", "/shard-") == 0  # tables only
    check(other, held)
    assert s3.faults.count("GET", "/shard-") == 7
    (first, *_) = shards(s3)
    content = s3.content(first)
    s3.put(first, content[:-1] + bytes([content[-1] ^ 1]))
    again = found(new_machine(s3, tmp_path / "c", monkeypatch), store.extraction)
    monkeypatch.setattr("layerprobe.cache.remote.retries.FIRST_WAIT", 0.001)
    with pytest.raises(StoreError, match="its bytes have the checksum"):
        again.layer("0", list(held))


def test_verify_reads_every_shard_there_and_repairs_nothing(s3):
    store, _ = filled()
    (name,) = shards(s3)
    report = verify(store)
    assert (report.shards, report.clips, report.damaged, report.foreign_files) == (1, 20, [], [])
    content = s3.content(name)
    s3.put(name, content[:-1] + bytes([content[-1] ^ 1]))
    (damaged,) = verify(store).damaged
    assert "its bytes have the checksum" in damaged.reason
    with pytest.raises(StoreError, match=r"s3://states/.*cannot be repaired: object storage has no locks"):
        verify(store, repair=True)
    with pytest.raises(StoreError, match="cannot be compacted: object storage has no locks"):
        compact(store)
    with pytest.raises(StoreError, match="cannot be pruned: object storage has no locks"):
        plan_pruning(store.cache, model="tiny")


def test_info_and_export(s3, tmp_path, monkeypatch):
    store, _ = filled()
    cache = new_machine(s3, tmp_path / "b", monkeypatch)
    (one,) = describe_cache(cache).stores
    assert (one.clips, one.shards, one.failed) == (20, 1, 0)
    assert one.nbytes == sum(len(s3.content(n)) for n in s3.names() if "tables" not in n)
    assert s3.faults.count("GET", "/shard-") == 0
    other = FeatureStore(one.folder)
    exported = export(other, tmp_path / "out.npz", layer="1", format="npz")
    assert exported.clips == 20
    with np.load(tmp_path / "out.npz") as file:
        np.testing.assert_array_equal(file["states"], store.layer("1", file["keys"].tolist()))


def test_the_command_line_reads_it_and_prints_its_url(s3, tmp_path):
    filled()
    command = [sys.executable, "cli.py", "cache", "info", "--cache", CACHE, "--json"]
    root = Path(__file__).parents[4]
    run = subprocess.run(
        command,
        cwd=root,
        env={"PATH": "/usr/bin", **environment(s3, tmp_path)},
        capture_output=True,
        text=True,
    )
    assert (run.returncode, run.stderr) == (0, "")
    assert f'"cache": "{CACHE}"' in run.stdout
    assert SECRET not in run.stdout
    kept = [path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()]
    assert kept
    assert not any(SECRET.encode() in content for content in kept)
