"""Folds with a validation partition, and splits that cannot be used for training."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from layerprobe.cache.common.errors import InputError
from layerprobe.classify.data.splits import outer_folds
from layerprobe.classify.finetune.config import FinetuneConfig
from layerprobe.classify.finetune.validation import validation_folds
from tests.studies import made_data

CONFIG = FinetuneConfig()


def assign(data, **changes):
    folds = outer_folds(data, **{"split": "speaker", "folds": 3, "inner_folds": 2, "seed": 0, **changes})
    return [
        ([data.ids[row] for row in fold.outer.train], [data.ids[row] for row in fold.outer.test])
        for fold in folds
    ]


def test_the_validation_partition_has_its_own_training_speakers():
    data = made_data(clips=180, speakers=12)
    assignment = assign(data)
    for fold, (train, test) in zip(validation_folds(data, assignment, CONFIG), assignment, strict=True):
        assert [data.ids[row] for row in fold.outer.train] == train
        assert [data.ids[row] for row in fold.outer.test] == test
        (inner,) = fold.inner
        assert sorted([*inner.train, *inner.test]) == fold.outer.train.tolist()
        speakers = np.asarray(data.speakers)
        assert not set(speakers[inner.train]) & set(speakers[inner.test])
        assert not set(inner.test) & set(fold.outer.test)
        assert 0.1 < len(inner.test) / len(fold.outer.train) < 0.35
        assert set(data.y[inner.train]) == set(data.y[inner.test]) == {0, 1, 2}


def test_without_speakers_clips_are_set_aside():
    data = replace(made_data(clips=60), speakers=None, speaker_names=())
    (inner,) = validation_folds(data, assign(data, split="random"), CONFIG)[0].inner
    assert 0.15 < len(inner.test) / (len(inner.train) + len(inner.test)) < 0.25
    assert set(data.y[inner.train]) == set(data.y[inner.test]) == {0, 1, 2}


def test_validation_none_sets_nothing_aside():
    data = made_data()
    folds = validation_folds(data, assign(data), FinetuneConfig(validation="none"))
    assert all(fold.inner == () for fold in folds)


def test_validation_clips_marked_in_the_table_are_used():
    data = made_data(clips=60, speakers=6)
    parts = tuple(["train", "dev", "test"][row % 3] for row in range(60))
    data = replace(data, partitions=parts, y=np.arange(60) // 3 % 3)
    assignment = assign(data, split="column")
    (fold,) = validation_folds(data, assignment, replace(CONFIG, split="column"))
    assert fold.inner[0].test.tolist() == [row for row in range(60) if parts[row] == "dev"]
    (fold,) = validation_folds(data, assignment, CONFIG)  # another split ignores the marks
    assert fold.inner[0].test.tolist() != [row for row in range(60) if parts[row] == "dev"]


def test_clips_missing_from_the_data_are_ignored():
    data = made_data()
    (train, test), *rest = assign(data)
    folds = validation_folds(data, [([*train, "broken"], [*test, "silent"]), *rest], CONFIG)
    assert [data.ids[row] for row in folds[0].outer.train] == train


def test_every_fold_that_lacks_a_class_is_reported():
    data = made_data()
    label = {id: data.classes[y] for id, y in zip(data.ids, data.y, strict=True)}
    assignment = assign(data)
    cut = [([id for id in train if label[id] != "b"], test) for train, test in assignment[:2]]
    with pytest.raises(InputError) as caught:
        validation_folds(data, [*cut, (assignment[2][0], [])], CONFIG)
    message = str(caught.value)
    assert "fold 0 has no training clip of 'b'" in message
    assert "fold 1 has no training clip of 'b'" in message
    assert "fold 2 has no usable test clip" in message


def test_a_clip_tested_twice_is_refused():
    data = made_data()
    assignment = assign(data)
    again = sorted(assignment[0][1])
    with pytest.raises(InputError, match=f"{len(again)} clips are tested more than once, such as {again[0]}"):
        validation_folds(data, [*assignment, assignment[0]], CONFIG)


def test_a_single_training_speaker_leaves_no_validation_partition():
    data = made_data(clips=60, speakers=2)
    one = [id for id, speaker in zip(data.ids, np.asarray(data.speakers), strict=True) if speaker == 0]
    other = [id for id in data.ids if id not in one]
    with pytest.raises(InputError, match="--validation none"):
        validation_folds(data, [(one, other)], CONFIG)


def test_a_class_of_a_single_speaker_stays_in_training():
    data = made_data(clips=90, speakers=9)
    y = np.where(data.speakers == 4, 2, data.y % 2)
    data = replace(data, y=y)
    for seed in range(5):
        rows = np.flatnonzero(data.speakers != 8)
        train = [data.ids[row] for row in rows]
        test = [id for id in data.ids if id not in train]
        (fold,) = validation_folds(data, [(train, test)], replace(CONFIG, seed=seed))
        assert set(data.y[fold.inner[0].train]) == {0, 1, 2}
