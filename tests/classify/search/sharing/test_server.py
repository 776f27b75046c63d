from __future__ import annotations

import logging
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest
from optuna.exceptions import StorageInternalError
from optuna.storages import BaseStorage, RDBStorage
from optuna.study import StudyDirection
from sqlalchemy.exc import PendingRollbackError

from layerprobe.cache.common.errors import InputError
from layerprobe.classify.search.sharing.server import (
    is_server,
    open_server,
    refuse_password,
    reporting_loss,
    without_password,
)
from tests.postgres import PASSWORD, Postgres

WITH_PASSWORD = [
    ("postgresql://me:secret@host/db", "postgresql://me:***@host/db"),
    ("postgresql://me:sec@ret@host/db", "postgresql://me:***@host/db"),
    ("postgresql://:secret@host/db", "postgresql://:***@host/db"),
    ("mysql:/me:secret@host/db", "mysql:/me:***@host/db"),
    ("me:secret@host/db", "me:***@host/db"),
    ("postgresql://host/db?user=me&password=secret", "postgresql://host/db?user=me&password=***"),
    ("mysql+pymysql://host/db?PASSWD=secret&a=b", "mysql+pymysql://host/db?PASSWD=***&a=b"),
    ("postgresql://host/db?sslpassword=s@cret", "postgresql://host/db?sslpassword=***"),
    ("mssql://me:secret@host/db?pwd=secret", "mssql://me:***@host/db?pwd=***"),
]
WITHOUT = [
    "postgresql://me@host:5432/db?options=a:b@c",
    "postgresql:///?service=search",
    "postgresql://me@host/db?passfile=/home/me/.pgpass",
    "sqlite:////data/a:b@c/x.db",
]


@pytest.mark.parametrize(("url", "shown"), WITH_PASSWORD)
def test_a_password_is_masked_and_refused_wherever_a_url_has_it(url: str, shown: str) -> None:
    assert without_password(url) == shown
    with pytest.raises(InputError) as error:
        refuse_password(url)
    line = error.value.line()
    assert line.startswith(
        f"{shown}: --storage contains a password, which every user of this machine can see"
    )
    assert "secret" not in line
    assert ("set PGPASSWORD or write ~/.pgpass" in line) == url.startswith("postgresql")
    with pytest.raises(InputError, match="contains a password"):
        open_server(url)


def test_a_masked_password_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InputError, match="contains a password"):
        refuse_password("postgresql://me:***@host/db")


@pytest.mark.parametrize("url", WITHOUT)
def test_a_url_without_a_password_is_left_as_it_is(url: str) -> None:
    refuse_password(url)
    assert without_password(url) == url
    assert is_server(url) == (not url.startswith("sqlite"))


def test_a_run_without_a_storage_has_no_password() -> None:
    refuse_password(None)
    assert not is_server(None)


def refused(url: str) -> str:
    with pytest.raises(InputError) as error:
        open_server(url)
    line = error.value.line()
    assert "\n" not in line
    return line


@pytest.mark.parametrize("url", ["nonsense", "redis://host/0", "no such://host/db"])
def test_what_is_no_database_is_reported_with_examples(url: str) -> None:
    line = refused(url)
    assert line.startswith(f"{url}: cannot open the Optuna storage (")
    assert line.endswith(
        "; give postgresql://USER@HOST/DATABASE, or sqlite:///FOLDER/FILE in an existing folder"
    )


@pytest.mark.parametrize("scheme", ["postgresql", "postgres"])
def test_a_missing_driver_is_named_with_the_extra(monkeypatch: pytest.MonkeyPatch, scheme: str) -> None:
    monkeypatch.setitem(sys.modules, "psycopg", None)
    assert refused(f"{scheme}://me@host/db") == (
        f"{scheme}://me@host/db: cannot open the Optuna storage (its driver is not installed); "
        "run: pip install 'layerprobe[postgresql]'"
    )


def test_a_server_that_is_not_there_is_reported_in_one_line(postgres: Postgres) -> None:
    line = refused("postgresql://me@127.0.0.1:1/db")
    assert line.startswith(
        "postgresql://me@127.0.0.1:1/db: cannot open the Optuna storage (connection to server at "
        '"127.0.0.1", port 1 failed: Connection refused'
    )
    assert line.endswith(
        "; check the address, the user, the database and the password (PGPASSWORD or ~/.pgpass)"
    )


def test_a_wrong_password_is_reported_without_it(postgres: Postgres, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PGPASSWORD", "wr0ng")
    line = refused(postgres.address("postgres"))
    assert 'password authentication failed for user "searcher"' in line
    assert "wr0ng" not in line


def test_a_database_that_does_not_exist_is_named(postgres: Postgres, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PGPASSWORD", PASSWORD)
    assert 'database "nowhere" does not exist' in refused(postgres.address("nowhere"))


def test_the_password_may_be_in_a_file(database: str, monkeypatch: pytest.MonkeyPatch, tmp_path) -> None:
    monkeypatch.delenv("PGPASSWORD")
    address, name = database.removeprefix("postgresql://searcher@127.0.0.1:").split("/")
    (tmp_path / "pgpass").write_text(f"127.0.0.1:{address}:{name}:searcher:{PASSWORD}\n")
    (tmp_path / "pgpass").chmod(0o600)
    open_server(f"{database}?passfile={tmp_path / 'pgpass'}")
    (tmp_path / "service.conf").write_text(
        f"[search]\nhost=127.0.0.1\nport={address}\ndbname={name}\nuser=searcher\npassword={PASSWORD}\n"
    )
    monkeypatch.setenv("PGSERVICEFILE", str(tmp_path / "service.conf"))
    open_server("postgresql:///?service=search")


def test_processes_that_open_an_empty_database_at_the_same_time_all_succeed(database: str) -> None:
    with ThreadPoolExecutor(6) as pool:
        opened: list[BaseStorage] = list(pool.map(open_server, [database] * 6))
    number = opened[0].create_new_study([StudyDirection.MAXIMIZE], "study")
    assert {one.get_study_id_from_name("study") for one in opened} == {number}


def test_a_connection_that_the_server_has_closed_is_replaced(database: str, postgres: Postgres) -> None:
    storage = open_server(database)
    postgres.stop()
    postgres.start()
    assert storage.get_all_studies() == []


def test_a_query_on_a_lost_connection_is_reported_as_that() -> None:
    line = r"^db: cannot read or write the Optuna storage \(the connection to the server was lost\); repair"
    with pytest.raises(InputError, match=line), reporting_loss("db"):
        raise StorageInternalError from PendingRollbackError("Can't reconnect until invalid transaction …")


def test_optuna_does_not_log_the_statements_of_a_lost_connection(database: str) -> None:
    open_server(database)
    assert not logging.getLogger(RDBStorage.__module__).isEnabledFor(logging.WARNING)
