"""Labels that corpora share, and the runs of a matrix."""

from __future__ import annotations

from dataclasses import replace

import pytest

from layerprobe.cache.common.errors import InputError
from layerprobe.classify.config import StudyConfig
from layerprobe.classify.matrix.plan import plan_matrix
from layerprobe.embed.manifest.clips import Clip

CONFIG = StudyConfig(folds=4)


def corpus(name: str, labels: str, *, speakers: int = 5) -> list[Clip]:
    """A clip of each speaker with each label."""
    return [
        Clip(
            id=f"{name}:{speaker}{label}",
            file="x.wav",
            speaker=f"{name}:{speaker}",
            labels={"corpus": name, "emotion": label},
        )
        for speaker in range(speakers)
        for label in labels
    ]


def test_three_corpora_have_nine_runs_and_share_their_common_labels() -> None:
    plan = plan_matrix([*corpus("a", "xyz"), *corpus("b", "xyw"), *corpus("c", "xy", speakers=3)], CONFIG)
    assert plan.labels == ("x", "y")
    assert [run.name for run in plan.runs] == [
        *("within-a", "within-b", "within-c", "from-a", "from-b", "from-c"),
        *("without-a", "without-b", "without-c"),
    ]
    within, across, without = plan.runs[0], plan.runs[3], plan.runs[6]
    assert {clip.labels["corpus"] for clip in within.clips} == {"a"}
    assert {clip.labels["emotion"] for run in plan.runs for clip in run.clips} == {"x", "y"}
    assert (across.config.train_corpus, across.config.test_corpus) == (("a",), ("b", "c"))
    assert (without.config.train_corpus, without.config.test_corpus) == (("b", "c"), ("a",))
    assert [(size.clips, size.speakers, size.left_out) for size in plan.corpora] == [
        *((10, 5, 5), (10, 5, 5), (6, 3, 0)),
    ]
    assert plan.notes == (
        "5 clips of a left out, whose label is not one of all corpora: z",
        "5 clips of b left out, whose label is not one of all corpora: w",
        "c has 3 speakers: 3 folds within it",
    )
    assert [run.config.folds for run in plan.runs[:3]] == [4, 4, 3]


def test_of_two_corpora_none_is_left_out() -> None:
    plan = plan_matrix([*corpus("a", "xy"), *corpus("b", "xy")], CONFIG)
    assert [run.kind for run in plan.runs] == ["within", "within", "from", "from"]


@pytest.mark.parametrize(
    ("other", "message"),
    [
        (
            corpus("b", "uvx"),
            r"the corpora have one label of 'emotion' in common \(a: x, y, z; b: u, v, x\); "
            r"give them the same labels, as by --map 'b/emotion:u=y'",
        ),
        (corpus("b", "uv"), r"the corpora have no label of 'emotion' in common \(a: x, y, z; b: u, v\)"),
        (
            [replace(clip, labels={"corpus": "b"}) for clip in corpus("b", "x")],
            r"no label of 'emotion' in common \(a: x, y, z; b: no column 'emotion'\)",
        ),
        ([], r"all clips are of the corpus 'a'; give two tables or more"),
        (corpus("b/c", "xy"), r"corpus 'b/c' cannot be the name of a folder; give other names with --names"),
    ],
)
def test_corpora_that_make_no_matrix_are_refused_in_one_line(other: list[Clip], message: str) -> None:
    with pytest.raises(InputError, match=message):
        plan_matrix([*corpus("a", "xyz"), *other], CONFIG)
