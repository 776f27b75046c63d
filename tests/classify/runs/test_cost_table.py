"""What runs cost: totals, unknown costs, prices, the break-even, the figure, the command."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from layerprobe.cache.common.errors import InputError
from layerprobe.classify.runs.compare import compare
from layerprobe.classify.runs.cost_figure import draw_cost
from layerprobe.classify.runs.cost_table import Prices, break_even, run_cost
from layerprobe.classify.runs.run_folder import write_csv
from tests.classify.runs.test_compare import guesses, write_run
from tests.run import cli, refused

GB = 10**9
SEARCH: dict[str, Any] = {
    "wall_s": 600.0,
    "device": "cpu",
    "device_s": 600.0,
    "peak_memory_bytes": 2 * GB,
    "peak_device_bytes": None,
}
EXTRACTION: dict[str, Any] = {
    **SEARCH,
    "wall_s": 200.0,
    "device": "H200",
    "device_s": 100.0,
    "peak_device_bytes": 5 * GB,
    "energy_j": 7200.0,
}
HEADS: dict[str, Any] = {
    "kind": "classify",
    "cost": {**SEARCH, "trained_parameters": 300, "energy_j": None, "extraction": EXTRACTION},
}
TUNED: dict[str, Any] = {
    "kind": "finetune",
    "cost": {
        "wall_s": 7200.0,
        "device": "H200",
        "device_s": 7200.0,
        "peak_memory_bytes": 4 * GB,
        "peak_device_bytes": 60 * GB,
        "trained_parameters": 90_000_000,
        "energy_j": 3_600_000.0,
    },
}


def with_cost(run: Path, more: dict[str, Any], *, trials: int | None = None) -> Path:
    """Add costs to a run's record, and the number of trials to its results."""
    record = json.loads((run / "run.json").read_text())
    (run / "run.json").write_text(json.dumps({**record, **more}))
    if trials is not None:
        write_csv(run / "results.csv", ("fold", "trials"), [(0, trials - 1), (1, 1)])
    return run


@pytest.fixture
def runs(tmp_path) -> list[Path]:
    heads = with_cost(write_run(tmp_path / "heads", guesses(0.7, seed=1)), HEADS, trials=300)
    return [heads, with_cost(write_run(tmp_path / "tuned", guesses(0.75, seed=2)), TUNED, trials=0)]


def test_heads_cost_their_search_and_their_extraction():
    cost = run_cost(HEADS, Prices(gpu_hour=3.6, cpu_hour=0.36))
    assert (cost.own_s, cost.extraction_s, cost.wall_s) == (600, 200, 800)
    assert (cost.device, cost.device_s) == ("H200 + cpu", 100)
    assert (cost.peak_memory_bytes, cost.peak_device_bytes) == (2 * GB, 5 * GB)
    assert (cost.trained_parameters, cost.energy_j) == (300, 7200)
    assert cost.euros == pytest.approx(100 * 0.001 + 600 * 0.0001)


def test_a_fine_tuning_costs_no_extraction():
    cost = run_cost(TUNED, Prices(gpu_hour=3.6))
    assert (cost.own_s, cost.extraction_s, cost.wall_s, cost.device_s) == (7200, 0, 7200, 7200)
    assert (cost.energy_j, cost.euros) == (3_600_000, pytest.approx(7.2))


def test_an_unknown_cost_is_none_and_not_zero():
    bare = {**HEADS["cost"], "extraction": None}
    cost = run_cost({**HEADS, "cost": bare}, Prices(gpu_hour=1.0, cpu_hour=1.0))
    assert (cost.own_s, cost.extraction_s, cost.wall_s, cost.euros) == (600, None, None, None)
    silent = run_cost({**TUNED, "cost": {**TUNED["cost"], "energy_j": None}}, Prices())
    assert (silent.energy_j, silent.euros) == (None, None)
    early = run_cost(
        {"kind": "classify", "seconds": {"search": 9.0}, "peak_memory": {"main": 5, "worker": 7}}, Prices()
    )
    assert (early.own_s, early.extraction_s, early.peak_memory_bytes, early.device) == (9, None, 7, None)
    nothing = run_cost({"kind": "classify"}, Prices())
    assert (nothing.own_s, nothing.wall_s, nothing.euros) == (None, None, None)


def test_how_many_trials_fit_into_a_fine_tuning(runs):
    costs = [(run, run_cost(json.loads((run / "run.json").read_text()), Prices())) for run in runs]
    (even,) = break_even(costs)
    assert (even.made, even.seconds_per_trial) == (300, 2.0)
    assert even.trials == (7200 - 200) / 2
    assert even.times == 7200 / 800
    assert even.extraction_known
    assert break_even(costs[:1]) == []


def test_runs_without_costs_can_be_compared(tmp_path):
    a, b = (write_run(tmp_path / name, guesses(0.7, seed=s)) for s, name in enumerate("ab"))
    comparison = compare([a, b])
    assert [cost.wall_s for cost in comparison.costs] == [None, None]
    assert (comparison.break_even, comparison.notes) == ((), ())
    with pytest.raises(InputError, match="the cost of fewer than two of the runs is known"):
        draw_cost(comparison, tmp_path / "cost.svg")


def test_limits_of_the_comparison_are_noted(runs):
    comparison = compare(runs, prices=Prices(gpu_hour=2.0))
    assert any("--euros-per-cpu-hour" in note for note in comparison.notes)
    with_cost(runs[0], {"cost": {**HEADS["cost"], "extraction": None}, "hardware": {"cores": 2}})
    with_cost(runs[1], {"hardware": {"cores": 16}})
    notes = "; ".join(compare(runs).notes)
    assert "the cost of the extraction is unknown for" in notes
    assert "different machines" in notes


@pytest.mark.parametrize("prices", [Prices(), Prices(gpu_hour=3.0, cpu_hour=0.3)])
def test_the_figure_is_deterministic_and_checks_its_name(runs, tmp_path, prices):
    text = draw_cost(compare(runs, prices=prices), tmp_path / "cost.svg").read_text()
    assert text.lstrip().startswith("<?xml")
    assert draw_cost(compare(runs, prices=prices), tmp_path / "again.svg").read_text() == text
    with pytest.raises(InputError, match=r"--figure .*cost\.txt; end the name in \.svg"):
        draw_cost(compare(runs), tmp_path / "cost.txt")


def test_the_command_prints_costs(runs, tmp_path):
    prices = ("--euros-per-hour", 3.6, "--euros-per-cpu-hour", 0.36)
    done = cli("compare", *runs, *prices, "--figure", tmp_path / "cost.png")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "cost.png").read_bytes()[:4] == b"\x89PNG"
    for words in (
        "cost; empty cells are unknown or do not apply",
        "2:00:00",
        "0:03:20",
        "90,000,000",
        "1000.0 Wh",
        "7.20",
        "3,500 trials of the heads",
    ):
        assert words in done.stdout, words
    comparison = json.loads(cli("compare", *runs, *prices, "--json").stdout)
    assert comparison["bills"][1]["euros"] == pytest.approx(7.2)
    assert comparison["break_even"][0]["trials"] == 3500
    cheap = cli("compare", *runs, "--euros-per-hour", 0.1, "--euros-per-cpu-hour", 0.1).stdout
    assert "0.019" in cheap  # not 0.02
    assert "--euros-per-hour -1" in refused(cli("compare", *runs, "--euros-per-hour", -1))
