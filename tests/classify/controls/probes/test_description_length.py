"""Online coding against closed forms and against scikit-learn's logistic regression."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import logsumexp
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from layerprobe.classify.controls.probes.description_length import (
    BLOCK_ENDS,
    PENALTIES,
    code_lengths,
    coding_blocks,
)


def separable(
    *, count: int = 300, width: int = 5, gap: float = 6.0, seed: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    """Two classes that differ in the first column."""
    rng = np.random.default_rng(0)
    y = rng.integers(0, 2, count)
    X = rng.standard_normal((count, 5)).astype(np.float32)
    X[:, 0] += gap * y
    return X, y


def test_blocks_have_complete_speakers_the_small_ones_first() -> None:
    sizes = [1, 1, 1, 2, 3, 5, 20, 40, 60]
    speakers = np.random.default_rng(0).permutation(np.repeat(np.arange(len(sizes)), sizes))
    blocks = coding_blocks(speakers, seed=3)
    assert sorted(np.concatenate(blocks).tolist()) == list(range(sum(sizes)))
    of_blocks = [set(speakers[rows].tolist()) for rows in blocks]
    assert sum(map(len, of_blocks)) == len(sizes)
    largest = [max(sizes[speaker] for speaker in own) for own in of_blocks]
    assert largest == sorted(largest)
    # 3.2 % of 133 clips are 4.3, and the first four speakers have 5; then 8.3, 16.6 and 33.3 clips.
    assert [len(rows) for rows in blocks] == [5, 8, 20, 40, 60]


def test_clips_without_speakers_are_coded_one_by_one() -> None:
    blocks = coding_blocks(np.arange(1000), seed=0)
    assert np.cumsum([len(rows) for rows in blocks]).tolist() == [
        round(1000 * end + 0.49) for end in BLOCK_ENDS
    ]
    assert not np.array_equal(np.concatenate(blocks), np.arange(1000))


def test_states_that_say_nothing_cost_what_the_class_frequencies_cost() -> None:
    """The closed form: block by block the frequencies so far, each class counted half a clip more."""
    y = np.array([0, 1, 2] * 30 + [0] * 110)
    blocks = coding_blocks(np.arange(200), seed=1)
    (bits,) = code_lengths(np.ones((200, 3), np.float32), blocks, [(y, 3)])
    expected = len(blocks[0]) * np.log2(3)
    for number in range(1, len(blocks)):
        known = y[np.concatenate(blocks[:number])]
        for label in y[blocks[number]]:
            expected -= np.log2((np.sum(known == label) + 0.5) / (len(known) + 1.5))
    assert bits.sum() == pytest.approx(expected)


def test_the_code_is_that_of_a_mixture_of_scikit_learns_regressions() -> None:
    X, y = separable(gap=1.5)
    y[(X[:, 1] > 1) & (y == 1)] = 2
    blocks = coding_blocks(np.repeat(np.arange(60), 5), seed=2)
    (bits,) = code_lengths(X, blocks, [(y, 3)])
    lengths = np.zeros(1 + len(PENALTIES))  # natural logarithms of what is sent with each member alone
    for number in range(1, len(blocks)):
        known, coded = np.concatenate(blocks[:number]), blocks[number]
        scaler = StandardScaler().fit(X[known])
        train, t = scaler.transform(X[known]), len(known)
        power = np.square(train).sum() / t
        members = [np.bincount(y[known], minlength=3) / t * np.ones((len(coded), 1))]
        for C in PENALTIES:
            model = LogisticRegression(C=C / power, tol=1e-9, max_iter=10_000).fit(train, y[known])
            members.append(model.predict_proba(scaler.transform(X[coded])))
        for place, P in enumerate(members):
            true = P[np.arange(len(coded)), y[coded]]
            lengths[place] += np.log((t * true + 0.5) / (t + 1.5)).sum()
    expected = len(blocks[0]) * np.log2(3) - (logsumexp(lengths) - np.log(len(lengths))) / np.log(2)
    assert bits.sum() == pytest.approx(expected, rel=1e-3)
    best = len(blocks[0]) * np.log2(3) - lengths.max() / np.log(2)
    assert best <= bits.sum() <= best + np.log2(1 + len(PENALTIES))


def test_an_easy_label_is_short_and_a_random_one_is_not_shorter_than_the_uniform_code() -> None:
    X, easy = separable()
    chance = np.random.default_rng(5).integers(0, 2, 300)
    blocks = coding_blocks(np.arange(300), seed=0)
    short, long = code_lengths(X, blocks, [(easy, 2), (chance, 2)])
    assert short.sum() < 60
    assert 300 <= long.sum() < 315


def test_a_class_that_is_new_in_a_block_has_a_code() -> None:
    X, y = separable()
    y[np.arange(290, 300)] = 2
    blocks = [np.arange(0, 100), np.arange(100, 200), np.arange(200, 300)]
    (bits,) = code_lengths(X, blocks, [(y, 3)])
    assert bits[290:] == pytest.approx(np.log2((200 + 1.5) / 0.5))
    assert np.isfinite(bits).all()


def test_unused_rows_cost_nothing_and_change_nothing() -> None:
    X, y = separable(count=200)
    blocks = coding_blocks(np.arange(200), seed=0)
    unused = np.random.default_rng(0).random(200) < 0.3
    (bits,) = code_lengths(X, blocks, [(np.where(unused, -1, y), 2)])
    assert not bits[unused].any()
    assert (bits[~unused] > 0).any()


def test_one_speaker_is_one_block_with_the_uniform_code() -> None:
    X, y = separable(count=40)
    blocks = coding_blocks(np.zeros(40, np.int64), seed=0)
    (bits,) = code_lengths(X, blocks, [(y, 2)])
    assert bits.tolist() == [1.0] * 40
