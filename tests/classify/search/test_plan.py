"""The plan of a study: which folds its settings mean."""

from __future__ import annotations

from pathlib import Path

import pytest

from layerprobe.classify.config import StudyConfig
from layerprobe.classify.search.plan import make_plan
from tests.studies import made_clips, made_store


@pytest.mark.parametrize(("protocol", "disjoint"), [("ksu-speaker-5", True), ("baved-random-2021", False)])
def test_inner_folds_share_speakers_only_where_the_protocol_does(
    tmp_path: Path, protocol: str, disjoint: bool
) -> None:
    clips = made_clips(tmp_path / "corpus")
    store = made_store(tmp_path / "cache", clips)
    plan = make_plan(clips, store, StudyConfig(protocol=protocol))
    speakers = plan.data.speakers
    assert speakers is not None
    for fold in plan.folds:
        assert len(fold.inner) == StudyConfig.inner_folds
        for inner in (fold.outer, *fold.inner):
            shared = set(speakers[inner.train]) & set(speakers[inner.test])
            assert bool(shared) != disjoint
