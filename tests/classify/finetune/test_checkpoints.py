"""Checkpoints: complete, undamaged and of this run, or not used."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from layerprobe.cache.common.disk import TEMPORARY_PREFIX
from layerprobe.cache.common.errors import InputError
from layerprobe.classify.finetune import checkpoints as finetune_checkpoints
from layerprobe.classify.finetune.checkpoints import STATE, WEIGHTS, Checkpoints


def save(checkpoints: Checkpoints, step: int) -> None:
    folder = checkpoints.folder / f"checkpoint-{step}"
    folder.mkdir(parents=True)
    (folder / WEIGHTS).write_text(str(step))
    (folder / STATE).write_text(json.dumps({"global_step": step}))


def test_only_the_best_and_the_newest_checkpoint_are_kept(tmp_path):
    checkpoints = Checkpoints(tmp_path, run="r")
    for step, best in ((1, 1), (2, 2), (3, 2), (10, 2)):
        save(checkpoints, step)
        checkpoints.mark_complete(step, best=best)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["checkpoint-10", "checkpoint-2"]
    assert checkpoints.last() == tmp_path / "checkpoint-10"
    assert checkpoints.state() == {"global_step": 10}
    assert checkpoints.move_weights(2).read_text() == "2"
    assert checkpoints.move_weights(2).read_text() == "2"
    checkpoints.clear()
    assert [path.name for path in tmp_path.iterdir()] == [WEIGHTS]


def test_files_are_synced_before_the_checkpoint_is_marked_complete(tmp_path, monkeypatch):
    synced, fsync = [], os.fsync

    def spy(handle: int) -> None:
        synced.append(Path(f"/proc/self/fd/{handle}").readlink().name)
        fsync(handle)

    monkeypatch.setattr(os, "fsync", spy)
    checkpoints = Checkpoints(tmp_path, run="r")
    save(checkpoints, 1)
    checkpoints.mark_complete(1, best=None)
    assert sorted(synced[:2]) == sorted([WEIGHTS, STATE])
    assert synced[2].startswith(TEMPORARY_PREFIX)  # the mark, before it is renamed


def test_an_incomplete_checkpoint_is_removed(tmp_path):
    checkpoints = Checkpoints(tmp_path, run="r")
    assert checkpoints.last() is None
    assert checkpoints.state() == {}
    save(checkpoints, 1)
    checkpoints.mark_complete(1, best=None)
    save(checkpoints, 2)
    assert checkpoints.last() == tmp_path / "checkpoint-1"
    assert not (tmp_path / "checkpoint-2").exists()


@pytest.mark.parametrize("damage", [lambda path: path.write_text("1"), lambda path: path.unlink()])
def test_a_checkpoint_with_changed_files_is_ignored(tmp_path, damage):
    checkpoints = Checkpoints(tmp_path, run="r")
    for step in (2, 10):
        save(checkpoints, step)
        checkpoints.mark_complete(step, best=2)
    damage(tmp_path / "checkpoint-10" / WEIGHTS)
    assert checkpoints.last() == tmp_path / "checkpoint-2"
    assert not (tmp_path / "checkpoint-10").exists()


def test_a_checkpoint_stays_complete_after_its_weights_are_moved(tmp_path):
    checkpoints = Checkpoints(tmp_path, run="r")
    save(checkpoints, 10)
    checkpoints.mark_complete(10, best=10)
    checkpoints.move_weights(10)
    assert checkpoints.last() == tmp_path / "checkpoint-10"


def test_an_interrupted_removal_leaves_no_checkpoint_that_looks_complete(tmp_path, monkeypatch):
    checkpoints = Checkpoints(tmp_path, run="r")
    for step in (2, 10):
        save(checkpoints, step)
        checkpoints.mark_complete(step, best=2)

    def killed(path, **_):
        raise KeyboardInterrupt(path.name)

    with monkeypatch.context() as patch:
        patch.setattr(finetune_checkpoints.shutil, "rmtree", killed)
        with pytest.raises(KeyboardInterrupt, match=r"checkpoint-2$"):
            checkpoints.clear()
    assert not (tmp_path / "checkpoint-2" / "whole.json").exists()
    assert checkpoints.last() == tmp_path / "checkpoint-10"


def test_a_checkpoint_of_another_run_is_refused(tmp_path):
    other = Checkpoints(tmp_path, run="other")
    save(other, 1)
    other.mark_complete(1, best=None)
    with pytest.raises(InputError, match="checkpoint of another run"):
        Checkpoints(tmp_path, run="r").last()


def test_a_damaged_mark_is_reported(tmp_path):
    checkpoints = Checkpoints(tmp_path, run="r")
    save(checkpoints, 1)
    (tmp_path / "checkpoint-1" / "whole.json").write_text("{")
    with pytest.raises(InputError, match=r"whole\.json: .*; delete it"):
        checkpoints.last()
