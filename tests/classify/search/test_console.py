from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from layerprobe.classify.controls.console import print_summary
from layerprobe.classify.search.console import format_params, remarks


def score(value: float) -> dict[str, float]:
    return {"value": value, "low": value - 0.1, "high": value + 0.1}


def made(*, layers: int = 2, metric: str = "uar") -> dict[str, Any]:
    """A summary of two outer folds that chose differently."""
    params = {"kernel": "rbf", "C": 3.0, "class_weight": "none", "stats": "mean", "scaling": "l2", "pca": 0}
    folds = [
        {"fold": fold, "layer": str(fold), "head": "svm", "inner_score": 0.61, "uar": 0.52, "params": params}
        for fold in range(2)
    ]
    return {
        "selected": {
            "uar": score(0.5), "accuracy": score(0.55), "layer": "0", "head": "svm", "split": "speaker",
            "stability": {"layer": 0.5, "head": 1.0, "system": 0.5}, "folds": folds,
            "macro_f1": score(0.51), "log_loss": 0.9, "calibration_error": 0.07,
            "over_folds": {
                name: {"mean": 0.52, "sd": 0.04}
                for name in ("uar", "accuracy", "macro_f1", "log_loss", "calibration_error")
            },
            "over_speakers": {name: score(0.45) for name in ("uar", "accuracy", "macro_f1")},
            "classes": [
                {"class": name, "clips": 10, "recall": recall, "precision": precision}
                for name, recall, precision in (("calm", 0.8, 0.667), ("cross", 0.6, None))
            ],
            "confusion": {"counts": [[8, 2], [4, 6]], "rates": [[0.8, 0.2], [0.4, 0.6]]},
        },
        "layers": [
            {"layer": str(i), "head": "svm", metric: score(0.3 + i / 100), "uar": score(0.4 + i / 100)}
            for i in range(layers)
        ],
        "near_best": [{"layer": "0", "head": "svm"}, {"layer": str(layers - 1), "head": "svm"}],
        "audit": {"test_clips_of_training_speakers": 0.0},
        "data": {"excluded": {"count": 0, "reasons": {}}, "speakers": 12},
        "chance": 1 / 3,
        "metric": metric,
        "notes": [],
    }  # fmt: skip


def printed(
    summary: dict[str, Any], capsys: pytest.CaptureFixture[str], out: Path = Path("run")
) -> list[str]:
    print_summary(out, summary, as_json=False)
    return capsys.readouterr().out.splitlines()


def test_the_table_is_sorted_and_marks_what_is_within_noise(capsys: pytest.CaptureFixture[str]) -> None:
    lines = printed(made(layers=3), capsys)
    assert [line.split()[0] for line in lines[2:5]] == ["2", "1", "0"]
    assert lines[2].endswith("best")
    assert lines[3].endswith("]")
    assert lines[4].endswith("within noise of the best")
    assert "2 of 3 layers and heads are within noise of the best" in lines


def test_noise_in_another_metric_names_it(capsys: pytest.CaptureFixture[str]) -> None:
    summary = made(metric="macro_f1")
    summary["layers"][0]["macro_f1"] = score(0.36)  # above the other, whose UAR is higher
    lines = printed(summary, capsys)
    assert lines[2].endswith("best (macro F1)")
    assert not lines[2].endswith("within noise of the best (macro F1)")
    assert lines[3].endswith("within noise of the best (macro F1)")
    assert "inner macro F1" in "".join(lines)
    assert re.split(" {2,}", lines[0])[:5] == ["layer", "head", "UAR", "95 % interval", "macro F1"]
    assert [re.split(" {2,}", lines[2])[i] for i in (2, 4)] == ["0.400", "0.360"]


def test_a_run_of_an_earlier_version_is_printed_without_the_other_metric(
    capsys: pytest.CaptureFixture[str],
) -> None:
    summary = made(metric="macro_f1")
    for row in summary["layers"]:
        del row["macro_f1"]
    assert "macro F1" not in printed(summary, capsys)[0]


def test_the_selection_is_printed_by_fold_with_its_stability(capsys: pytest.CaptureFixture[str]) -> None:
    lines = printed(made(), capsys)
    folds = [line.split(maxsplit=5) for line in lines if "rbf" in line]
    assert folds == [
        ["0", "0", "svm", "0.610", "0.520", "rbf, C 3, mean, l2"],
        ["1", "1", "svm", "0.610", "0.520", "rbf, C 3, mean, l2"],
    ]
    assert "  most often svm on layer 0: 1 of 2 folds; same layer in 1, same head in 2" in lines
    assert "  UAR 0.500 [0.400, 0.600], accuracy 0.550, chance 0.333" in lines


def test_every_score_is_printed_and_named(capsys: pytest.CaptureFixture[str]) -> None:
    lines = [re.split(" {2,}", line) for line in printed(made(), capsys)]
    assert ["score", "folds pooled", "mean of folds", "mean of speakers"] in lines
    assert ["UAR", "0.500 [0.400, 0.600]", "0.520 ± 0.040", "0.450 [0.350, 0.550]"] in lines
    assert ["macro F1", "0.510 [0.410, 0.610]", "0.520 ± 0.040", "0.450 [0.350, 0.550]"] in lines
    assert ["log loss", "0.900", "0.520 ± 0.040"] in lines
    assert ["calibration error", "0.070", "0.520 ± 0.040"] in lines
    assert ["class", "clips", "recall", "precision", "as calm", "as cross"] in lines
    assert ["calm", "10", "0.800", "0.667", "8 (0.80)", "2 (0.20)"] in lines
    assert ["cross", "10", "0.600", "4 (0.40)", "6 (0.60)"] in lines  # nothing else was predicted for it


def test_a_single_fold_and_no_speakers_leave_their_columns_out(capsys: pytest.CaptureFixture[str]) -> None:
    summary = made()
    summary["data"]["speakers"] = summary["selected"]["over_speakers"] = None
    del summary["selected"]["folds"][1:]
    for entry in summary["selected"]["over_folds"].values():
        entry["sd"] = None
    lines = printed(summary, capsys)
    assert "Scores of the selected system; [95 % over clips], ± s.d. of the folds:" in lines
    assert "accuracy           0.550 [0.450, 0.650]" in lines


@pytest.mark.parametrize("columns", [80, 120])
def test_no_line_of_a_table_is_wider_than_the_terminal(
    columns: int, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    summary = made(layers=30)
    for fold in summary["selected"]["folds"]:
        fold["params"] = {f"a_long_name_{i}": 0.123456 for i in range(12)}
    for entry in summary["selected"]["classes"]:
        entry["class"] += " and many words more"
    lines = printed(summary, capsys)
    assert max(map(len, lines)) <= columns
    assert sum(line.endswith("…") for line in lines) == 2
    assert "… and 18 more in run/summary.json" in lines


def test_remarks_on_notes_leaks_and_excluded_clips() -> None:
    summary = made()
    assert remarks(summary) == []
    summary["audit"]["test_clips_of_training_speakers"] = 0.998
    summary["data"]["excluded"] = {"count": 1, "reasons": {"not embedded: silent": 1}}
    summary["notes"] = ["kernels are approximated"]
    leak, excluded, note = remarks(summary)
    assert leak.startswith("99.8% of the test clips")
    assert excluded == "1 clip in neither training nor test: 1 not embedded: silent"
    assert note == "kernels are approximated"


@pytest.mark.parametrize(
    ("speakers", "expected"),
    [
        (None, []),
        (1, ["a single speaker cannot be resampled: there are no intervals"]),
        (5, ["with only 5 speakers the intervals are wide: they say little about new speakers"]),
        (6, []),
    ],
)
def test_intervals_over_few_speakers_are_explained(speakers: int | None, expected: list[str]) -> None:
    summary = made()
    summary["data"]["speakers"] = speakers
    assert remarks(summary) == expected


def test_figures_are_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "figures").mkdir()
    (tmp_path / "figures" / "layers.svg").touch()
    assert printed(made(), capsys, tmp_path)[-1] == f"figure      {tmp_path}/figures/layers.svg"


def test_parameters_in_short() -> None:
    text = format_params(
        {"stats": "mean+std", "pca": 32, "learning_rate": 0.123456, "rounds": 50.0, "lora": True}
    )
    assert text == "learning rate 0.123, rounds 50, lora, mean+std, pca 32"


@pytest.mark.parametrize("classes", [8, 12])
def test_confusions_of_many_classes_fit_into_80_columns(
    classes: int, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    summary = made()
    names = [f"{'abcdefghijkl'[k]}-emotion" for k in range(classes)]
    counts = [[100 * (i == j) + i + j for j in range(classes)] for i in range(classes)]
    summary["selected"]["classes"] = [
        {"class": name, "clips": 10, "recall": 0.5, "precision": 0.5} for name in names
    ]
    summary["selected"]["confusion"] = {"counts": counts, "rates": [[0.5] * classes] * classes}
    lines = printed(summary, capsys)
    assert max(map(len, lines)) <= 80
    start = lines.index("Clips of each class (row) by predicted class:")
    assert lines[start + 1].split()[1:] != names  # shortened, but numbered
    for number, name in enumerate(names):
        row = lines[start + 3 + number].split()
        assert row[:2] == [str(number + 1), name]
        assert row[2:] == [str(count) for count in counts[number]]
