from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import entropy
from sklearn.metrics import f1_score

from layerprobe.cache.common.errors import InputError
from layerprobe.classify.config import StudyConfig
from layerprobe.classify.tasks.task import READ_AS_IS
from layerprobe.classify.tasks.votes import (
    SOFT,
    above_chance,
    decide,
    join_votes,
    most_voted,
    read,
    shares_of,
    text_of,
)
from layerprobe.embed.manifest.clips import Clip

RNG = np.random.default_rng(0)
Y = np.round(RNG.dirichlet((0.4, 0.3, 0.2, 0.2), 200), 6)
PREDICTED = decide(np.log(Y + 0.05) + RNG.standard_normal(Y.shape))


def clip(id: str, **votes: str) -> Clip:
    return Clip(id=id, file=id, labels={"text": "a", **{f"p_{name}": cell for name, cell in votes.items()}})


def test_scores_are_those_of_scikit_learn_and_scipy():
    scores = SOFT.scores(SOFT.statistics(Y, PREDICTED, None, 4))
    assert scores["soft_f1"] == pytest.approx(f1_score(Y > 0.25, PREDICTED > 0.25, average="macro"))
    floored = np.maximum(PREDICTED, 1e-6)
    assert scores["soft_loss"] == pytest.approx(np.mean(-(Y * np.log(floored)).sum(1)))
    divergences = [entropy(q / q.sum(), p / p.sum()) for q, p in zip(Y, floored, strict=True)]
    assert scores["soft_kl"] == pytest.approx(np.mean(divergences), abs=1e-5)
    perfect = SOFT.scores(SOFT.statistics(Y, Y, None, 4))
    assert perfect["soft_f1"] == 1
    assert perfect["soft_kl"] == pytest.approx(0)
    assert perfect["soft_loss"] == pytest.approx(np.mean([entropy(q) for q in Y]), abs=1e-5)


def test_sums_of_clusters_add_up_and_are_scored_together():
    clusters = np.arange(200) % 7 * 2
    sums = SOFT.statistics(Y, PREDICTED, clusters, 4)
    assert sums[:, 0].tolist() == np.bincount(np.arange(200) % 7).tolist()
    np.testing.assert_allclose(sums.sum(0), SOFT.statistics(Y, PREDICTED, None, 4))
    for measure in SOFT.measures.values():
        np.testing.assert_allclose(measure.score(sums), [measure.score(row) for row in sums])


@pytest.mark.parametrize("classes", [3, 4, 6, 7])
def test_equal_votes_for_all_classes_are_above_chance_for_none(classes: int) -> None:
    y = read(["c"], [";".join(f"{k}=1" for k in range(classes))], "p_", READ_AS_IS).y
    assert not above_chance(y).any()


def test_counts_and_shares_are_the_same_labels_and_survive_as_text():
    clips = [clip("c0", sad="1", angry="3", calm="0"), clip("c1", sad="0.25", angry="0.75", calm="0"),
             clip("c2", calm="2", angry="1", sad="")]  # fmt: skip
    with pytest.raises(InputError, match=r"1 clip has unusable votes \(c2: no number of votes for sad\)"):
        join_votes(clips, "p_")
    clips = [*clips[:2], clip("c2", calm="2", angry="1", sad="0"), clip("c3", calm="", angry="", sad="")]
    joined = join_votes(clips, "p_")
    assert [one.labels for one in joined[::3]] == [
        {"text": "a", "p_": "angry=3;calm=0;sad=1"},
        {"text": "a", "p_": ""},  # without a label
    ]
    assert join_votes(joined, "p_") == joined
    texts = [one.labels["p_"] for one in joined[:3]]
    labels = read(["c0", "c1", "c2"], texts, "p_", READ_AS_IS)
    assert labels.classes == ("angry", "calm", "sad")
    np.testing.assert_array_equal(labels.y, [[0.75, 0, 0.25], [0.75, 0, 0.25], [0.333333, 0.666667, 0]])
    again = shares_of([text_of(row, labels.classes) for row in labels.y], labels.classes)
    np.testing.assert_array_equal(again, labels.y)
    assert [one.labels["p_"] for one in most_voted(joined, "p_")] == ["angry", "angry", "calm", ""]


def test_all_unusable_votes_are_named_at_once():
    cells = [("0", "0"), ("-1", "2"), ("two", "1"), ("nan", "1"), ("1", "1")]
    faulty = [clip(f"c{number}", sad=sad, angry=angry) for number, (sad, angry) in enumerate(cells)]
    with pytest.raises(InputError) as raised:
        join_votes(faulty, "p_")
    assert raised.value.what == (
        "4 clips have unusable votes (c0: all votes are 0, c1: sad has -1, c2: sad has 'two', no number "
        "and 1 more)"
    )
    assert "counts or shares" in raised.value.do
    with pytest.raises(InputError, match=r"unusable votes \(c0: sad has 'x', no number\)"):
        read(["c0", "c1"], ["angry=1;sad=x", "angry=1"], "votes", READ_AS_IS)


@pytest.mark.parametrize(
    ("cell", "message"),
    [
        ("angry=1;angry=2", "c0: angry occurs twice"),
        ("=3", "c0: votes without a class, '=3'"),
        ("angry=1;", "c0: votes without a class, ''"),
        ("angry=1e308;sad=1e308", "c0: the sum of its votes is infinite"),
    ],
)
def test_cells_of_votes_that_can_be_read_in_two_ways(cell: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        read(["c0", "c1"], [cell, "angry=1;sad=1"], "votes", READ_AS_IS)


def test_chance_is_that_of_random_classes() -> None:
    """The macro F1 of sets that are drawn independently of the votes, with the same frequencies."""
    rng = np.random.default_rng(0)
    y = rng.dirichlet((1, 2, 4), 100_000)
    sums = SOFT.statistics(y, rng.permutation(y), None, 3)
    assert SOFT.chance(SOFT.members(y, 3)) == pytest.approx(float(SOFT.scores(sums)["soft_f1"]), abs=0.005)


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ({"emotion": "sad"}, "no column begins with 'p_'"),
        ({"p_sad": "1"}, "only p_sad begins with 'p_'"),
        ({"p_sad": "1", "p_a;b": "1"}, "hold ';' or '='"),
    ],
)
def test_columns_that_hold_no_votes(labels: dict[str, str], message: str) -> None:
    with pytest.raises(InputError, match=message):
        join_votes([Clip(id="c", file="c", labels=labels)], "p_")


def test_a_class_needs_a_vote():
    with pytest.raises(InputError, match="no clip has a vote for calm"):
        read(["c0", "c1"], ["angry=1;calm=0;sad=2", "angry=1;calm=0;sad=0"], "p_", READ_AS_IS)
    with pytest.raises(InputError, match="holds votes for angry only"):
        read(["c0"], ["angry=1"], "p_", READ_AS_IS)


def test_the_settings_of_a_study():
    assert StudyConfig(task="soft").target == "p_"
    assert StudyConfig(task="soft", target="votes_").target == "votes_"
    assert StudyConfig(task="soft").heads == ("logreg", "xgboost")
    with pytest.raises(InputError, match="--quick has no probe for shares of votes"):
        StudyConfig(task="soft", quick=True)
    with pytest.raises(InputError, match="--metric soft_loss"):
        StudyConfig(task="soft", metric="soft_loss")
