"""One PostgreSQL server for the tests of this package, and a study that processes share on it.

Of the session: tests of other packages run between those of this one.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator

import pytest

from layerprobe.cache.store.feature_store import FeatureStore
from layerprobe.embed.manifest.clips import Clip
from tests.postgres import PASSWORD, WHY_NOT, Postgres, running_postgres
from tests.studies import made_clips, made_store


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    if WHY_NOT:
        pytest.skip(WHY_NOT)
    with running_postgres() as server:
        yield server


@pytest.fixture
def database(postgres: Postgres, monkeypatch: pytest.MonkeyPatch) -> str:
    """The URL of an empty database; the password is in PGPASSWORD."""
    monkeypatch.setenv("PGPASSWORD", PASSWORD)
    return postgres.database(uuid.uuid4().hex)


@pytest.fixture(scope="session")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> tuple[list[Clip], FeatureStore]:
    folder = tmp_path_factory.mktemp("shared")
    clips = made_clips(folder / "corpus", speakers=6, each=6)
    return clips, made_store(folder / "cache", clips, layers=("0", "1", "2", "3"))
