from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from layerprobe.cache.common.errors import InputError
from layerprobe.cache.store.feature_store import FeatureStore
from layerprobe.classify.config import EvaluationConfig, Scaling, StudyConfig
from layerprobe.classify.controls import few_shot, learning_curve, shuffled_labels
from layerprobe.classify.controls.evaluation import evaluate_run
from layerprobe.classify.features.fitted_frames import FittedFrames, load_inputs
from layerprobe.classify.features.fold_features import Preprocessing
from layerprobe.classify.features.frames import join_frames
from layerprobe.classify.features.lru_cache import LruCache
from layerprobe.classify.heads.fitted import TrainingRows
from layerprobe.classify.heads.frames.bilstm import BILSTM
from layerprobe.classify.heads.frames.fitting import validation_mask
from layerprobe.classify.heads.registry import KINDS
from layerprobe.classify.heads.solvers import frame_training
from layerprobe.classify.heads.solvers.frame_networks import BiLstm
from layerprobe.classify.runs.compare import compare
from layerprobe.classify.runs.run_folder import SUMMARY, read_json
from layerprobe.classify.scores.results import StudyResult
from layerprobe.classify.search.nested import TrialDone
from layerprobe.classify.search.plan import fold_features, layer_states, make_plan
from layerprobe.classify.search.strategies import rounds
from layerprobe.classify.search.study import run_study
from layerprobe.classify.search.units import Unit, run_unit
from layerprobe.embed.manifest.clips import Clip
from tests.networks import small_networks
from tests.studies import made_clips, made_frames, made_store

pytestmark = pytest.mark.slow

CONFIG = StudyConfig(heads=("bilstm",), folds=2, inner_folds=2, trials=1, jobs=1, scalings=("standard",))
SAME = ("splits.json", "results.csv", "predictions.csv", "summary.json", "figures/layers.svg")


ROUNDS = 12  # enough for what is planted


def shrunk_unit(unit: Unit) -> Iterator[TrialDone | StudyResult]:
    """What a process runs that knows nothing of this one's patches."""
    with small_networks(rounds=ROUNDS, steps=1):
        yield from run_unit(unit)


@pytest.fixture(scope="module", autouse=True)
def small() -> Iterator[None]:
    with small_networks(rounds=ROUNDS):
        yield


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> tuple[list[Clip], FeatureStore]:
    folder = tmp_path_factory.mktemp("bilstm")
    clips = made_clips(folder / "corpus", speakers=8, each=6, classes=2)
    return clips, made_frames(folder / "cache", clips)


@pytest.fixture(scope="module")
def finished(corpus: tuple[list[Clip], FeatureStore], tmp_path_factory: pytest.TempPathFactory) -> Path:
    return run_study(*corpus, tmp_path_factory.mktemp("finished") / "run", CONFIG)


def test_speakers_that_decide_when_to_stop_are_not_trained_on() -> None:
    speakers, y = np.repeat(np.arange(10), 6), np.tile([0, 1, 2], 20)
    held = validation_mask(y, speakers, seed=0)
    assert not set(speakers[held]) & set(speakers[~held])
    assert len(set(speakers[held])) == 2
    assert set(y[held]) == set(y[~held]) == {0, 1, 2}


@pytest.mark.parametrize("speakers", [None, np.zeros(30, int), np.repeat([0, 1], 15)])
def test_no_class_is_lost_to_training_by_setting_speakers_aside(speakers: np.ndarray | None) -> None:
    y = np.repeat([0, 1], 15)  # with two speakers, each has a class of their own
    held = validation_mask(y, speakers, seed=0)
    assert held.sum() == 6
    assert set(y[~held]) == {0, 1}


def test_a_study_finds_what_pooled_statistics_do_not_show(
    finished: Path, corpus: tuple[list[Clip], FeatureStore], tmp_path: Path
) -> None:
    summary = read_json(finished / SUMMARY)
    assert summary["selected"]["uar"]["value"] > 0.8
    assert [(entry["layer"], entry["head"]) for entry in summary["layers"]] == [("0", "bilstm")]
    clips, _ = corpus
    pooled = made_store(tmp_path / "cache", clips, signal=0.0)  # as statistics of these frames would be
    config = replace(CONFIG, heads=("logreg",))
    run = run_study(clips, pooled, tmp_path / "run", config)
    assert read_json(run / SUMMARY)["selected"]["uar"]["value"] < 0.7
    comparison = compare([finished, run])
    assert [entry.system for entry in comparison.entries] == ["selected", "selected"]
    (pair,) = comparison.pairs
    assert pair.difference.low > 0  # the frames' run is better, on the same clips
    model = BiLstm(corpus[1].extraction.width("0"), 2, hidden=8, dropout=0.0, pooling="mean")
    assert comparison.costs[0].trained_parameters == sum(p.numel() for p in model.parameters())


def test_every_control_is_made_on_frames(
    finished: Path, corpus: tuple[list[Clip], FeatureStore], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Probes read means over frames, in which nothing was planted."""
    monkeypatch.setattr(shuffled_labels, "SHUFFLES", 2)
    monkeypatch.setattr(learning_curve, "SHARES", (1.0,))
    for name, value in (("DRAWS", 2), ("SHOTS", (8,)), ("OWN_SHOTS", (1,))):
        monkeypatch.setattr(few_shot, name, value)
    out = shutil.copytree(finished, tmp_path / "run")
    plan = make_plan(corpus[0], corpus[1], CONFIG)
    evaluate_run(out, plan, corpus[0], EvaluationConfig(audit=False, controls="full"))
    controls = read_json(out / SUMMARY)["controls"]
    assert controls["shuffled"]["selectivity"]["value"] > 0.1
    assert controls["probes"]["statistic"] == "mean"
    label = next(target for target in controls["probes"]["targets"] if target["target"] == "emotion")
    assert label["layers"][0]["uar"]["value"] < 0.75
    assert controls["learning_curve"]["points"][-1]["uar"]["value"] > 0.75


def test_processes_do_not_change_the_files(
    corpus: tuple[list[Clip], FeatureStore],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(rounds, "run_unit", shrunk_unit)
    one, two = (run_study(*corpus, tmp_path / f"{jobs}", replace(CONFIG, jobs=jobs)) for jobs in (1, 2))
    for name in SAME:
        assert (one / name).read_bytes() == (two / name).read_bytes(), name


def test_the_control_that_looks_at_nothing_runs_beside_it(
    corpus: tuple[list[Clip], FeatureStore], tmp_path: Path
) -> None:
    out = run_study(*corpus, tmp_path / "run", replace(CONFIG, heads=("majority",)))
    assert read_json(out / SUMMARY)["selected"]["uar"]["value"] == pytest.approx(0.5)


@pytest.mark.parametrize("scaling", ["none", "standard", "l2", "speaker"])
def test_a_refitted_network_scores_as_the_search_does(
    scaling: Scaling,
    corpus: tuple[list[Clip], FeatureStore],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """To other clips than it was fitted to, also after a file."""
    monkeypatch.setattr(frame_training, "LEAST_STEPS", 1)
    clips, store = corpus
    plan = make_plan(clips, store, CONFIG)
    fold, speakers = plan.folds[0].outer, plan.data.speakers
    assert speakers is not None
    layers = layer_states(plan, ("0",), cache=LruCache(1 << 30))
    features = fold_features(plan, layers, fold, head="bilstm", cache=LruCache(1 << 30))
    prep = Preprocessing("frame", scaling)
    (expected,) = BILSTM.fit(features, prep, dict(BILSTM.start), [1.0], 0)

    states = [store.frames("0", key) for key in plan.data.keys]
    known = join_frames([states[row] for row in fold.train])
    inputs, scaled = FittedFrames.fit(
        "0", known, scaling, train=np.arange(len(fold.train)), speakers=speakers[fold.train]
    )
    rows = TrainingRows(
        Z=np.empty((len(fold.train), 0)),
        y=plan.data.y[fold.train],
        classes=2,
        frames=scaled,
        speakers=speakers[fold.train],
    )
    assert BILSTM.refit is not None
    fitted = BILSTM.refit(rows, dict(BILSTM.start), 1.0, 0)
    loaded = KINDS[fitted.kind].load(tmp_path, fitted.save(tmp_path))
    again = load_inputs(inputs.settings(), inputs.arrays())
    unknown = {"0": [states[row] for row in fold.test]}
    for head, prepared in ((fitted, inputs), (loaded, again)):
        scores = head.scores(prepared.apply(unknown, speakers[fold.test]))
        np.testing.assert_allclose(scores, expected, atol=1e-5)


@pytest.mark.parametrize("heads", [("svm",), ("bilstm", "logreg"), ("bilstm",)])
def test_heads_and_stores_that_do_not_fit_are_told_in_one_line(
    heads: tuple[str, ...], corpus: tuple[list[Clip], FeatureStore], tmp_path: Path
) -> None:
    clips, store = corpus
    messages = {
        ("svm",): "holds every frame, and svm read statistics.*or give --heads bilstm",
        ("bilstm", "logreg"): "bilstm reads every frame, logreg statistics over frames; search them in two",
        ("bilstm",): "holds statistics over frames.*embed TABLE --model tiny .*--frames",
    }[heads]
    if heads == ("bilstm",):
        store = made_store(tmp_path / "pooled", clips)
    with pytest.raises(InputError, match=messages) as error:
        run_study(clips, store, tmp_path / "run", replace(CONFIG, heads=heads))
    assert "\n" not in str(error.value)
