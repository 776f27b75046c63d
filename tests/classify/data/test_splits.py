from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from layerprobe.cache.common.errors import InputError
from layerprobe.classify.data.dataset import Dataset
from layerprobe.classify.data.splits import (
    OuterFold,
    fixed_folds,
    outer_folds,
    selection_folds,
    shared_speakers,
)
from tests.studies import made_data


def nested(data: Dataset, split: str = "speaker", **changes: int) -> list[OuterFold]:
    options = {"folds": 4, "inner_folds": 3, "seed": 0, **changes}
    return outer_folds(data, split=split, **options)


def check(data: Dataset, folds: list[OuterFold]) -> None:
    """Nested folds are partitions, and every training part holds every class."""
    tested = np.concatenate([fold.outer.test for fold in folds])
    assert sorted(tested) == list(range(len(data)))
    for fold in folds:
        assert sorted([*fold.outer.train, *fold.outer.test]) == list(range(len(data)))
        inner_tested = np.concatenate([inner.test for inner in fold.inner])
        assert sorted(inner_tested) == sorted(fold.outer.train)
        for inner in fold.inner:
            assert sorted([*inner.train, *inner.test]) == sorted(fold.outer.train)
            assert set(data.y[inner.train]) == set(data.y)


@given(
    shares=st.lists(st.integers(4, 40), min_size=6, max_size=20),
    classes=st.integers(2, 4),
    folds=st.integers(2, 4),
    seed=st.integers(0, 20),
)
def test_speakers_are_disjoint_at_both_levels(shares: list[int], classes: int, folds: int, seed: int) -> None:
    data = made_data(shares=shares, classes=classes, seed=seed)
    try:
        folds_found = nested(data, folds=folds, inner_folds=2, seed=seed)
    except InputError:
        return  # too few speakers are left for the inner folds, or some class has none
    check(data, folds_found)
    assert data.speakers is not None
    for fold in folds_found:
        assert not set(data.speakers[fold.outer.train]) & set(data.speakers[fold.outer.test])
        for inner in fold.inner:
            assert not set(data.speakers[inner.train]) & set(data.speakers[inner.test])
    assert shared_speakers(data, folds_found) == 0


def test_random_folds_are_stratified_and_told_to_leak() -> None:
    data = made_data(clips=120, speakers=4)
    folds = nested(data, "random")
    check(data, folds)
    for fold in folds:
        assert np.ptp(np.bincount(data.y[fold.outer.test])) <= 1
    assert shared_speakers(data, folds) == 1.0


def test_random_folds_need_no_speakers() -> None:
    data = replace(made_data(), speakers=None, speaker_names=())
    check(data, nested(data, "random"))
    assert shared_speakers(data, nested(data, "random")) is None


def test_leave_one_speaker_out_has_a_fold_for_each_speaker() -> None:
    data = made_data(shares=[30, 3, 20, 9, 10])
    folds = nested(data, "loso")
    check(data, folds)
    assert [len(fold.outer.test) for fold in folds] == [30, 3, 20, 9, 10]


def test_the_tables_own_split_with_and_without_validation() -> None:
    data = made_data(clips=96, speakers=8)
    assert data.speakers is not None
    names = np.array(["train", "train", "train", "train", "dev", "dev", "test", "test"])
    (fold,) = nested(replace(data, partitions=tuple(names[data.speakers])), "column")
    assert set(data.speakers[fold.outer.test]) == {6, 7}
    (inner,) = fold.inner
    assert set(data.speakers[inner.train]) == {0, 1, 2, 3}
    assert set(data.speakers[inner.test]) == {4, 5}
    names[names == "dev"] = "train"
    (fold,) = nested(replace(data, partitions=tuple(names[data.speakers])), "column")
    assert len(fold.inner) == 3
    for inner in fold.inner:
        assert not set(data.speakers[inner.train]) & set(data.speakers[inner.test])


def test_the_seed_decides_and_nothing_else() -> None:
    data = made_data(speakers=20)
    first, again, other = nested(data), nested(data), nested(data, seed=1)
    for one, two in zip(first, again, strict=True):
        np.testing.assert_array_equal(one.outer.test, two.outer.test)
    assert any(
        one.outer.test.tolist() != two.outer.test.tolist() for one, two in zip(first, other, strict=True)
    )


def test_folds_stay_the_same_over_versions() -> None:
    data = made_data(shares=[7, 9, 30, 5, 12, 11, 6, 8])
    assert data.speakers is not None
    held = [sorted(set(data.speakers[fold.outer.test].tolist())) for fold in nested(data)]
    assert held == [[2], [0, 4], [3, 5, 6], [1, 7]]


@pytest.mark.parametrize(
    ("data", "split", "changes", "message"),
    [
        (made_data(speakers=3), "speaker", {"folds": 4},
         "--folds 4, but there are 3 speakers.*3 folds or fewer"),
        (made_data(speakers=1), "speaker", {}, "require 3 speakers, and the table names 1.*--split random"),
        (made_data(speakers=2), "loso", {}, "require 3 speakers, and the table names 2.*--speaker-column"),
        (made_data(speakers=4), "speaker", {"inner_folds": 4},
         "--inner-folds 4, but there are 3 speakers in the training partition of an outer fold; give 3 f"),
        (made_data(speakers=3), "speaker", {"folds": 2, "inner_folds": 2},
         "--inner-folds 2, but there is 1 speaker in the training partition.*give more outer folds"),
        (replace(made_data(), speakers=None), "speaker", {}, "names no speakers.*--split random"),
        (replace(made_data(), y=np.r_[2, [0, 1] * 59, 0]), "random", {}, "class 'c' has too few clips .1."),
        (replace(made_data(), y=np.r_[2, [0, 1] * 58, 2, 2, 0]), "random", {"folds": 3, "inner_folds": 3},
         "class 'c' has too few clips .2 in the training partition of an outer fold. for 3 folds"
         ".*label more of it, or give fewer --inner-folds"),
        (replace(made_data(), y=np.r_[2, [0, 1] * 58, 2, 2, 0]), "random", {"folds": 2, "inner_folds": 2},
         r"leave the class out \(empty its labels\) or label more of it$"),
        (replace(made_data(), y=np.r_[[2] * 9, [0, 1] * 55, 0]), "speaker", {},
         "class 'c' has too few speakers .9 clips of 1 speaker: s0. for 4 folds.*--split random"),
        (made_data(), "column", {}, "no clip's split is 'train'"),
        (replace(made_data(), partitions=("train", "exam") * 60), "column", {}, "'exam' is not known"),
        (replace(made_data(), partitions=("train", "test", "") * 40), "column", {}, "c2 has no split"),
        (replace(made_data(), partitions=("train",) * 120), "column", {}, "'test'"),
    ],
)  # fmt: skip
def test_data_that_cannot_be_split_is_an_error_in_one_line(
    data: Dataset, split: str, changes: dict[str, int], message: str
) -> None:
    with pytest.raises(InputError, match=message) as error:
        nested(data, split, **changes)
    assert "\n" not in str(error.value)


def fixed(data: Dataset, *, grouped: bool, tested: int = 2) -> list[OuterFold]:
    """One fold that tests the first `tested` speakers."""
    assert data.speakers is not None
    ids = np.array(data.ids)
    sides = [(ids[data.speakers >= tested].tolist(), ids[data.speakers < tested].tolist())]
    return fixed_folds(data, sides, grouped=grouped, inner_folds=3, seed=0)


def test_inner_folds_of_a_fixed_split_are_speaker_disjoint_where_its_rule_is() -> None:
    data = made_data(clips=120, speakers=8)
    assert data.speakers is not None
    for grouped in (True, False):
        (fold,) = fixed(data, grouped=grouped)
        assert len(fold.inner) == 3
        shared = [set(data.speakers[inner.train]) & set(data.speakers[inner.test]) for inner in fold.inner]
        assert [bool(speakers) for speakers in shared] == [not grouped] * 3


@pytest.mark.parametrize("grouped", [True, False])
def test_folds_that_select_the_final_fit_are_speaker_disjoint_where_those_of_the_study_are(
    grouped: bool,
) -> None:
    data = made_data(clips=120, speakers=8)
    assert data.speakers is not None
    folds = selection_folds(data, grouped=grouped, inner_folds=3, seed=0)
    assert sorted(np.concatenate([fold.test for fold in folds]).tolist()) == list(range(120))
    shared = [set(data.speakers[fold.train]) & set(data.speakers[fold.test]) for fold in folds]
    assert [bool(speakers) for speakers in shared] == [not grouped] * 3


@pytest.mark.parametrize("grouped", [True, False])
def test_every_class_of_a_fixed_split_is_trained(grouped: bool) -> None:
    data = made_data(clips=120, speakers=8)
    assert data.speakers is not None
    only_tested = replace(data, y=np.where(data.speakers == 0, 2, data.y % 2))
    with pytest.raises(InputError, match=r"outer fold 0: class 'c' is missing from the training clips"):
        fixed(only_tested, grouped=grouped)


def test_every_class_is_trained_in_every_inner_fold() -> None:
    """One speaker has all clips of a class, and one inner fold tests that speaker."""
    data = made_data(clips=120, speakers=8)
    assert data.speakers is not None
    rare = replace(data, y=np.where(data.speakers == 5, 2, data.y % 2))
    message = r"an inner fold of outer fold 0: class 'c' is missing from the training clips"
    with pytest.raises(InputError, match=message):
        fixed(rare, grouped=True)
    with pytest.raises(InputError, match=message):
        nested(replace(rare, y=np.where(data.speakers == 0, 2, rare.y)), folds=2, inner_folds=2)
    fixed(rare, grouped=False)


def test_inner_folds_of_the_tables_own_split_train_every_class() -> None:
    data = made_data(clips=120, speakers=8)
    assert data.speakers is not None
    partitions = tuple(np.where(data.speakers < 2, "test", "train").tolist())
    rare = replace(data, y=np.where(data.speakers == 5, 2, data.y % 2), partitions=partitions)
    with pytest.raises(InputError, match="an inner fold of the training partition: class 'c' is missing"):
        nested(rare, "column")


def numbers(data: Dataset, y: np.ndarray) -> Dataset:
    return replace(data, y=y, classes=(), task="regression")


@pytest.mark.parametrize("split", ["speaker", "random"])
def test_folds_of_numbers_are_balanced_by_their_size(split: str) -> None:
    data = made_data(clips=240, speakers=24)
    y = np.random.default_rng(0).standard_normal(240) + (np.arange(240) // 10 % 5)  # speakers differ
    folds = nested(numbers(data, y), split)
    tested = np.concatenate([fold.outer.test for fold in folds])
    assert sorted(tested) == list(range(240))
    means = [y[fold.outer.test].mean() for fold in folds]
    assert np.ptp(means) < 0.4
    if split == "speaker":
        assert shared_speakers(data, folds) == 0


def test_numbers_that_cannot_be_split() -> None:
    data = made_data(clips=40, speakers=4)
    y = np.where(data.speakers == 0, np.arange(40.0), 7.0)
    with pytest.raises(
        InputError, match="outer fold 0: the training clips have fewer than two different num"
    ):
        nested(numbers(data, y), "loso")
    few = numbers(made_data(shares=[1, 1, 1]), np.arange(3.0))
    with pytest.raises(InputError, match="--folds 4, but there are 3 clips"):
        nested(few, "random")
