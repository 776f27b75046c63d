"""What a fine-tuning may be asked for."""

from __future__ import annotations

import subprocess
import sys

import pytest

from layerprobe.cache.common.errors import InputError
from layerprobe.classify.finetune.config import FinetuneConfig
from tests.run import ENVIRONMENT, ROOT


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("head", "attention"),
        ("freeze", "all"),
        ("class_weight", "heavy"),
        ("precision", "int8"),
        ("validation", "test"),
        ("metric", "loss"),
        ("report_to", "email"),
        ("epochs", 0),
        ("batch_size", 0),
        ("accumulation", 0),
        ("lora", -1),
        ("patience", -1),
        ("trials", -1),
        ("workers", -2),
        ("seed", 2**32),
        ("weight_decay", float("nan")),
        ("learning_rate", 0.0),
        ("learning_rate", float("nan")),
        ("learning_rate", float("inf")),
        ("warmup", 1.0),
        ("dropout", -0.1),
        ("window", 0.5),
    ],
)
def test_what_cannot_be_is_refused_by_name(option, value):
    with pytest.raises(InputError) as caught:
        FinetuneConfig(**{option: value})
    assert option.replace("_", "-") in str(caught.value)
    assert ";" in str(caught.value)


def test_a_search_needs_something_to_be_scored_on():
    with pytest.raises(InputError, match="validation"):
        FinetuneConfig(trials=3, validation="none")


def test_it_is_known_without_torch():
    modules = "'torch' in sys.modules, 'numpy' in sys.modules"
    told = f"import sys, layerprobe.classify.finetune.config; print({modules})"
    done = subprocess.run(
        [sys.executable, "-c", told], cwd=ROOT, env=ENVIRONMENT, capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == ["False", "False"]
