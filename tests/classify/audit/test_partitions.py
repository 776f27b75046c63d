"""What training has met of the test clips, against counting by hand."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from layerprobe.classify.audit.table import Partitions, numbered, seen_at_random
from layerprobe.embed.manifest.clips import Clip


def made(splits: list[str | None]) -> list[Clip]:
    return [Clip(id=f"c{i}", file=f"c{i}.wav", split=split) for i, split in enumerate(splits)]


def test_the_table_s_own_split_with_validation_as_training():
    parts = Partitions.of(made(["train", "Dev", "test", None, "TEST"]), None)
    assert parts is not None
    ((train, test),) = parts.folds
    assert (train.tolist(), test.tolist()) == ([0, 1], [2, 4])


@pytest.mark.parametrize("splits", [[None, None], ["train", "train"], ["test", "test"], ["", "odd"]])
def test_a_table_that_says_nothing_of_parts(splits):
    assert Partitions.of(made(splits), None) is None


def test_ids_that_are_not_in_the_table_are_passed_over():
    parts = Partitions.of(made([None] * 3), [(["c0", "gone"], ["c2"])])
    assert parts is not None
    ((train, test),) = parts.folds
    assert (train.tolist(), test.tolist()) == ([0], [2])


@given(st.lists(st.tuples(st.integers(-1, 4), st.integers(0, 2)), min_size=1, max_size=30))
def test_seen_counts_each_test_clip_of_every_fold(drawn):
    groups = np.array([group for group, _ in drawn])
    fold_of = np.array([fold for _, fold in drawn])
    folds = tuple((np.flatnonzero(fold_of != k), np.flatnonzero(fold_of == k)) for k in range(3))
    seen = Partitions(len(groups), folds).seen(groups)
    expected = [
        i
        for i in range(len(groups))
        if any(groups[i] == groups[j] >= 0 and fold_of[i] != fold_of[j] for j in range(len(groups)))
    ]
    assert seen.rows.tolist() == expected
    assert (seen.tested, seen.met) == (len(groups), len(expected))
    assert seen.share == len(expected) / len(groups)


@given(st.lists(st.integers(-1, 3), min_size=5, max_size=9), st.sampled_from([0.2, 0.4, 0.6]))
def test_the_expected_share_is_that_of_all_random_splits(drawn, share):
    groups = np.array(drawn)
    tests = round(len(groups) * share)
    met = []
    for chosen in combinations(range(len(groups)), tests):
        test = np.array(chosen)
        rest = np.setdiff1d(np.arange(len(groups)), test)
        met.append(np.mean(np.isin(groups[test], groups[rest]) & (groups[test] >= 0)))
    assert seen_at_random(groups, share=share) == pytest.approx(np.mean(met))


def test_too_few_clips_to_test_any():
    assert seen_at_random(np.zeros(2, int)) == 0.0


def test_numbers_for_values():
    assert numbered(["b", None, "a", "b"]).tolist() == [0, -1, 1, 0]
