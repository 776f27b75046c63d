from __future__ import annotations

import math
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from layerprobe.cache.common.errors import InputError
from layerprobe.classify.config import LATER, RUNTIME_OPTIONS, StudyConfig


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"split": "fair"}, "--split fair; choose from speaker, random, column, loso"),
        ({"metric": "f1"}, "--metric f1"),
        ({"sampler": "grid"}, "--sampler grid"),
        ({"pruner": "hyper"}, "--pruner hyper"),
        ({"scalings": ("standard", "max")}, "--scalings max"),
        ({"scalings": ()}, "--scalings names no scaling"),
        ({"heads": ()}, "--heads names no head"),
        ({"folds": 1}, "--folds 1; give 2 or more"),
        ({"inner_folds": 0}, "--inner-folds 0"),
        ({"trials": 0}, "--trials 0; give 1 or more"),
        ({"jobs": 0}, "--jobs 0"),
        ({"timeout": 0.0}, "--timeout 0"),
        ({"timeout": math.nan}, "--timeout nan"),
        ({"memory": 0}, "--memory 0"),
        ({"quick": True, "trials": 3}, "--quick tunes nothing, and --trials is given; omit --trials"),
        ({"quick": True, "heads": ("svm",)}, "--quick tunes nothing, and --heads is given"),
        ({"quick": True, "scalings": ("l2",)}, "--quick tunes nothing, and --scalings is given"),
        ({"quick": True, "task": "ordinal"}, "--quick has no probe for an order of levels"),
        ({"quick": True, "timeout": 9.0}, "--quick tunes nothing, and --timeout is given"),
        ({"quick": True, "ensemble": 3}, "--quick tunes nothing, and --ensemble is given"),
        ({"quick": True, "sampling": ("none", "smote")}, "--quick tunes nothing, and --sampling is given"),
    ],
)
def test_options_that_make_no_sense_are_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        StudyConfig(**changes)


def test_runtime_options_exist() -> None:
    assert set(RUNTIME_OPTIONS) <= set(StudyConfig.__dataclass_fields__)
    assert set(LATER) <= set(StudyConfig.__dataclass_fields__)


def test_a_quick_look_says_itself_what_is_fixed() -> None:
    config = StudyConfig(quick=True)
    assert (config.heads, config.trials, config.scalings) == (("ridge",), 1, ("standard",))
    assert StudyConfig(**vars(config)) == config  # as read from run.json


def test_options_are_known_without_loading_numpy() -> None:
    heavy = "[m for m in ('numpy', 'optuna', 'sklearn') if m in sys.modules]"
    program = f"import sys, layerprobe.classify.config; print({heavy})"
    root = Path(__file__).resolve().parents[2]
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=root, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"
