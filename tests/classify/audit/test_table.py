"""Partitions and overlap between training and test, against counting by hand."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from layerprobe.classify.audit.table import Partitions, encode, expected_overlap
from layerprobe.embed.manifest.clips import Clip


def clips_of(splits: list[str | None]) -> list[Clip]:
    return [Clip(id=f"c{i}", file=f"c{i}.wav", split=split) for i, split in enumerate(splits)]


def test_the_split_column_with_validation_as_training():
    partitions = Partitions.from_clips(clips_of(["train", "Dev", "test", None, "TEST"]), None)
    assert partitions is not None
    ((train, test),) = partitions.folds
    assert (train.tolist(), test.tolist()) == ([0, 1], [2, 4])


@pytest.mark.parametrize("splits", [[None, None], ["train", "train"], ["test", "test"], ["", "odd"]])
def test_a_table_without_a_test_set_has_no_partitions(splits):
    assert Partitions.from_clips(clips_of(splits), None) is None


def test_ids_that_are_not_in_the_table_are_ignored():
    partitions = Partitions.from_clips(clips_of([None] * 3), [(["c0", "unknown"], ["c2"])])
    assert partitions is not None
    ((train, test),) = partitions.folds
    assert (train.tolist(), test.tolist()) == ([0], [2])


@given(st.lists(st.tuples(st.integers(-1, 4), st.integers(0, 2)), min_size=1, max_size=30))
def test_overlap_counts_each_test_clip_of_every_fold(drawn):
    groups = np.array([group for group, _ in drawn])
    fold_of = np.array([fold for _, fold in drawn])
    folds = tuple((np.flatnonzero(fold_of != k), np.flatnonzero(fold_of == k)) for k in range(3))
    overlap = Partitions(folds).overlap(groups)
    expected = [
        i
        for i in range(len(groups))
        if any(groups[i] == groups[j] >= 0 and fold_of[i] != fold_of[j] for j in range(len(groups)))
    ]
    assert overlap.rows.tolist() == expected
    assert (overlap.tested, overlap.count) == (len(groups), len(expected))
    assert overlap.share == len(expected) / len(groups)


@given(st.lists(st.integers(-1, 3), min_size=5, max_size=9), st.sampled_from([0.2, 0.4, 0.6]))
def test_the_expected_overlap_is_the_mean_over_all_random_splits(drawn, share):
    groups = np.array(drawn)
    tests = round(len(groups) * share)
    shares = []
    for chosen in combinations(range(len(groups)), tests):
        test = np.array(chosen)
        rest = np.setdiff1d(np.arange(len(groups)), test)
        shares.append(np.mean(np.isin(groups[test], groups[rest]) & (groups[test] >= 0)))
    assert expected_overlap(groups, share=share) == pytest.approx(np.mean(shares))


def test_too_few_clips_to_test_any():
    assert expected_overlap(np.zeros(2, int)) == 0.0


def test_encode():
    assert encode(["b", None, "a", "b"]).tolist() == [0, -1, 1, 0]
