"""A cache that several users share: lock files, shards and folders that another user made."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from layerprobe.cache import FeatureStore
from layerprobe.cache.common.disk import is_locked, locked
from tests.run import CLI, ENVIRONMENT, ROOT
from tests.write_store import KIND, key

pytestmark = pytest.mark.slow

# What permissions forbid is forbidden to root as well.
LIMITED = ["setpriv", "--bounding-set=-dac_override,-dac_read_search,-fowner", "--inh-caps=-all"]
PREFIX = [] if os.getuid() else LIMITED


def limited(*command: object) -> subprocess.CompletedProcess[str]:
    """A command as a user to whom permissions apply."""
    words = [*PREFIX, *map(str, command)]
    return subprocess.run(words, cwd=ROOT, env=ENVIRONMENT, capture_output=True, text=True, check=False)


def write(cache: Path, first: int, last: int) -> subprocess.CompletedProcess[str]:
    return limited(sys.executable, "-m", "tests.write_store", cache, first, last)


def refused(done: subprocess.CompletedProcess[str]) -> str:
    assert done.returncode == 2, done.stderr
    assert "Traceback" not in done.stderr
    (line,) = done.stderr.splitlines()
    return line


@pytest.fixture
def cache(tmp_path: Path) -> Iterator[Path]:
    """A cache of four clips, whose files may only be read and whose folders may be written."""
    if PREFIX and not shutil.which(PREFIX[0]):
        pytest.skip("setpriv is not installed")
    (tmp_path / "readable").touch(0o444)
    if limited("sh", "-c", f"echo > '{tmp_path}/readable'").returncode == 0:
        pytest.skip("permissions cannot be applied here")
    cache = tmp_path / "cache"
    assert write(cache, 0, 4).returncode == 0
    change(cache, file=0o444)
    yield cache
    change(cache, file=0o644, folder=0o755)


def change(cache: Path, *, file: int | None = None, folder: int | None = None) -> None:
    for path in [*cache.rglob("*"), cache]:
        mode = folder if path.is_dir() else file
        if mode is not None:
            path.chmod(mode)


def test_clips_are_added_although_the_lock_files_are_another_users(cache: Path) -> None:
    done = write(cache, 0, 6)
    assert (done.returncode, done.stdout, done.stderr) == (0, "2\n", "")
    (store,) = (FeatureStore(path.parent) for path in cache.glob("*/*/extraction.json"))
    assert store.missing([key(number) for number in range(6)]) == []


def test_a_read_only_lock_still_locks(cache: Path) -> None:
    lock = next(cache.rglob(".writers.lock"))
    program = (
        "import sys; from pathlib import Path; from layerprobe.cache.common.disk import locked\n"
        "with locked(Path(sys.argv[1]), wait=False): pass"
    )
    with locked(lock):
        assert "BlockingIOError" in limited(sys.executable, "-c", program, lock).stderr
    assert limited(sys.executable, "-c", program, lock).stderr == ""
    assert not is_locked(lock)


@pytest.mark.parametrize(("folder", "lock"), [(0o755, 0o600), (0o775, 0o660), (0o777, 0o666)])
def test_a_new_lock_file_is_writable_for_whoever_may_write_to_its_folder(
    tmp_path: Path, folder: int, lock: int
) -> None:
    tmp_path.chmod(folder)
    before = os.umask(0o077)
    try:
        with locked(tmp_path / ".lock"):
            pass
    finally:
        os.umask(before)
    assert (tmp_path / ".lock").stat().st_mode & 0o777 == lock


def test_a_cache_that_may_only_be_read_is_read_and_not_written(cache: Path) -> None:
    change(cache, folder=0o555)
    line = refused(write(cache, 4, 5))
    assert "cannot be written (Permission denied); give another --cache, or let its owner share" in line
    assert limited(*CLI, "cache", "verify", "--cache", cache).returncode == 0
    done = limited(*CLI, "cache", "info", "--cache", cache)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("name", ["shard-*.h5", "extraction.json"])
def test_what_a_user_may_not_read_is_not_damaged(cache: Path, name: str) -> None:
    (path,) = cache.rglob(name)
    path.chmod(0o000)
    for command in ("info", "verify", "compact"):
        done = limited(*CLI, "cache", command, "--cache", cache)
        assert "Traceback" not in done.stderr
        assert f"{path}: cannot be read (Permission denied)" in done.stderr
        assert "damaged" not in done.stderr
    done = limited(*CLI, "cache", "verify", "--repair", "--cache", cache)
    assert f"{path}: cannot be read (Permission denied)" in done.stderr
    assert done.returncode in (1, 2)
    assert path.exists()
    assert not (path.parent / "damaged").exists()


def test_a_colleagues_unfinished_file_is_left_alone(cache: Path) -> None:
    folder = next(cache.rglob("extraction.json")).parent
    (folder / ".tmp-0000000000000000").touch(0o000)
    assert write(cache, 4, 5).returncode == 0
    assert (folder / ".tmp-0000000000000000").exists()


def test_unreadable_lock_files_are_refused_in_one_line(cache: Path) -> None:
    next(cache.rglob(".writers.lock")).chmod(0o000)
    assert "cannot be written (Permission denied)" in refused(write(cache, 4, 5))
    assert limited(*CLI, "cache", "info", "--cache", cache).returncode == 0
    assert KIND.model in limited(*CLI, "cache", "info", "--cache", cache).stdout
