"""Controls, probes, audit and output of a study of numbers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from layerprobe.classify.config import EvaluationConfig
from layerprobe.classify.controls.baselines import baseline_scores, run_baseline
from layerprobe.classify.controls.console import print_summary
from layerprobe.classify.controls.evaluation import evaluate_run
from layerprobe.classify.search.plan import make_plan
from layerprobe.classify.search.study import run_study
from tests.regressions import number_clips, number_study
from tests.studies import made_store

pytestmark = pytest.mark.slow

CONFIG = number_study(heads=("ridge",), trials=2)


@pytest.fixture(scope="module")
def complete(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run with all controls; its baseline has states that encode nothing."""
    folder = tmp_path_factory.mktemp("numbers")
    clips, store = number_clips(folder)
    out = run_study(clips, store, folder / "run", CONFIG, command={"table": str(folder / "clips.csv")})
    plan = make_plan(clips, store, CONFIG)
    noise = made_store(folder / "noise", clips, signal=0.0, seed=5)
    (out / "controls").mkdir()
    run_baseline(out / "controls" / "random", plan, clips, noise, command={})
    evaluate_run(out, plan, clips, EvaluationConfig(audit=True, controls="full"))
    assert baseline_scores(out, plan)[0]["selected_minus_it"]["low"] > 0
    return out


def summary_of(run: Path) -> dict[str, Any]:
    summary: dict[str, Any] = json.loads((run / "summary.json").read_text())
    return summary


def test_shuffled_numbers_carry_no_more_than_the_speaker(complete: Path) -> None:
    shuffled = summary_of(complete)["controls"]["shuffled"]
    assert shuffled["ccc"]["value"] < 0.3
    assert shuffled["selectivity"]["low"] > 0.2
    assert shuffled["movable"] == 1


def test_the_learning_curve_rises(complete: Path) -> None:
    points = summary_of(complete)["controls"]["learning_curve"]["points"]
    assert points[-1]["share"] == 1
    assert points[-1]["ccc"]["value"] > points[0]["ccc"]["value"]


def test_the_target_is_probed_in_thirds(complete: Path) -> None:
    probes = {probe["target"]: probe for probe in summary_of(complete)["controls"]["probes"]["targets"]}
    assert probes["arousal"]["classes"] == 3
    assert max(layer["uar"]["value"] for layer in probes["arousal"]["layers"]) > 0.5
    assert "speaker" in probes


def test_the_audit_groups_numbers(complete: Path) -> None:
    audit = json.loads((complete / "audit.json").read_text())
    assert [row["label"].split()[0] for row in audit["classes"]] != []
    assert len(audit["classes"]) == 3
    assert {row["clips"] for row in audit["classes"]} == {24}


def test_everything_is_printed_with_the_names_of_its_scores(complete: Path, capsys: Any) -> None:
    print_summary(complete, summary_of(complete), as_json=False)
    text = capsys.readouterr().out
    for words in ("CCC", "RMSE", "Pearson's r", "mean of the training clips", "shuffled labels", "true"):
        assert words in text
    assert "UAR" not in text.partition("linear probe")[0]
    assert "accuracy" not in text
    for name in ("layers", "controls", "learning_curve"):
        assert (complete / "figures" / f"{name}.svg").is_file()
    assert "unweighted" not in (complete / "figures" / "layers.svg").read_text()
