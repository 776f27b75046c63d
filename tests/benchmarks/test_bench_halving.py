"""The comparison of two pruners: mean differences over layers and heads, and their intervals."""

from __future__ import annotations

import csv
import json
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import balanced_accuracy_score

from benchmarks import bench_halving
from benchmarks.bench_halving import differences
from layerprobe.embed.manifest.clips import write_manifest
from tests.studies import made_clips, made_store

LAYERS = ("0", "1", "2", "3")  # one too many for all of them to get all trials
OPTIONS = "--heads ridge,logreg --folds 2 --trials 12 --jobs 1"


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder `runs` of the benchmark, with its line in line.json."""
    folder = tmp_path_factory.mktemp("halving")
    clips = made_clips(folder / "corpus")
    store = made_store(folder / "cache", clips, layers=LAYERS, signal=0.5)
    write_manifest(clips, folder / "clips.csv")
    with pytest.MonkeyPatch.context() as patch:
        lines: list[str] = []
        patch.setattr(bench_halving, "find_model_store", lambda *_: store)
        patch.setattr("builtins.print", lambda text, **_: lines.append(text))
        for _ in range(2):
            words = (
                f"bench_halving {folder}/clips.csv --model tiny --cache {folder}/cache --out {folder}/runs"
            )
            patch.setattr(sys, "argv", f"{words} {OPTIONS}".split())
            bench_halving.main()
    (folder / "runs" / "lines.json").write_text(f"[{','.join(lines)}]")
    return folder / "runs"


def scores(run: Path) -> dict[str, float]:
    """The UAR of each system by scikit-learn."""
    with (run / "predictions.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    of = {name: [r for r in rows if r["system"] == name] for name in dict.fromkeys(r["system"] for r in rows)}
    return {
        name: balanced_accuracy_score([r["label"] for r in own], [r["predicted"] for r in own])
        for name, own in of.items()
    }


def test_means_are_those_of_all_layers_and_heads_and_of_each_head(runs: Path) -> None:
    first, second, again = *(scores(runs / name) for name in ("median", "halving")), None
    assert first != second
    line, again = json.loads((runs / "lines.json").read_text())
    found = line["differences"]
    assert list(found) == ["selected", "all", "ridge", "logreg"]
    for group, names in {
        "selected": ["selected"],
        "all": [f"{layer}/{head}" for layer in LAYERS for head in ("ridge", "logreg")],
        "ridge": [f"{layer}/ridge" for layer in LAYERS],
        "logreg": [f"{layer}/logreg" for layer in LAYERS],
    }.items():
        expected = np.mean([second[name] - first[name] for name in names])
        assert found[group]["value"] == pytest.approx(expected)
        assert found[group]["low"] <= found[group]["value"] <= found[group]["high"]
    assert found["all"]["high"] - found["all"]["low"] > 0
    for pruner, used in line["pruners"].items():
        assert used["cpu_s"] > 0
        assert used["wall_s"] > 0
        assert used["selected"]["value"] == pytest.approx(scores(runs / pruner)["selected"])
    assert again["differences"] == found
    assert [used["cpu_s"] for used in again["pruners"].values()] == [None, None]


def test_intervals_resample_speakers_and_pair_the_runs(runs: Path, tmp_path: Path) -> None:
    same = differences(runs / "median", runs / "median")
    assert {(one.value, one.low, one.high) for one in same.values()} == {(0.0, 0.0, 0.0)}
    # All predictions of one speaker's clips right: the difference is that speaker's alone.
    better = shutil.copytree(runs / "median", tmp_path / "better")
    with (better / "predictions.csv").open(newline="") as file:
        header, *rows = csv.reader(file)
    at = {name: header.index(name) for name in ("speaker", "label", "predicted")}
    for row in rows:
        if row[at["speaker"]] == "s0":
            row[at["predicted"]] = row[at["label"]]
    with (better / "predictions.csv").open("w", newline="") as file:
        csv.writer(file).writerows([header, *rows])
    found = differences(runs / "median", better)["all"]
    assert found.value > 0
    assert found.low < found.value < found.high
    drawn = 1 - (1 - 1 / 9) ** 9  # share of the resamples with that speaker, of nine
    assert found.low <= 0 or drawn > 0.975


def test_runs_with_other_layers_are_refused(runs: Path, tmp_path: Path) -> None:
    other = shutil.copytree(runs / "median", tmp_path / "other")
    text = (other / "predictions.csv").read_text()
    (other / "predictions.csv").write_text(text.replace(",1/ridge,", ",9/ridge,"))
    with pytest.raises(ValueError, match="other layers or heads"):
        differences(runs / "median", other)
