"""Fusion of models: against a fusion by hand, with its gain, interrupted, and refused."""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.metrics import balanced_accuracy_score

from layerprobe.cache.common.errors import InputError
from layerprobe.cache.common.options import StoreOptions
from layerprobe.cache.store import failures
from layerprobe.cache.store.failures import Failure
from layerprobe.cache.store.feature_store import FeatureStore
from layerprobe.cache.store.keys import clip_keys
from layerprobe.classify.config import StudyConfig
from layerprobe.classify.fusion import run as fusion_run
from layerprobe.classify.fusion.console import print_gain
from layerprobe.classify.fusion.joined_store import JoinedStore
from layerprobe.classify.fusion.models import Models, parse_names
from layerprobe.classify.fusion.run import run_fusion
from layerprobe.classify.report.run_data import read_run
from layerprobe.classify.report.settings import repeat_command
from layerprobe.classify.report.write import write_report
from layerprobe.classify.runs.compare import compare
from layerprobe.classify.runs.run_folder import RUN, SUMMARY, read_json
from layerprobe.classify.runs.run_record import read_recorded
from layerprobe.embed.manifest.clips import Clip
from tests.studies import made_clips, made_frames, made_store

CONFIG = StudyConfig(folds=3, inner_folds=2, trials=2, jobs=1, heads=("logreg", "knn"))
Corpus = tuple[list[Clip], list[FeatureStore]]


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    """Two models whose states know of the label in different ways; `b` has two layers in larger units."""
    folder = tmp_path_factory.mktemp("fusion")
    clips = made_clips(folder / "corpus", each=10)
    stores = []
    for name, seed, layers in (("a", 0, ("0",)), ("b", 7, ("0", "1"))):
        store = made_store(folder / name, clips, layers=layers, signal=0.8, seed=seed)
        store.extraction = replace(store.extraction, model=f"lab/{name}")
        stores.append(store)
    return clips, stores


@pytest.fixture(scope="module")
def finished(corpus: Corpus, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("finished") / "run"
    run_fusion(*corpus, out, CONFIG, fuse="both", command={"table": "clips.csv"})
    return out


def table(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def probability(rows: list[dict[str, str]]) -> np.ndarray:
    return np.array([[float(row[f"p_{name}"]) for name in "abc"] for row in rows])


def test_late_fusion_is_the_weighted_mean_of_what_each_model_predicts(finished: Path) -> None:
    fused, (late,) = (
        table(finished / "predictions.csv"),
        [kind for kind in read_json(finished / SUMMARY)["fusion"]["kinds"] if kind["kind"] == "late"],
    )
    for fold in late["folds"]:
        weights = fold["weights"]
        assert sum(weights.values()) == pytest.approx(1)
        own = [
            row for row in fused if row["system"] == "lab-a+lab-b/late" and row["fold"] == str(fold["fold"])
        ]
        expected: Any = 0.0
        for name, weight in weights.items():
            rows = table(finished / "models" / name / "predictions.csv")
            of = {row["clip"]: row for row in rows if row["system"] == "selected"}
            expected = expected + weight * probability([of[row["clip"]] for row in own])
        np.testing.assert_allclose(probability(own), expected, atol=2e-5)
        assert [row["predicted"] for row in own] == ["abc"[k] for k in np.asarray(expected).argmax(1)]


def test_no_single_model_is_better_than_the_weighted_mean_on_inner_predictions(finished: Path) -> None:
    rows = table(finished / "results.csv")
    for fold in range(3):
        reached = {
            r["layer"]: float(r["inner_score"])
            for r in rows
            if r["fold"] == str(fold) and r["head"] != "early"
        }
        assert reached.pop("lab-a+lab-b") >= max(reached.values()) - 1e-6


def test_early_fusion_joins_the_layers_that_the_inner_folds_select(finished: Path) -> None:
    (early,) = [kind for kind in read_json(finished / SUMMARY)["fusion"]["kinds"] if kind["kind"] == "early"]
    for fold in early["folds"]:
        best = {}
        for name in ("lab-a", "lab-b"):
            rows = [
                r for r in table(finished / "models" / name / "results.csv") if r["fold"] == str(fold["fold"])
            ]
            best[name] = max(rows, key=lambda row: float(row["inner_score"]))["layer"]
        assert fold["joined"] == f"lab-a:{best['lab-a']}+lab-b:{best['lab-b']}"
        assert fold["by"] in CONFIG.heads
    params = [json.loads(row["params"]) for row in table(finished / "results.csv") if row["head"] == "early"]
    assert [entry["layers"] for entry in params] == [fold["joined"] for fold in early["folds"]]


def test_joined_states_are_those_of_the_stores_up_to_a_factor(corpus: Corpus) -> None:
    _clips, (a, b) = corpus
    joined = JoinedStore({"a": a, "b": b})
    assert joined.extraction.layers == ("a:0", "b:0", "b:1")
    keys = a.keys()
    for name, store, layer in (("a:0", a, "0"), ("b:1", b, "1")):
        own, X = store.layer(layer, keys), joined.layer(name, keys)
        factor = own.std(0).max()
        np.testing.assert_allclose(X * factor, own, rtol=1e-4, atol=1e-4)
        assert joined.extraction.width(name) == own.shape[1]
    alone = JoinedStore({"a": a, "b": b}, stats=("std",))
    np.testing.assert_allclose(alone.layer("a:0", keys).std(0).max(), 1, rtol=1e-4)
    assert alone.extraction.widths == (6, 6, 6)


def test_the_gain_is_paired_over_the_best_single_model_of_each_fold(finished: Path) -> None:
    summary = read_json(finished / SUMMARY)
    fusion, rows = summary["fusion"], table(finished / "predictions.csv")
    scores = table(finished / "results.csv")
    predicted: dict[str, dict[str, str]] = {"best": {}, "late": {}, "early": {}}
    true = {}
    for fold in range(3):
        singles = [row for row in scores if row["head"] == "selected" and row["fold"] == str(fold)]
        best = max(singles, key=lambda row: float(row["inner_score"]))["layer"]
        assert fusion["best_single"]["folds"][fold] == best
        for row in rows:
            if row["fold"] != str(fold):
                continue
            true[row["clip"]] = row["label"]
            _layer, _, head = row["system"].rpartition("/")
            if head in ("late", "early"):
                predicted[head][row["clip"]] = row["predicted"]
            elif row["system"] == f"{best}/selected":
                predicted["best"][row["clip"]] = row["predicted"]
    ids = sorted(true)
    uar = {
        name: balanced_accuracy_score([true[id] for id in ids], [of[id] for id in ids])
        for name, of in predicted.items()
    }
    assert fusion["best_single"]["uar"]["value"] == pytest.approx(uar["best"])
    for kind in fusion["kinds"]:
        gain = kind["minus_best_single"]
        assert gain["value"] == pytest.approx(uar[kind["kind"]] - uar["best"])
        assert gain["low"] <= gain["value"] <= gain["high"]
    assert (
        uar["late"]
        > max(entry["uar"]["value"] for entry in summary["layers"] if entry["head"] == "selected") - 0.1
    )


@pytest.mark.slow
def test_terminal_report_and_compare_read_the_run(
    finished: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    print_gain(read_json(finished / SUMMARY))
    shown = capsys.readouterr().out
    assert "best single model" in shown
    assert "minus the best single" in shown
    assert all(len(line) <= 100 for line in shown.splitlines())
    page = write_report([finished], tmp_path / "report").read_text()
    assert "What fusion gains over the best single model" in page
    command = repeat_command(read_run(finished))
    assert "classify clips.csv --model lab/a,lab/b --fuse both --out NEW_FOLDER --heads logreg,knn" in command
    comparison = compare([finished, finished / "models" / "lab-a"])
    assert [entry.system for entry in comparison.entries] == ["selected", "selected"]
    assert comparison.costs[0].own_s is not None
    with pytest.raises(InputError, match="is a run of several models, which --from cannot repeat"):
        read_recorded(finished, runtime={})


@pytest.mark.slow
def test_an_interrupted_fusion_resumes_and_ends_alike(
    corpus: Corpus, finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    early = fusion_run.early_results

    def stopped(*rest: Any, **more: Any) -> Any:
        early(*rest, **more)
        raise KeyboardInterrupt

    monkeypatch.setattr(fusion_run, "early_results", stopped)
    with pytest.raises(KeyboardInterrupt):
        run_fusion(*corpus, tmp_path / "run", CONFIG, fuse="both", command={"table": "clips.csv"})
    assert not read_json(tmp_path / "run" / RUN)["finished"]
    monkeypatch.undo()
    run_fusion(*corpus, tmp_path / "run", CONFIG, fuse="both", command={"table": "clips.csv"})
    for name in ("results.csv", "predictions.csv", "splits.json"):
        assert (tmp_path / "run" / name).read_bytes() == (finished / name).read_bytes(), name
    before = (finished / SUMMARY).stat().st_mtime_ns
    run_fusion(*corpus, finished, CONFIG, fuse="both", command={"table": "clips.csv"})
    assert (finished / SUMMARY).stat().st_mtime_ns == before  # a finished one is only read


def test_models_with_different_clips_are_one_line(corpus: Corpus, tmp_path: Path) -> None:
    clips, (a, _) = corpus
    fewer = made_store(tmp_path / "fewer", clips[3:], layers=("0",))
    fewer.extraction = replace(fewer.extraction, model="lab/c")
    with pytest.raises(InputError, match=r"3 of 90 clips have no states of lab/c: s0-0\.wav, s0-1"):
        run_fusion(clips, [a, fewer], tmp_path / "run", CONFIG, fuse="late")
    keys = clip_keys(clips[:3], fewer.cache)
    failed = {failures.failure_id(c): Failure("too short", str(k)) for c, k in zip(clips, keys, strict=False)}
    failures.update(fewer.folder, failed=failed, succeeded=[])
    what = (
        r"lab/a and lab/c have states of different clips: 3 clips with states of lab/a alone \(s0-0.wav, s0-1"
    )
    with pytest.raises(InputError, match=what) as error:
        run_fusion(clips, [a, fewer], tmp_path / "run", CONFIG, fuse="late")
    assert "\n" not in str(error.value)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("changes", "fuse", "message"),
    [
        ({"heads": ("weights",)}, "early", "--fuse early joins single layers, and none of lab-b is searched"),
        (
            {"layers": ("mix",), "heads": ("svm",)},
            "early",
            "--fuse early joins single layers, and none of lab-b",
        ),
        ({"heads": ("tree",)}, "late", "--heads tree; choose from logreg"),
    ],
)
def test_what_cannot_be_fused_is_one_line(
    changes: dict, fuse: Any, message: str, corpus: Corpus, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match=message):
        run_fusion(*corpus, tmp_path / "run", replace(CONFIG, **changes), fuse=fuse)
    assert not (tmp_path / "run").exists()


def test_heads_on_frames_are_not_fused_early(tmp_path: Path) -> None:
    clips, stores = made_clips(tmp_path / "corpus", speakers=4, each=4, classes=2), []
    for name in "ab":
        store = made_frames(tmp_path / name, clips)
        store.extraction = replace(store.extraction, model=name)
        stores.append(store)
    config = replace(CONFIG, heads=("bilstm",), folds=2)
    what = "--fuse early joins statistics of layers, and bilstm does not read these; add logreg or svm"
    with pytest.raises(InputError, match=what):
        run_fusion(clips, stores, tmp_path / "run", config, fuse="both")


def test_a_model_that_is_named_twice_is_one_line(corpus: Corpus, tmp_path: Path) -> None:
    clips, (a, _) = corpus
    with pytest.raises(InputError, match="--model names lab/a twice; name each model once"):
        run_fusion(clips, [a, a], tmp_path / "run", CONFIG, fuse="late")


def models(**changes: Any) -> Models:
    settings: dict[str, Any] = {
        "names": ("a", "b"), "fuse": "late", "source": StoreOptions(), "stored_elsewhere": False,
    }  # fmt: skip
    return Models(**{**settings, **changes})


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"fuse": None}, "--model names 2 models; fuse them with --fuse early, late, both; or run one each"),
        ({"names": ("a",)}, "--fuse late fuses models, and --model names one; name two models or more"),
        ({"source": StoreOptions(revision="x")}, "--revision does not say which of the models it belongs to"),
        ({"source": StoreOptions(fingerprint="1,2,3")}, "--fingerprint 1,2,3; give one for each model"),
        (
            {"stored_elsewhere": True},
            "--storage is for one run, and each model has a run of its own; omit it",
        ),
    ],
)
def test_options_that_contradict_each_other_are_one_line(changes: dict[str, Any], message: str) -> None:
    models().check()
    with pytest.raises(InputError, match=message):
        models(**changes).check()


def test_layers_are_named_over_all_models(corpus: Corpus) -> None:
    _, (a, b) = corpus
    assert parse_names(("0-1", "1+0"), [a, b]) == ("0", "1", "1+0")
    assert parse_names((), [a, b]) == ()
    with pytest.raises(InputError, match="no layer 1"):
        parse_names(("1",), [a])
