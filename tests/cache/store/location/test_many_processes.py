"""Processes that write to one cache on object storage: at the same time, and killed at any moment."""

from __future__ import annotations

import hashlib
import re
import signal
import time

import pytest

from layerprobe.cache import FeatureStore
from layerprobe.cache.common.places import local_cache
from layerprobe.embed.config import EmbedConfig
from layerprobe.embed.extract.run import embed
from layerprobe.embed.manifest.clips import read_manifest
from tests.cache.store.location.test_remote_shards import CACHE, found, new_machine, shards
from tests.run import start_cli, write_corpus
from tests.s3_server import SECRET, Server, environment

WORDS = ("--model", "mfcc", "--cache", CACHE)


def expected(table, tmp_path) -> FeatureStore:
    return FeatureStore(
        embed(read_manifest(table), EmbedConfig(model="mfcc", cache=tmp_path / "local")).store
    )


def check_objects(s3: Server) -> None:
    """Every object is complete: its name has the checksum of its bytes."""
    for name in s3.names():
        if match := re.search(r"/(?:shard|digests|failures|costs)-([0-9a-f]{32})\.", name):
            assert hashlib.sha256(s3.content(name)).hexdigest().startswith(match[1])


@pytest.mark.slow
def test_processes_write_and_read_at_the_same_time(s3, tmp_path, monkeypatch):
    table = write_corpus(tmp_path / "corpus", clips=24)
    runs = [
        start_cli(
            "embed", table, *WORDS, "--part", f"{part}/3", environment=environment(s3, tmp_path / machine)
        )
        for part, machine in ((1, "a"), (2, "a"), (3, "b"))
    ]
    for run in runs:
        done = run.finish()
        assert (done.returncode, SECRET in done.stdout + done.stderr) == (0, False), done.stderr
    states = expected(table, tmp_path)
    store = found(new_machine(s3, tmp_path / "c", monkeypatch), states.extraction)
    assert store.keys() == states.keys()
    assert (store.layer("mfcc", states.keys()) == states.layer("mfcc", states.keys())).all()
    check_objects(s3)


@pytest.mark.slow
def test_a_process_that_is_killed_while_it_uploads_leaves_no_half_shard(s3, tmp_path, monkeypatch):
    table = write_corpus(tmp_path / "corpus", clips=8)
    s3.faults.plan, s3.faults.only, s3.faults.delay = ["", "", "slow"], ("PUT",), 3.0  # record, table, shard
    run = start_cli("embed", table, *WORDS, environment=environment(s3, tmp_path))
    deadline = time.monotonic() + 60
    while not s3.faults.count("PUT", "/shard-") and time.monotonic() < deadline:
        time.sleep(0.02)
    run.send_signal(signal.SIGKILL)
    run.finish()
    assert shards(s3) == []
    check_objects(s3)
    assert FeatureStore.find(local_cache(CACHE), expected(table, tmp_path).extraction) is not None
    s3.faults.plan = []
    again = start_cli("embed", table, *WORDS, environment=environment(s3, tmp_path)).finish()
    assert again.returncode == 0, again.stderr
    assert len(shards(s3)) == 1
    states = expected(table, tmp_path)
    store = found(new_machine(s3, tmp_path / "c", monkeypatch), states.extraction)
    assert store.keys() == states.keys()
