"""Outer folds of one run in several processes: the files are those of one process."""

from __future__ import annotations

import os
import shutil
import signal
import time

import pytest

from layerprobe.cache.common.disk import locked
from layerprobe.cache.common.errors import InputError
from layerprobe.classify.finetune.parallel.folds import FoldShare, alone, own_folds, parse_share
from layerprobe.classify.finetune.run import finetune
from layerprobe.classify.runs.run_folder import read_json
from layerprobe.classify.runs.splits_file import read_assignment
from layerprobe.embed.manifest.clips import read_manifest
from tests.run import cli, refused, start_cli
from tests.voices import make_voices, quick

pytestmark = pytest.mark.slow

SAME = ("results.csv", "predictions.csv", "summary.json", "splits.json", "curves.csv")


@pytest.fixture(scope="module")
def voices(tmp_path_factory):
    return make_voices(tmp_path_factory.mktemp("voices"), speakers=6, words=1, folds=3).parent


def run(voices, out, share=None, *, config=None, **options):
    clips = read_manifest(voices / "clips.csv", must_exist=False)
    return finetune(
        clips,
        read_assignment(voices / "splits.json", clips),
        out=out,
        config=config or quick(epochs=1),
        cache=voices / "features",
        model=str(voices / "tiny"),
        share=share,
        **options,
    )


def part(number, count=2):
    return FoldShare(part=number, count=count)


@pytest.fixture(scope="module")
def whole(voices, tmp_path_factory):
    out = tmp_path_factory.mktemp("runs") / "whole"
    run(voices, out)
    return out


def assert_same(out, whole):
    for name in SAME:
        assert (out / name).read_bytes() == (whole / name).read_bytes(), name
    assert {path.name for path in out.iterdir() if not path.name.startswith(".")} == {
        path.name for path in whole.iterdir() if not path.name.startswith(".")
    }


def test_every_fold_is_in_one_part():
    for total in (3, 5, 8):
        for count in range(1, total + 1):
            parts = [part(number, count).folds(total) for number in range(1, count + 1)]
            assert sorted(fold for folds in parts for fold in folds) == list(range(total))
            assert all(parts)


def test_options_that_name_no_part():
    assert parse_share(None) is None
    assert parse_share("2/5") == part(2, 5)
    for text in ("0/2", "3/2", "2", "a/b", "1/2/3"):
        with pytest.raises(InputError, match=f"--folds-of {text}; give a part and the number of parts"):
            parse_share(text)
    with pytest.raises(InputError, match="--folds-of 4/4, but there are 3 outer folds; give at most 3 parts"):
        part(4, 4).folds(3)


def test_the_last_part_completes_the_run_with_the_files_of_one_process(voices, whole, tmp_path):
    out = tmp_path / "run"
    assert run(voices, out, part(2)) is None
    assert not (out / "summary.json").exists()
    assert not read_json(out / "run.json").get("finished")
    before = (out / "run.json").stat().st_mtime_ns
    assert run(voices, out, part(2)) is None  # again: nothing is left to train
    assert (out / "run.json").stat().st_mtime_ns == before
    summary = run(voices, out, part(1))
    assert summary == read_json(whole / "summary.json")
    assert_same(out, whole)
    cost = read_json(out / "run.json")["cost"]
    assert cost["wall_s"] > 0
    assert run(voices, out, part(2)) == summary  # a finished run


def test_a_part_that_was_killed_resumes_and_another_division_completes_it(voices, whole, tmp_path):
    out, steps = tmp_path / "run", 0

    def interrupt(_progress):
        nonlocal steps
        steps += 1
        if steps == 6:
            raise RuntimeError("killed")

    with pytest.raises(RuntimeError):
        run(voices, out, part(1), report=interrupt)
    assert run(voices, out, part(1, 3)) is None
    assert run(voices, out, part(1)) is None
    run(voices, out)  # all that is left
    assert_same(out, whole)


def test_a_search_of_parts_has_the_results_of_one_process(voices, tmp_path):
    config = quick(epochs=1, trials=2)
    run(voices, tmp_path / "whole", config=config)
    out = tmp_path / "run"
    for number in (1, 2, 3):
        run(voices, out, part(number, 3), config=config)
    for name in SAME:
        assert (out / name).read_bytes() == (tmp_path / "whole" / name).read_bytes(), name
    assert sorted(path.name for path in (out / "searches").iterdir()) == ["fold-0", "fold-1", "fold-2"]


def test_two_processes_train_no_fold_at_once(voices, tmp_path):
    out = tmp_path
    with own_folds(out, part(1), [0, 2]):
        with own_folds(out, part(2), [1]):
            pass
        with (
            pytest.raises(
                InputError, match="another process is training fold 2; wait for it, or give another"
            ),
            own_folds(out, part(3, 3), [2]),
        ):
            pass
        with (
            pytest.raises(InputError, match=r"another process is writing this run; wait for it$"),
            own_folds(out, None, [0, 1, 2]),
        ):
            pass
    with (
        own_folds(out, None, [0, 1, 2]),
        pytest.raises(InputError, match="wait for it, or start each process with --folds-of"),
        own_folds(out, part(1), [0]),
    ):
        pass
    with alone(out, part(1)), pytest.raises(BlockingIOError), locked(out / ".lock-completing", wait=False):
        pass


def test_parts_at_the_same_time_one_of_them_killed(voices, whole, tmp_path):
    out = tmp_path / "run"
    words = ["finetune", "clips.csv", "--model", "tiny", "--splits", "splits.json", "--out", out]
    words += ["--epochs", "1", "--learning-rate", "1e-3", "--device", "cpu"]
    first = start_cli(*words, "--folds-of", "1/2", cwd=voices)
    second = start_cli(*words, "--folds-of", "2/2", cwd=voices)
    while not list(out.glob("work/fold-*")) and second.poll() is None:
        time.sleep(0.02)
    os.kill(second.pid, signal.SIGKILL)
    done = first.finish()
    assert done.returncode == 0, done.stderr
    assert "part 1 of 2: outer folds 0, 2 of 0 to 2" in done.stderr
    second.finish()
    if not (out / "summary.json").exists():
        assert "part 1/2 is trained; the run is complete when the other parts are" in done.stdout
    done = cli(*words, "--folds-of", "2/2", cwd=voices)
    assert done.returncode == 0, done.stderr
    assert "fine-tuned" in done.stdout
    shutil.rmtree(out / "figures")
    for name in SAME[:2]:
        assert (out / name).read_bytes() == (whole / name).read_bytes(), name
    assert "there are 3 outer folds" in refused(cli(*words, "--folds-of", "1/4", cwd=voices))
