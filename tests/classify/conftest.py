"""What makes small studies take less time."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.figures import FEW, run_kinds
from tests.migrations import read_once


@pytest.fixture(scope="session", autouse=True)
def quick_studies() -> Iterator[None]:
    read_once()
    with run_kinds(FEW):
        yield
