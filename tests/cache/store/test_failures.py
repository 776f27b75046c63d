"""The list of clips that could not be embedded."""

from __future__ import annotations

import csv
import multiprocessing
import os
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from layerprobe.cache.common.errors import StoreError
from layerprobe.cache.store import failures
from layerprobe.cache.store.failures import Failure
from layerprobe.embed.manifest.clips import Clip

SECONDS = st.none() | st.floats(0, 1e6)
PATHS = st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1) | st.just(
    os.fsdecode(b"caf\xe9.wav")
)

FAILURES = st.builds(Failure, st.text(st.characters(codec="utf-8")), st.just("") | st.just("ab" * 32))


def clip(path: str) -> Clip:
    return Clip(id=path, file=path)


@settings(max_examples=40)
@given(st.dictionaries(st.tuples(PATHS, SECONDS, SECONDS), FAILURES, max_size=5))
def test_failures_survive_a_round_trip(tmp_path_factory, failed):
    folder = tmp_path_factory.mktemp("store")
    failures.update(folder, failed=failed, succeeded=[])
    assert failures.read(folder) == failed


def test_no_failures_write_no_file(tmp_path):
    assert failures.read(tmp_path) == {}
    failures.update(tmp_path, failed={}, succeeded=[clip("/a.wav")])
    assert not (tmp_path / "failures.csv").exists()


def test_later_success_removes_a_failure_and_later_failure_replaces_its_reason(tmp_path):
    whole, part = ("/a.wav", None, None), ("/a.wav", 0.0, 1.5)
    failures.update(tmp_path, failed={whole: Failure("cut short"), part: Failure("silent")}, succeeded=[])
    failures.update(tmp_path, failed={part: Failure("too short")}, succeeded=[clip("/a.wav"), clip("/b.wav")])
    assert failures.read(tmp_path) == {part: Failure("too short")}


def test_failures_can_be_removed_with_or_without_their_files(tmp_path):
    whole, part = ("/a.wav", None, None), ("/a.wav", 0.0, 1.5)
    failures.update(tmp_path, failed={whole: Failure("cut short"), part: Failure("silent")}, succeeded=[])
    failures.remove(tmp_path, [part, ("/b.wav", None, None)])
    assert failures.read(tmp_path) == {whole: Failure("cut short")}


def test_the_table_is_plain_csv(tmp_path):
    failed: dict[failures.FailureId, Failure] = {
        ("/b,\n.wav", None, 2.5): Failure('no "sound"', "ab"),
        ("/a.wav", None, None): Failure("x"),
    }
    failures.update(tmp_path, failed=failed, succeeded=[])
    with (tmp_path / "failures.csv").open(newline="") as file:
        assert list(csv.reader(file)) == [
            ["path", "start", "end", "reason", "key"],
            ["/a.wav", "", "", "x", ""],
            ["/b,\n.wav", "", "2.5", 'no "sound"', "ab"],
        ]


@pytest.mark.parametrize(
    "text",
    [
        "path,reason\na,b\n",
        "path,start,end,reason\na,x,,b\n",
        "path,start,end,reason\na\n",
        "path,start,end,reason,key\na,,,b\n",
    ],
)
def test_a_damaged_table_is_one_line(tmp_path, text):
    (tmp_path / "failures.csv").write_text(text)
    with pytest.raises(StoreError, match=r"failures.csv: not a table of failures .*delete it"):
        failures.read(tmp_path)


def test_a_table_without_keys_is_read(tmp_path):
    (tmp_path / "failures.csv").write_text("path,start,end,reason\n/a.wav,,1.5,silent\n")
    assert failures.read(tmp_path) == {("/a.wav", None, 1.5): Failure("silent")}


def test_a_failure_is_matched_by_content_or_by_path_for_a_deleted_file(tmp_path):
    a, b, c = (Clip(id=n, file=str(tmp_path / n)) for n in "abc")
    failed = {failures.failure_id(a): Failure("silent", "1" * 64), failures.failure_id(b): Failure("gone")}
    failures.update(tmp_path, failed=failed, succeeded=[])
    lost = FileNotFoundError()
    assert failures.reasons(tmp_path, [a, b, c], ["1" * 64, lost, lost]) == ["silent", "gone", None]
    assert failures.reasons(tmp_path, [a, b, c], ["2" * 64, "3" * 64, "1" * 64]) == [None, None, "silent"]


def test_a_link_is_listed_by_its_own_path(tmp_path):
    (tmp_path / "target.wav").touch()
    (tmp_path / "link.wav").symlink_to("target.wav")
    assert failures.failure_id(Clip(id="x", file=str(tmp_path / "link.wav")))[0] == str(tmp_path / "link.wav")


def test_a_missing_folder_is_one_line(tmp_path):
    with pytest.raises(StoreError, match="cannot be written"):
        failures.update(tmp_path / "nowhere", failed={("/a.wav", None, None): Failure("x")}, succeeded=[])


def _add(folder: Path, process: int) -> None:
    for number in range(10):
        failures.update(folder, failed={(f"/{process}/{number}.wav", None, None): Failure("x")}, succeeded=[])


def test_eight_processes_lose_no_line(tmp_path):
    with multiprocessing.get_context("spawn").Pool(8) as pool:
        pool.starmap(_add, [(tmp_path, process) for process in range(8)])
    assert len(failures.read(tmp_path)) == 80
