"""Costs: meters, a store's costs.csv, and a run's share of the extraction."""

from __future__ import annotations

import json
import time

import pytest
import torch

from layerprobe.cache.common.errors import StoreError
from layerprobe.cache.common.metering import Cost, Meter, energy_counter
from layerprobe.cache.store import costs
from layerprobe.cache.store.costs import ExtractionCost
from layerprobe.classify.config import StudyConfig
from layerprobe.classify.search.study import run_study
from layerprobe.embed.config import EmbedConfig
from layerprobe.embed.extract.run import embed
from layerprobe.embed.manifest.clips import read_manifest
from layerprobe.embed.models.device import DeviceMeter
from tests.run import cli, write_corpus
from tests.studies import made_clips, made_store

FIRST = ExtractionCost(
    clips=4, seconds=10.0, cost=Cost(wall_s=5.0, device_s=5.0, peak_memory_bytes=100, energy_j=40.0)
)
SECOND = ExtractionCost(
    clips=6, seconds=30.0, cost=Cost(wall_s=7.0, device_s=7.0, peak_memory_bytes=300, energy_j=20.0)
)


def test_costs_survive_a_round_trip(tmp_path):
    assert costs.read(tmp_path) == []
    assert costs.prorated_cost(tmp_path, seconds=1.0) is None
    for run in (FIRST, SECOND):
        costs.append(tmp_path, run)
    assert costs.read(tmp_path) == [FIRST, SECOND]


def test_costs_are_prorated_by_seconds_of_audio(tmp_path):
    for run in (FIRST, SECOND):
        costs.append(tmp_path, run)
    half = costs.prorated_cost(tmp_path, seconds=20.0)
    assert half == Cost(wall_s=6.0, device_s=6.0, peak_memory_bytes=300, energy_j=30.0)


def test_energy_is_unknown_unless_every_run_recorded_it(tmp_path):
    costs.append(tmp_path, FIRST)
    costs.append(
        tmp_path, ExtractionCost(clips=1, seconds=1.0, cost=Cost(wall_s=1.0, device="H200", device_s=1.0))
    )
    cost = costs.prorated_cost(tmp_path, seconds=11.0)
    assert cost is not None
    assert (cost.energy_j, cost.device, cost.wall_s) == (None, "cpu, H200", 6.0)


def test_a_damaged_table_is_refused(tmp_path):
    (tmp_path / costs.FILE_NAME).write_text("clips,seconds\n1,2\n")
    with pytest.raises(StoreError, match=r"costs\.csv: not a table of costs.*delete it"):
        costs.read(tmp_path)


def test_a_meter_counts_from_the_given_start():
    cost = Meter(began=time.perf_counter() - 100).read()
    assert cost.wall_s >= 100
    assert cost.device_s == cost.wall_s
    assert (cost.peak_memory_bytes or 0) > 1 << 20
    assert (cost.energy_j, cost.peak_device_bytes) == (None, None)


def test_the_energy_of_a_missing_gpu_is_unknown():
    assert energy_counter("GPU-00000000-0000-0000-0000-000000000000") is None


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_gpu_reports_its_name_and_memory():
    device = torch.device("cuda:0")
    meter = DeviceMeter(device)
    held = torch.ones(1 << 20, device=device)
    cost = meter.read()
    assert cost.device == torch.cuda.get_device_name(device)
    assert (cost.peak_device_bytes or 0) >= held.nbytes


def test_embedding_records_its_cost_only_if_it_computed_states(tmp_path):
    clips = read_manifest(write_corpus(tmp_path, clips=4))
    config = EmbedConfig(model="mfcc", cache=tmp_path / "cache", device="cpu")
    done = embed(clips, config)
    embed(clips, config)
    (run,) = costs.read(done.store)
    assert (run.clips, run.cost.device) == (4, "cpu")
    assert run.seconds == pytest.approx(done.seconds)
    assert run.cost.wall_s >= done.elapsed


def test_a_study_reports_its_search_and_its_share_of_the_extraction(tmp_path):
    clips = made_clips(tmp_path / "a")
    store = made_store(tmp_path / "cache", clips)
    config = StudyConfig(heads=("logreg",), folds=2, inner_folds=2, trials=1, jobs=1)
    unknown = run_study(clips, store, tmp_path / "unknown", config)
    assert json.loads((unknown / "run.json").read_text())["cost"]["extraction"] is None
    # 72 clips of a second each, of the 144 recorded
    costs.append(store.folder, ExtractionCost(clips=144, seconds=144.0, cost=Cost(wall_s=9.0, device_s=9.0)))
    out = run_study(clips, store, tmp_path / "known", config)
    run = json.loads((out / "run.json").read_text())
    cost = run["cost"]
    assert cost["extraction"]["wall_s"] == pytest.approx(4.5)
    assert cost["wall_s"] == run["seconds"]["search"] > 0
    assert cost["device"] == "cpu"
    params = [row["params"] for row in json.loads((out / "summary.json").read_text())["selected"]["folds"]]
    columns = [one["pca"] or 6 * len(one["stats"].split("+")) for one in params]
    assert cost["trained_parameters"] == max((column + 1) * 3 for column in columns)


def test_a_support_vector_machine_has_no_number_of_parameters(tmp_path):
    clips = made_clips(tmp_path / "a")
    store = made_store(tmp_path / "cache", clips)
    config = StudyConfig(heads=("svm",), layers=("0",), folds=2, inner_folds=2, trials=1, jobs=1)
    out = run_study(clips, store, tmp_path / "run", config)
    assert json.loads((out / "run.json").read_text())["cost"]["trained_parameters"] is None


def test_seconds_of_an_interrupted_run_count(tmp_path):
    clips = made_clips(tmp_path / "a")
    store = made_store(tmp_path / "cache", clips)
    out = tmp_path / "run"
    config = StudyConfig(heads=("logreg",), folds=2, inner_folds=2, trials=1, jobs=1)
    run_study(clips, store, out, config)
    run = json.loads((out / "run.json").read_text())
    (out / "run.json").write_text(json.dumps({**run, "finished": False}))
    (out / "outcomes").mkdir()
    (out / "outcomes" / "spent.json").write_text('{"seconds": 1000}')
    run_study(clips, store, out, config)
    assert json.loads((out / "run.json").read_text())["cost"]["wall_s"] >= 1000


def test_a_damaged_table_does_not_fail_a_run_and_is_replaced(tmp_path):
    table, where = write_corpus(tmp_path, clips=2), ("--cache", tmp_path / "features")
    assert cli("embed", table, "--model", "mfcc", *where).returncode == 0
    (table_of_costs,) = tmp_path.glob("features/*/*/costs.csv")
    table_of_costs.write_text("junk\n")
    next(table_of_costs.parent.glob("shard-*")).unlink()
    again = cli("embed", table, "--model", "mfcc", *where)
    assert again.returncode == 0, again.stderr
    assert [run.clips for run in costs.read(table_of_costs.parent)] == [2]
