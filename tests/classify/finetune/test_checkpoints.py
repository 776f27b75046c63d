"""Checkpoints that can be trusted."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from layerprobe.cache.common.disk import TEMPORARY_PREFIX
from layerprobe.cache.common.errors import InputError
from layerprobe.classify.finetune import checkpoints as finetune_checkpoints
from layerprobe.classify.finetune.checkpoints import STATE, WEIGHTS, Checkpoints


def save(kept: Checkpoints, step: int) -> None:
    here = kept.folder / f"checkpoint-{step}"
    here.mkdir(parents=True)
    (here / WEIGHTS).write_text(str(step))
    (here / STATE).write_text(json.dumps({"global_step": step}))


def test_the_best_and_the_newest_stay(tmp_path):
    kept = Checkpoints(tmp_path, run="r")
    for step, best in ((1, 1), (2, 2), (3, 2), (10, 2)):
        save(kept, step)
        kept.mark(step, best=best)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["checkpoint-10", "checkpoint-2"]
    assert kept.last() == tmp_path / "checkpoint-10"
    assert kept.state() == {"global_step": 10}
    assert kept.keep_weights(2).read_text() == "2"
    assert kept.keep_weights(2).read_text() == "2"
    kept.clear()
    assert [path.name for path in tmp_path.iterdir()] == [WEIGHTS]


def test_one_is_on_disk_before_it_is_whole(tmp_path, monkeypatch):
    synced, fsync = [], os.fsync

    def spy(handle: int) -> None:
        synced.append(Path(f"/proc/self/fd/{handle}").readlink().name)
        fsync(handle)

    monkeypatch.setattr(os, "fsync", spy)
    kept = Checkpoints(tmp_path, run="r")
    save(kept, 1)
    kept.mark(1, best=None)
    assert sorted(synced[:2]) == sorted([WEIGHTS, STATE])
    assert synced[2].startswith(TEMPORARY_PREFIX)  # of the mark, which gets its name after this


def test_one_that_was_cut_short_is_removed(tmp_path):
    kept = Checkpoints(tmp_path, run="r")
    assert kept.last() is None
    assert kept.state() == {}
    save(kept, 1)
    kept.mark(1, best=None)
    save(kept, 2)
    assert kept.last() == tmp_path / "checkpoint-1"
    assert not (tmp_path / "checkpoint-2").exists()


@pytest.mark.parametrize("damage", [lambda path: path.write_text("1"), lambda path: path.unlink()])
def test_one_whose_files_are_no_longer_what_was_saved_is_passed_over(tmp_path, damage):
    kept = Checkpoints(tmp_path, run="r")
    for step in (2, 10):
        save(kept, step)
        kept.mark(step, best=2)
    damage(tmp_path / "checkpoint-10" / WEIGHTS)
    assert kept.last() == tmp_path / "checkpoint-2"
    assert not (tmp_path / "checkpoint-10").exists()


def test_one_whose_weights_are_kept_elsewhere_is_still_whole(tmp_path):
    kept = Checkpoints(tmp_path, run="r")
    save(kept, 10)
    kept.mark(10, best=10)
    kept.keep_weights(10)
    assert kept.last() == tmp_path / "checkpoint-10"


def test_removal_that_is_cut_short_leaves_nothing_that_passes_for_whole(tmp_path, monkeypatch):
    kept = Checkpoints(tmp_path, run="r")
    for step in (2, 10):
        save(kept, step)
        kept.mark(step, best=2)

    def killed(path, **_):
        raise KeyboardInterrupt(path.name)

    with monkeypatch.context() as patch:
        patch.setattr(finetune_checkpoints.shutil, "rmtree", killed)
        with pytest.raises(KeyboardInterrupt, match=r"checkpoint-2$"):
            kept.clear()
    assert not (tmp_path / "checkpoint-2" / "whole.json").exists()
    assert kept.last() == tmp_path / "checkpoint-10"


def test_one_of_another_run_is_refused(tmp_path):
    other = Checkpoints(tmp_path, run="other")
    save(other, 1)
    other.mark(1, best=None)
    with pytest.raises(InputError, match="checkpoint of another run"):
        Checkpoints(tmp_path, run="r").last()


def test_a_damaged_mark_is_told(tmp_path):
    kept = Checkpoints(tmp_path, run="r")
    save(kept, 1)
    (tmp_path / "checkpoint-1" / "whole.json").write_text("{")
    with pytest.raises(InputError, match="cannot be read"):
        kept.last()
