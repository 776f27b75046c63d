"""Layers side by side: their columns, a study against scikit-learn's view of them, and a bundle."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from layerprobe.cache.common.errors import InputError
from layerprobe.classify.config import StudyConfig
from layerprobe.classify.features.joined import join_columns, joined_width, read_layer
from layerprobe.classify.predict.bundle import load_bundle
from layerprobe.classify.predict.frozen import FrozenBundle
from layerprobe.classify.predict.make import make_bundle_of
from layerprobe.classify.runs.run_folder import RUN, SUMMARY, read_json
from layerprobe.classify.search.plan import make_plan
from layerprobe.classify.search.study import run_study
from tests.bundles import assert_alike_from_cache_and_sound, make_run
from tests.studies import made_clips, made_store


def test_statistics_stay_together() -> None:
    a, b = (
        np.arange(12.0).reshape(2, 6),
        np.arange(100.0, 108.0).reshape(2, 4),
    )  # 2 statistics: widths 3 and 2
    joined = join_columns([a, b], stats=2)
    np.testing.assert_array_equal(joined[0], [0, 1, 2, 100, 101, 3, 4, 5, 102, 103])
    assert join_columns([a], stats=2) is a


def test_joined_layers_know_what_both_know(tmp_path: Path) -> None:
    clips = made_clips(tmp_path / "corpus", each=12)
    store = made_store(tmp_path / "cache", clips, layers=("0", "1"), width=4, signal=0.7)
    assert joined_width(store.extraction, "0+1") == 8
    data = make_plan(clips, store, StudyConfig()).data
    both = read_layer(store, "1+0", data.keys, stats=("std",))
    alone = [store.layer(name, data.keys, stats=("std",)) for name in ("1", "0")]
    np.testing.assert_array_equal(both, np.hstack(alone))
    config = StudyConfig(
        heads=("logreg",), layers=("1", "0+1"), folds=3, inner_folds=2, trials=4, jobs=1, ensemble=2
    )
    run = run_study(clips, store, tmp_path / "run", config)
    summary = read_json(run / SUMMARY)
    uar = {entry["layer"]: entry["uar"]["value"] for entry in summary["layers"]}
    assert list(uar) == ["1", "0+1", "several"]
    assert uar["0+1"] > 0.4  # more than chance
    assert (run / "figures" / "layers.svg").is_file()


def test_a_bundle_predicts_alike_from_cache_and_sound(tmp_path: Path) -> None:
    run = make_run(tmp_path, bundle=False, heads=("logreg",), layers=("1+2",))
    assert read_json(run / RUN)["cost"]["trained_parameters"] is not None
    bundle = load_bundle(make_bundle_of(run))
    assert isinstance(bundle, FrozenBundle)
    assert bundle.system.names == ("1", "2")
    assert_alike_from_cache_and_sound(bundle, run)


@pytest.mark.parametrize(
    ("layers", "message"),
    [
        (("0+7",), "--layers 7; choose from 0, 1, mix"),
        (("0+mix",), r"--layers 0\+mix joins 'mix', or a layer with itself; join single layers, each once"),
        (("1+1",), r"--layers 1\+1 joins 'mix', or a layer with itself"),
    ],
)
def test_layers_that_cannot_be_joined_are_one_line(
    layers: tuple[str, ...], message: str, tmp_path: Path
) -> None:
    clips = made_clips(tmp_path / "corpus")
    plan = make_plan(clips, made_store(tmp_path / "cache", clips), StudyConfig(layers=layers))
    with pytest.raises(InputError, match=message):
        plan.studies()
