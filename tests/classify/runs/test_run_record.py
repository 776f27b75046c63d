from __future__ import annotations

import json
from pathlib import Path

import pytest

from layerprobe.classify.config import StudyConfig
from layerprobe.classify.runs.run_record import as_begun


@pytest.mark.parametrize(
    ("record", "pruner"),
    [
        (None, "halving"),
        ({"config": {"pruner": "median"}}, "median"),
        ({"config": {"pruner": "halving"}}, "halving"),
        ({"config": {"pruner": "unknown"}}, "halving"),
        ({}, "halving"),
    ],
)
def test_a_run_goes_on_with_the_pruner_it_was_begun_with(
    tmp_path: Path, record: dict | None, pruner: str
) -> None:
    if record is not None:
        (tmp_path / "run.json").write_text(json.dumps(record))
    assert as_begun(tmp_path, StudyConfig(trials=7)) == StudyConfig(trials=7, pruner=pruner)
