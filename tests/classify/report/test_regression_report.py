from __future__ import annotations

import json
from pathlib import Path

import pytest

from layerprobe.cache.common.errors import InputError
from layerprobe.classify.config import EvaluationConfig
from layerprobe.classify.controls.evaluation import run_and_evaluate
from layerprobe.classify.report.run_data import read_run
from layerprobe.classify.report.write import write_report
from tests.regressions import number_clips, number_study, page_data

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("numbers")
    clips, store = number_clips(folder)
    command = {"table": str(folder / "clips.csv"), "path_column": None, "speaker_column": None}
    study, cheap = number_study(heads=("ridge", "mean"), trials=2), EvaluationConfig(controls="cheap")
    run_and_evaluate(clips, store, folder / "run", study, command=command, evaluation=cheap)
    return folder / "run"


def test_a_page_of_numbers_has_a_scatter_and_no_confusion(run: Path, few_figures: None) -> None:
    page = write_report([run], run / "report")
    text = page.read_text()
    assert all(page_data(page, name) for name in ("layers", "controls", "probes"))
    assert page_data(page, "confusion") is None
    assert len(page_data(page, "scatter")["data"][0]["x"]) == 72
    assert "CCC 0." in text
    assert "numbers from" in text
    assert (run / "report" / "figures" / "scatter-two-columns.svg").stat().st_size > 1000
    hardest = (run / "report" / "tables" / "hardest.md").read_text()
    assert "| error |" in hardest
    scores = (run / "report" / "tables" / "scores.md").read_text()
    for name in ("CCC", "Pearson", "Spearman", "RMSE", "MAE"):
        assert name in scores
    assert not (run / "report" / "tables" / "confusion.md").exists()
    assert page_data(page, "map")["colours"]["arousal"]["groups"][0].startswith("up to")


def test_predictions_that_do_not_fit_the_summary_are_an_error(run: Path) -> None:
    path = run / "summary.json"
    before = path.read_text()
    summary = json.loads(before)
    summary["selected"]["ccc"]["value"] += 0.01
    path.write_text(json.dumps(summary))
    try:
        with pytest.raises(InputError, match=r"does not fit summary\.json: its score is another"):
            read_run(run)
    finally:
        path.write_text(before)
