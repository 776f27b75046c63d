from __future__ import annotations

import pickle
from pathlib import Path

import pytest

from layerprobe.cache.common.errors import InputError
from layerprobe.cache.store.feature_store import FeatureStore
from layerprobe.classify.config import StudyConfig
from layerprobe.classify.scores.results import StudyId, StudyResult
from layerprobe.classify.search.nested import TrialDone
from layerprobe.classify.search.plan import make_plan
from layerprobe.classify.search.sharing.requests import Grant, Request, SharedUnit, run_shared_unit
from layerprobe.classify.search.units import Unit, run_unit
from layerprobe.embed.manifest.clips import Clip

IDS = tuple(StudyId(1, "1", head) for head in ("logreg", "majority", "ridge"))


@pytest.fixture(scope="module")
def unit(corpus: tuple[list[Clip], FeatureStore]) -> Unit:
    plan = make_plan(*corpus, StudyConfig(folds=2, inner_folds=2, trials=2, jobs=1))
    return Unit(plan=plan, studies={id: [] for id in IDS}, seconds=None, memory=1 << 28)


def test_a_worker_runs_the_studies_that_it_is_granted(unit: Unit, tmp_path: Path) -> None:
    whole = list(run_unit(unit))
    trials = [m.trial for m in whole if isinstance(m, TrialDone) and m.id == IDS[2]]
    grants = [Grant(trials=[], complete=False), None, Grant(trials=trials, complete=True)]
    seen: list[TrialDone | StudyResult] = []
    shared = pickle.loads(pickle.dumps(SharedUnit(unit=unit, folder=tmp_path)))
    for message in run_shared_unit(shared):
        if isinstance(message, Request):
            assert message.unit == IDS
            message.grant(grants[IDS.index(message.id)])
        else:
            seen.append(message)
    assert [(type(message), message.id) for message in seen] == [
        *[(TrialDone, IDS[0])] * 2, (StudyResult, IDS[0]), (StudyResult, IDS[2]),
    ]  # fmt: skip
    for result in (message for message in seen if isinstance(message, StudyResult)):
        (same,) = [m for m in whole if isinstance(m, StudyResult) and m.id == result.id]
        assert result.params == same.params
        assert (result.probability == same.probability).all()


def test_a_study_without_further_trials_ends_with_those_that_it_has(unit: Unit, tmp_path: Path) -> None:
    """As where --timeout ended it in another process."""
    (first, *_) = [m.trial for m in run_unit(unit) if isinstance(m, TrialDone)]
    seen = []
    for message in run_shared_unit(SharedUnit(unit=unit, folder=tmp_path)):
        if isinstance(message, Request):
            message.grant(Grant(trials=[first], complete=True) if message.id == IDS[0] else None)
        else:
            seen.append(message)
    (result,) = seen
    assert isinstance(result, StudyResult)
    assert result.trials == 1


def test_a_worker_that_cannot_see_the_replies_says_so(unit: Unit, tmp_path: Path) -> None:
    messages = run_shared_unit(SharedUnit(unit=unit, folder=tmp_path / "elsewhere"))
    next(messages)
    with pytest.raises(InputError, match=r"cannot see the temporary folder.*use workers on the same machine"):
        next(messages)
