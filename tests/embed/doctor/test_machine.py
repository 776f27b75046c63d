"""`doctor` without a model: each part of the machine is checked, and a fault has a mend."""

from __future__ import annotations

import json

import pytest

from layerprobe.embed.config import EmbedConfig
from layerprobe.embed.doctor import machine
from layerprobe.embed.doctor.machine import check_machine, requirements
from layerprobe.embed.extract.run import embed
from layerprobe.embed.manifest.clips import read_manifest
from tests.run import cli, write_corpus


def lines(folder, item: str) -> list[machine.MachineCheck]:
    return [check for check in check_machine(folder) if check.item == item]


def test_a_healthy_machine_has_no_faults_and_each_part_a_line(tmp_path):
    done = cli("doctor", "--cache", tmp_path, "--json")
    checks = json.loads(done.stdout)
    faults = [check for check in checks if check["status"] == "fault" and check["item"] != "GPU"]
    assert not faults
    items = {check["item"] for check in checks}
    assert {"versions", "packages", "processor", "precision", "sound", "cache", "disk", "hub"} <= items
    assert "torch 2.11" in next(check["found"] for check in checks if check["item"] == "packages")


def test_the_stores_of_a_cache_are_counted_and_a_broken_one_is_a_fault(tmp_path):
    table = write_corpus(tmp_path, clips=3)
    summary = embed(read_manifest(table), EmbedConfig(model="mfcc", cache=tmp_path / "features"))
    (healthy,) = lines(tmp_path / "features", "cache")
    assert (healthy.status, "1 store, 3 clips" in healthy.found) == ("ok", True)
    (summary.store / "extraction.json").write_text("{")
    broken = [check for check in lines(tmp_path / "features", "cache") if check.status == "fault"]
    assert len(broken) == 1
    assert "extraction.json" in broken[0].found
    assert broken[0].do
    done = cli("doctor", "--cache", tmp_path / "features")
    assert done.returncode == 1
    assert f"→ {broken[0].do}" in done.stdout
    assert done.stdout.rstrip().endswith("1 fault")


def test_a_package_of_another_version_or_missing_is_a_fault(tmp_path, monkeypatch):
    wrong = (
        {"numpy": "<1.0", "no-such-package": ">=2"},
        {"serve": ["no-such-package"], "all-there": ["numpy"]},
    )
    monkeypatch.setattr(machine, "requirements", lambda: wrong)
    faults = [check for check in lines(tmp_path, "packages") if check.status == "fault"]
    assert [check.do for check in faults] == ["pip install 'numpy<1.0'", "pip install 'no-such-package>=2'"]
    extras = lines(tmp_path, "extras")
    assert [check.status for check in extras] == ["ok", "note"]
    assert "pip install 'layerprobe[serve]'" in extras[1].do


def test_a_check_that_fails_is_a_line_and_the_others_are_made(tmp_path, monkeypatch):
    def broken(_):
        raise OSError("libsndfile.so.1: cannot open shared object file")

    monkeypatch.setitem(machine.CHECKS, "sound", broken)
    (sound,) = lines(tmp_path, "sound")
    assert sound.status == "fault"
    assert "libsndfile.so.1" in sound.found
    assert lines(tmp_path, "disk")


@pytest.mark.parametrize("free", [1 << 20, 1 << 40])
def test_little_disk_space_is_a_note(tmp_path, monkeypatch, free):
    monkeypatch.setattr(machine, "free_bytes", lambda _: free)
    assert {check.status for check in lines(tmp_path, "disk")} == {"note" if free < 1 << 30 else "ok"}


def test_the_extras_are_those_of_the_project():
    required, extras = requirements()
    assert {"torch", "h5py", "scikit-learn"} <= set(required)
    assert "umap-learn" in extras["umap"]
    assert not {"dev", "all"} & set(extras)
