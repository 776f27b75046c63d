"""Optuna's storage on a database server: its URL, how it is opened, and its errors in one line.

A password never stands in the URL, which `ps` shows to every user of a machine. PostgreSQL's client reads it
from PGPASSWORD, ~/.pgpass or a service file.
"""

from __future__ import annotations

import logging
import re
import warnings
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from optuna.exceptions import ExperimentalWarning, StorageInternalError
from optuna.storages import BaseStorage, RDBStorage, get_storage
from sqlalchemy import create_engine, make_url, text
from sqlalchemy.exc import ArgumentError, PendingRollbackError
from sqlalchemy.pool import NullPool

from layerprobe.cache.common.errors import InputError

HEARTBEAT_SECONDS = 10
GRACE_SECONDS = 60  # without a heartbeat, after which a process counts as dead
DRIVER = "postgresql+psycopg"
OPENING_LOCK = 0x6C61796572  # any number that no other program locks
# A server that does not respond ends a run within a minute or so, and not after two hours.
CONNECTION = {
    "connect_timeout": 10,
    "keepalives_idle": 30,
    "keepalives_interval": 10,
    "keepalives_count": 3,
    "tcp_user_timeout": 60_000,  # milliseconds
}
# The password of a URL: between user and host, also where a slash is missing, or in its query.
_PASSWORD = re.compile(r"^((?:[\w+.-]+:)?/*[^:@/?]*):(?!/).*@")
_SECRET_OPTION = re.compile(
    r"([?&](?!passfile=)[^=&]*(?:pass|pwd|secret|token)[^=&]*=)[^&\s]*", re.IGNORECASE
)
_STATEMENT = re.compile(r"\[SQL: |\(Background on this error")  # which SQLAlchemy adds to a message
_NAME_OF_ERROR = re.compile(r"^\([\w.]+\) (connection failed: )?")  # as (psycopg.OperationalError)
_POSTGRESQL = re.compile(r"^postgres(?:ql)?(?=:)")
IN_A_FILE = "omit it, and set PGPASSWORD or write ~/.pgpass (docs/scale.md says how)"
IN_A_FILE_OF_THE_DRIVER = "omit it, and name a file that the driver reads (docs/scale.md says how)"


def without_password(url: str) -> str:
    """A storage's URL for messages and run.json."""
    return _SECRET_OPTION.sub(r"\1***", _PASSWORD.sub(r"\1:***@", url))


def is_server(url: str | None) -> bool:
    """Whether a storage is on a server, and not in an SQLite file."""
    return url is not None and not url.startswith("sqlite")


def refuse_password(url: str | None) -> None:
    """Raise InputError if a server's URL contains a password."""
    if url is None or not is_server(url) or not (_PASSWORD.search(url) or _SECRET_OPTION.search(url)):
        return
    raise InputError(
        "--storage contains a password, which every user of this machine can see",
        where=without_password(url),
        do=IN_A_FILE if _POSTGRESQL.match(url) else IN_A_FILE_OF_THE_DRIVER,
    )


def open_server(url: str) -> BaseStorage:
    """The storage at a URL of SQLAlchemy, with heartbeats; finished trials are read once.

    Raises InputError if the URL contains a password, and if it cannot be opened.
    """
    refuse_password(url)
    logging.getLogger(RDBStorage.__module__).setLevel(logging.ERROR)  # it logs a lost connection with its SQL
    where = without_password(url)
    known = _POSTGRESQL.sub(DRIVER, url)
    try:
        storage = _connect(known, _connection(known))
        cached = get_storage(storage)
        weakref.finalize(cached, storage.engine.dispose)  # closes the connections
        return cached
    except Exception as error:  # SQLAlchemy's and the drivers' errors have no common base
        reason = _reason(error, known, url)
        do = "check the address, the user, the database and the password (PGPASSWORD or ~/.pgpass)"
        if isinstance(error, ImportError):
            reason, do = "its driver is not installed", "install the driver that the URL names"
            if _POSTGRESQL.match(url):
                do = "run: pip install 'layerprobe[postgresql]'"
        elif isinstance(error, ArgumentError):
            do = "give postgresql://USER@HOST/DATABASE, or sqlite:///FOLDER/FILE in an existing folder"
        raise InputError(f"cannot open the Optuna storage ({reason})", where=where, do=do) from error


@contextmanager
def reporting_loss(where: str) -> Iterator[None]:
    """Turn an error of an open storage into an InputError. where: its address without a password."""
    try:
        yield
    except StorageInternalError as error:
        cause = error.__cause__ or error
        lost = isinstance(cause, PendingRollbackError)  # Optuna queried again on a connection that was lost
        reason = "the connection to the server was lost" if lost else _reason(cause)
        do = "repair it: finished trials are kept, and the same command resumes"
        raise InputError(f"cannot read or write the Optuna storage ({reason})", where=where, do=do) from error


def _connection(url: str) -> dict[str, Any]:
    """Options of psycopg that the URL does not set itself. Raises ArgumentError."""
    parsed = make_url(url)
    if parsed.drivername != DRIVER:
        return {}
    return {name: value for name, value in CONNECTION.items() if name not in parsed.query}


def _connect(url: str, options: dict[str, Any]) -> RDBStorage:
    with _alone(url, options), warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)
        return RDBStorage(
            url.replace("{", "{{").replace("}", "}}"),  # Optuna formats it
            engine_kwargs={"pool_pre_ping": True, "connect_args": options},
            heartbeat_interval=HEARTBEAT_SECONDS,
            grace_period=GRACE_SECONDS,
        )


@contextmanager
def _alone(url: str, options: dict[str, Any]) -> Iterator[None]:
    """Hold a lock in a PostgreSQL database: processes that create its tables together would fail."""
    if make_url(url).drivername != DRIVER:
        yield
        return
    engine = create_engine(url, connect_args=options, poolclass=NullPool)
    with engine.begin() as connection:
        connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": OPENING_LOCK})
        yield


def _reason(error: BaseException, *hidden: str) -> str:
    """An error's first words in one line. hidden: URLs to leave out."""
    message = _STATEMENT.split(str(error))[0]
    for url in hidden:
        message = message.replace(url, "the URL")
    return _NAME_OF_ERROR.sub("", " ".join(message.split()))
