from __future__ import annotations

import sqlite3
from pathlib import Path

import optuna
import pytest
from optuna.storages import RDBStorage, get_storage
from optuna.trial import FrozenTrial, TrialState, create_trial

from layerprobe.cache.common.errors import InputError
from layerprobe.classify.scores.results import StudyId
from layerprobe.classify.search import storage
from layerprobe.classify.search.storage import STORAGE_FILE, TrialStorage


def trial(value: float | None) -> FrozenTrial:
    return create_trial(
        params={"C": 0.5},
        distributions={"C": optuna.distributions.FloatDistribution(0.1, 1.0)},
        value=value,
        state=TrialState.PRUNED if value is None else TrialState.COMPLETE,
        user_attrs={"seconds": 0.25},
        intermediate_values={0: 0.4},
    )


def test_trials_are_read_back_complete_and_in_order(tmp_path: Path) -> None:
    one, two = StudyId(0, "mfcc", "svm"), StudyId(1, "mfcc", "svm")
    trials = TrialStorage(None, out=tmp_path, run="run")
    for value in (0.5, None, 0.75):
        trials.add(one, trial(value))
    trials.add(two, trial(0.1))
    held = TrialStorage(None, out=tmp_path, run="run").trials(one)
    assert [t.value for t in held] == [0.5, None, 0.75]
    assert [t.number for t in held] == [0, 1, 2]
    assert [t.state for t in held] == [TrialState.COMPLETE, TrialState.PRUNED, TrialState.COMPLETE]
    assert held[0].params == {"C": 0.5}
    assert held[0].user_attrs == {"seconds": 0.25}
    assert held[0].intermediate_values == {0: 0.4}
    assert TrialStorage(None, out=tmp_path, run="run").trials(StudyId(2, "mfcc", "svm")) == []


def test_optuna_reads_the_storage_and_runs_share_it(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'shared.db'}"
    for run in ("a", "b"):
        TrialStorage(url, out=tmp_path, run=run).add(StudyId(0, "9", "logreg"), trial(0.5))
    assert sorted(optuna.get_all_study_names(url)) == ["a/0/9/logreg", "b/0/9/logreg"]
    study = optuna.load_study(study_name="a/0/9/logreg", storage=url)
    assert study.best_value == 0.5
    assert study.direction == optuna.study.StudyDirection.MAXIMIZE
    assert not (tmp_path / STORAGE_FILE).exists()


@pytest.mark.parametrize("size", [3, 20_000])
def test_a_damaged_file_of_the_run_may_be_deleted(tmp_path: Path, size: int) -> None:
    TrialStorage(None, out=tmp_path, run="run").add(StudyId(0, "mfcc", "svm"), trial(0.5))
    held = (tmp_path / STORAGE_FILE).read_bytes()
    (tmp_path / STORAGE_FILE).write_bytes(b"what" + held[4:size])
    with pytest.raises(
        InputError, match=r"cannot open the Optuna storage.*; restore an intact copy, or delete it"
    ):
        TrialStorage(None, out=tmp_path, run="run")
    (tmp_path / STORAGE_FILE).unlink()
    assert TrialStorage(None, out=tmp_path, run="run").trials(StudyId(0, "mfcc", "svm")) == []


def test_two_runs_do_not_mix_their_trials(tmp_path: Path) -> None:
    url, id = f"sqlite:///{tmp_path / 'shared.db'}", StudyId(0, "9", "svm")
    one, late, two = (TrialStorage(url, out=tmp_path, run="run") for _ in range(3))
    assert one.trials(id) == late.trials(id) == []
    study = optuna.create_study()
    study.add_trials([trial(0.5), trial(0.6)])
    first, second = study.get_trials()
    one.add(id, first)
    assert len(two.trials(id)) == 1  # goes on from there
    one.add(id, second)
    for other, own in ((late, first), (two, second)):
        with pytest.raises(InputError, match=r"another run.*its own --storage"):
            other.add(id, own)
    assert len(one.trials(id)) == 2


def test_a_storage_that_cannot_be_written_is_reported_in_one_line(tmp_path: Path) -> None:
    trials, id = TrialStorage(None, out=tmp_path, run="run"), StudyId(0, "9", "svm")
    trials.add(id, trial(0.5))
    with sqlite3.connect(tmp_path / STORAGE_FILE) as database:
        database.execute("DROP TABLE trials")
    with pytest.raises(InputError, match=r"search\.db: cannot read or write the Optuna storage") as error:
        trials.add(id, trial(0.6))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    "url", ["nonsense", "sqlite:////no/such/folder/x.db", "postgresql://nobody@localhost:1/x"]
)
def test_a_storage_that_cannot_be_opened_is_reported_in_one_line(url: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot open the Optuna storage") as error:
        TrialStorage(url, out=tmp_path, run="run")
    assert "\n" not in str(error.value)


ODD_NAMES = ("50%_of", "100%20x", "really?", "a#b", "x?mode=ro", "ü ß", "{x}", "%(a)s", ":memory:", "a;b&c=d")


@pytest.mark.parametrize("name", ODD_NAMES)
@pytest.mark.parametrize("as_url", [False, True])
def test_the_trials_are_in_the_run_folder_whatever_its_name(tmp_path: Path, name: str, as_url: bool) -> None:
    out, id = tmp_path / "runs" / name, StudyId(0, "mfcc", "svm")
    out.mkdir(parents=True)
    url = f"sqlite:///{out / STORAGE_FILE}" if as_url else None
    TrialStorage(url, out=out, run="run").add(id, trial(0.5))
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == [out / STORAGE_FILE]
    (held,) = TrialStorage(url, out=out, run="run").trials(id)
    assert held.value == 0.5


def test_a_url_whose_path_is_cut_at_a_question_mark_is_refused(tmp_path: Path) -> None:
    (tmp_path / "really?").mkdir()
    for url in (
        f"sqlite:///{tmp_path}/really?/x.db",
        f"sqlite:///{tmp_path}/a?b",
        f"sqlite:///{tmp_path}/x?m=1/y.db",
    ):
        with pytest.raises(InputError, match=r"ends the path in a URL; choose a path without \?"):
            TrialStorage(url, out=tmp_path, run="run")
    assert [path.name for path in tmp_path.iterdir()] == ["really?"]


def test_processes_on_a_server_add_each_trial_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An SQLite file stands in for the server."""
    url, id = f"sqlite:///{tmp_path / 'server.db'}", StudyId(0, "9", "svm")
    monkeypatch.setattr(storage, "is_server", lambda url: True)
    monkeypatch.setattr(storage, "open_server", lambda url: get_storage(RDBStorage(url)))
    one, late = (TrialStorage(url, out=tmp_path, run="run") for _ in range(2))
    study = optuna.create_study()
    study.add_trials([trial(0.5), trial(0.6), trial(0.7)])
    first, second, third = study.get_trials()
    one.add(id, first)
    late.add(id, first)  # taken for dead, as after it was suspended, it adds what was added meanwhile
    one.add(id, second)
    with monkeypatch.context() as patch:
        patch.setattr(TrialStorage, "_contains", lambda *_: False)
        late.add(id, second)  # at the same moment
    assert len(optuna.load_study(study_name=f"run/{id}", storage=url).trials) == 3
    one.add(id, third)
    for held in (one, late, TrialStorage(url, out=tmp_path, run="run")):
        assert [t.value for t in held.trials(id)] == [0.5, 0.6, 0.7]
