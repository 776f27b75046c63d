"""Where trees are grown: on a GPU if XGBoost can use one, else on the CPU."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from layerprobe.classify.features.fold_features import Preprocessing
from layerprobe.classify.heads import boosting as module
from layerprobe.classify.heads.boosting import CPU, CUDA, settings, tree_device, visible_gpus
from layerprobe.classify.heads.registry import HEADS
from tests.studies import made_features


@pytest.fixture(autouse=True)
def asked_anew() -> Iterator[None]:
    tree_device.cache_clear()
    yield
    tree_device.cache_clear()


def device() -> str:
    return str(settings(dict(HEADS["xgboost"].start), classes=3, seed=0)["device"])


def test_without_a_gpu_it_is_the_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "visible_gpus", lambda: 0)
    assert device() == CPU


def test_a_machine_without_the_driver_has_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "DRIVER", "libnot-there.so.1")
    assert visible_gpus() == 0


def test_a_gpu_that_xgboost_can_use_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "visible_gpus", lambda: 1)
    tried: list[dict[str, object]] = []

    def train(arguments: dict[str, object], *rest: object) -> Grown:
        tried.append(arguments)
        return Grown()

    monkeypatch.setattr(module.xgboost, "train", train)
    assert device() == CUDA
    assert tried[0]["device"] == CUDA


def test_a_gpu_that_xgboost_cannot_use_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*arguments: object) -> None:
        raise module.xgboost.core.XGBoostError("no kernel image is available")

    monkeypatch.setattr(module, "visible_gpus", lambda: 1)
    monkeypatch.setattr(module.xgboost, "train", fail)
    assert device() == CPU


@pytest.mark.skipif(tree_device() == CPU, reason="no GPU that XGBoost can use")
def test_trees_of_a_gpu_score_as_those_of_the_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    features, _, y = made_features(rows=900)
    fit, arguments = (
        HEADS["xgboost"].fit,
        (Preprocessing("mean+std", "standard"), dict(HEADS["xgboost"].start), [50.0], 0),
    )
    (there,) = fit(features, *arguments)
    monkeypatch.setattr("layerprobe.classify.heads.boosting.tree_device", lambda: CPU)
    (here,) = fit(features, *arguments)
    truth = y[features.test]
    apart = np.mean(here.argmax(1) == truth) - np.mean(there.argmax(1) == truth)
    assert abs(apart) < 0.05


class Grown:
    """A booster that can predict."""

    def inplace_predict(self, rows: np.ndarray) -> np.ndarray:
        return rows
