"""What a task carries: no states, and no plan."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest

from layerprobe.classify.config import StudyConfig
from layerprobe.classify.data.splits import outer_folds
from layerprobe.classify.search.clusters.packing import MAPPED_BYTES, pack, read_shared, write_shared
from layerprobe.classify.search.plan import Plan
from layerprobe.classify.search.units import Unit, make_units
from tests.studies import made_clips, made_data, made_store


def units_of(folder: Path, clips: int) -> tuple[Plan, list[Unit]]:
    """The units of a study of so many clips; the store has the states of a few."""
    store = made_store(folder / "cache", made_clips(folder / "corpus"))
    data = made_data(clips=clips)
    folds = outer_folds(data, split="speaker", folds=5, inner_folds=3, seed=0)
    plan = Plan(store=store, data=data, folds=tuple(folds), config=StudyConfig(jobs=2, heads=("logreg",)))
    return plan, make_units(plan, {id: [] for id in plan.studies()}, jobs=2)


def test_a_task_carries_a_few_hundred_bytes_however_many_clips_there_are(tmp_path: Path) -> None:
    sizes = {}
    for clips in (240, 2400):
        plan, units = units_of(tmp_path / f"{clips}", clips)
        sizes[clips] = len(pack(units[0], [plan]).data)
        assert len(pickle.dumps(units[0])) > 200 * clips  # what it would be with the plan
    assert sizes[240] == sizes[2400] < 1000


def test_a_packed_unit_is_the_unit(tmp_path: Path) -> None:
    plan, units = units_of(tmp_path, 240)
    again = pack(units[3], [plan]).unpack([plan])
    assert again == units[3]
    assert again.plan is plan


def test_objects_that_are_equal_but_not_shared_travel_with_the_unit() -> None:
    one, other = ["x"], ["x"]
    assert pack([one, other], [one]).unpack([["y"]]) == [["y"], ["x"]]


def test_shared_objects_come_back_and_large_arrays_are_mapped(tmp_path: Path) -> None:
    large = np.arange(MAPPED_BYTES, dtype=np.int32).reshape(4, -1)
    small = np.arange(7)
    write_shared(tmp_path / "shared", [{"large": large, "again": large}, small, large[1:, 5:], ("a", None)])
    first, second, part, last = read_shared(tmp_path / "shared")
    np.testing.assert_array_equal(first["large"], large)
    assert first["again"] is first["large"]
    np.testing.assert_array_equal(second, small)
    np.testing.assert_array_equal(part, large[1:, 5:])
    assert last == ("a", None)
    assert second.flags.writeable
    assert not first["large"].flags.owndata
    with pytest.raises(ValueError, match="read-only"):
        first["large"][0] = 1


def test_a_file_without_large_arrays(tmp_path: Path) -> None:
    write_shared(tmp_path / "shared", [1, "two"])
    assert read_shared(tmp_path / "shared") == [1, "two"]
