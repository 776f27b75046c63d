from __future__ import annotations

import sqlite3
from pathlib import Path

import optuna
import pytest
from optuna.trial import FrozenTrial, TrialState, create_trial

from layerprobe.cache.common.errors import InputError
from layerprobe.classify.scores.results import StudyId
from layerprobe.classify.search.storage import FILE, Trials


def trial(value: float | None) -> FrozenTrial:
    return create_trial(
        params={"C": 0.5},
        distributions={"C": optuna.distributions.FloatDistribution(0.1, 1.0)},
        value=value,
        state=TrialState.PRUNED if value is None else TrialState.COMPLETE,
        user_attrs={"seconds": 0.25},
        intermediate_values={0: 0.4},
    )


def test_trials_come_back_whole_and_in_order_from_another_process_or_time(tmp_path: Path) -> None:
    one, two = StudyId(0, "mfcc", "svm"), StudyId(1, "mfcc", "svm")
    trials = Trials(None, out=tmp_path, run="run")
    for value in (0.5, None, 0.75):
        trials.add(one, trial(value))
    trials.add(two, trial(0.1))
    held = Trials(None, out=tmp_path, run="run").of(one)
    assert [t.value for t in held] == [0.5, None, 0.75]
    assert [t.number for t in held] == [0, 1, 2]
    assert [t.state for t in held] == [TrialState.COMPLETE, TrialState.PRUNED, TrialState.COMPLETE]
    assert held[0].params == {"C": 0.5}
    assert held[0].user_attrs == {"seconds": 0.25}
    assert held[0].intermediate_values == {0: 0.4}
    assert Trials(None, out=tmp_path, run="run").of(StudyId(2, "mfcc", "svm")) == []


def test_it_is_an_optuna_storage_that_others_can_read_and_runs_can_share(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'shared.db'}"
    for run in ("a", "b"):
        Trials(url, out=tmp_path, run=run).add(StudyId(0, "9", "logreg"), trial(0.5))
    assert sorted(optuna.get_all_study_names(url)) == ["a/0/9/logreg", "b/0/9/logreg"]
    study = optuna.load_study(study_name="a/0/9/logreg", storage=url)
    assert study.best_value == 0.5
    assert study.direction == optuna.study.StudyDirection.MAXIMIZE
    assert not (tmp_path / FILE).exists()


@pytest.mark.parametrize("size", [3, 20_000])
def test_a_damaged_file_of_the_runs_own_may_be_deleted(tmp_path: Path, size: int) -> None:
    Trials(None, out=tmp_path, run="run").add(StudyId(0, "mfcc", "svm"), trial(0.5))
    held = (tmp_path / FILE).read_bytes()
    (tmp_path / FILE).write_bytes(b"what" + held[4:size])
    with pytest.raises(InputError, match=r"cannot open the Optuna storage.*; copy it back .*or delete it"):
        Trials(None, out=tmp_path, run="run")
    (tmp_path / FILE).unlink()
    assert Trials(None, out=tmp_path, run="run").of(StudyId(0, "mfcc", "svm")) == []


def test_two_runs_do_not_mix_their_trials(tmp_path: Path) -> None:
    url, id = f"sqlite:///{tmp_path / 'shared.db'}", StudyId(0, "9", "svm")
    one, late, two = (Trials(url, out=tmp_path, run="run") for _ in range(3))
    assert one.of(id) == late.of(id) == []
    study = optuna.create_study()
    study.add_trials([trial(0.5), trial(0.6)])
    first, second = study.get_trials()
    one.add(id, first)
    assert len(two.of(id)) == 1  # goes on from there
    one.add(id, second)
    for other, own in ((late, first), (two, second)):
        with pytest.raises(InputError, match=r"another run.*--storage of its own"):
            other.add(id, own)
    assert len(one.of(id)) == 2


def test_a_storage_that_takes_no_more_is_told_in_one_line(tmp_path: Path) -> None:
    trials, id = Trials(None, out=tmp_path, run="run"), StudyId(0, "9", "svm")
    trials.add(id, trial(0.5))
    with sqlite3.connect(tmp_path / FILE) as database:
        database.execute("DROP TABLE trials")
    with pytest.raises(InputError, match=r"search\.db: the Optuna storage takes no more") as told:
        trials.add(id, trial(0.6))
    assert "\n" not in str(told.value)


@pytest.mark.parametrize(
    "url", ["nonsense", "sqlite:////no/such/folder/x.db", "postgresql://nobody@localhost:1/x"]
)
def test_a_storage_that_cannot_be_opened_is_told_in_one_line(url: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot open the Optuna storage") as told:
        Trials(url, out=tmp_path, run="run")
    assert "\n" not in str(told.value)
