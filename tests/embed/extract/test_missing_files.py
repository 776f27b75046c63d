"""Deleted files: commands that work without them, and cached states that are preserved for them."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import soundfile

from layerprobe.cache.common.errors import StoreError
from layerprobe.cache.identity.digests import DATABASE
from layerprobe.cache.maintenance import prune
from layerprobe.cache.maintenance.catalog import describe_cache, open_stores
from layerprobe.classify.audit.audit import OF_SOUND
from layerprobe.classify.data.dataset import join_labels
from layerprobe.embed.manifest.clips import read_manifest
from tests.run import cli, refused, write_corpus

pytestmark = pytest.mark.slow

EMBED = ("embed", "clips.csv", "--model", "mfcc")


@pytest.fixture(scope="module")
def embedded(tmp_path_factory) -> Path:
    """Eight clips that are cached, one of them twice; one is silent and one never existed."""
    folder = tmp_path_factory.mktemp("missing")
    table = write_corpus(folder, clips=6)
    shutil.copyfile(folder / "clip000.wav", folder / "copy.wav")
    soundfile.write(folder / "silent.wav", np.zeros(8000), 16_000)
    with table.open("a") as file:
        file.write("copy.wav,a,s1\nsilent.wav,b,s1\nnever.wav,a,s2\n")
    # The hash of a file that is younger is not stored.
    assert cli(*EMBED, cwd=folder, settings={"layerprobe.cache.identity.hashing.SETTLED": -1}).returncode == 0
    shutil.copytree(folder, folder.with_name("as_it_was"))
    return folder


@pytest.fixture
def place(embedded) -> Path:
    """That folder in its original state, at the same path."""
    shutil.rmtree(embedded, ignore_errors=True)
    shutil.copytree(embedded.with_name("as_it_was"), embedded)
    return embedded


def clips_and_failures(folder: Path) -> tuple[int, int | None]:
    (store,) = describe_cache(folder / "features").stores
    return store.clips, store.failed


def test_tables_are_joined_without_the_audio(place):
    (place / "clip001.wav").unlink()
    done = cli("manifest", "join", "clips.csv", "--out", "both.csv", cwd=place)
    assert done.returncode == 0, done.stderr
    assert len((place / "both.csv").read_text().splitlines()) == 10


def test_states_of_a_deleted_file_are_still_used(place):
    clips = read_manifest(place / "clips.csv", must_exist=False)
    (store,), _ = open_stores(place / "features")
    before = join_labels(clips, store, target="emotion")
    (place / "clip001.wav").unlink()
    after = join_labels(clips, store, target="emotion")
    assert after.keys == before.keys
    assert after.excluded == before.excluded


def test_a_cache_and_a_table_of_another_machine_suffice(place, tmp_path):
    """Embedded on a server, searched on a laptop, where none of the audio is."""
    clips = read_manifest(place / "clips.csv", must_exist=False)
    before = join_labels(clips, open_stores(place / "features")[0][0], target="emotion")
    laptop = tmp_path / "laptop"
    shutil.copytree(place / "features", laptop / "my features")
    shutil.copy(place / "clips.csv", laptop)
    shutil.rmtree(place)
    (store,), _ = open_stores(laptop / "my features")
    after = join_labels(read_manifest(laptop / "clips.csv", must_exist=False), store, target="emotion")
    assert (after.keys, after.excluded) == (before.keys, before.excluded)
    source = ("clips.csv", "--model", "mfcc", "--cache", "my features")
    done = cli("embed", *source, "--json", cwd=laptop)  # nothing is left to compute
    assert done.returncode == 0, done.stderr
    summary = json.loads(done.stdout)
    assert (summary["embedded"], summary["cached"], summary["copies"]) == (0, 6, 1)
    assert [Path(one["path"]).name for one in summary["failures"]] == ["silent.wav", "never.wav"]
    assert (
        done.stderr.count("note: the sound of 7 clips is not on this machine; the cache has their states")
        == 1
    )
    small = ("--split", "column", "--trials", "1", "--jobs", "1", "--heads", "logreg")
    note = f"was not read; the cache knows it by the same paths below {place}"
    splits = ["train", "train", "dev", "dev", "test", "test", "train", "train", "train"]
    rows = zip((laptop / "clips.csv").read_text().splitlines()[1:], "ababababa", splits, strict=True)
    lines = [f"{row.split(',')[0]},{label},{row.split(',')[2]},{split}" for row, label, split in rows]
    (laptop / "clips.csv").write_text("\n".join(["path,emotion,speaker,split", *lines]) + "\n")
    done = cli("classify", *source, *small, "--out", "run", cwd=laptop)
    assert done.returncode == 0, done.stderr
    assert done.stderr.count(note) == 1
    audit = json.loads((laptop / "run" / "audit.json").read_text())
    assert {finding["item"] for finding in audit["findings"]}.isdisjoint(OF_SOUND)
    assert any(note in line for line in audit["unchecked"])
    done = cli("audit", "clips.csv", "--cache", "my features", cwd=laptop)
    assert (done.returncode, done.stderr.count(note)) == (0, 1)
    assert "nan" not in done.stdout
    done = cli("probe", *source, "--targets", "emotion,duration", cwd=laptop)
    assert done.returncode == 0, done.stderr
    assert done.stderr.count(note) == 1
    done = cli("cache", "export", *source, "--layer", "mfcc", "--out", "x.npz", cwd=laptop)
    assert done.returncode == 0, done.stderr
    assert done.stderr.count(note) == 1
    with np.load(laptop / "x.npz") as exported:
        assert exported["keys"].tolist() == list(before.keys)
    (laptop / "my features" / DATABASE).unlink()
    message = refused(cli("classify", *source, *small, "--out", "other", cwd=laptop))
    assert "their audio is not here, nor known to digests.db of the cache; write into the table" in message


def test_a_line_end_in_a_name_stays_in_one_line(tmp_path):
    broken = tmp_path / "two\nlines.wav"
    broken.write_text("no sound")
    (tmp_path / "clips.jsonl").write_text(json.dumps({"path": broken.name, "emotion": "a"}) + "\n")
    line = refused(cli("embed", "clips.jsonl", "--model", "mfcc", cwd=tmp_path))
    assert r"two\nlines.wav: none of 1 clips could be embedded" in line
    done = cli("embed", "clips.jsonl", "--model", "mfcc", cwd=tmp_path)
    assert done.stderr.count("\n") == 1
    soundfile.write(tmp_path / "good.wav", np.random.default_rng(0).normal(0, 0.1, 8000), 16_000)
    with (tmp_path / "clips.jsonl").open("a") as file:
        file.write(json.dumps({"path": "good.wav", "emotion": "b"}) + "\n")
    done = cli("embed", "clips.jsonl", "--model", "mfcc", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    listed = [one for one in done.stderr.splitlines() if one.startswith("  ")]
    assert len(listed) == 1
    assert r"two\nlines.wav: " in listed[0]


def test_prune_keeps_the_clips_of_deleted_files(place):
    for name in ("clip001.wav", "clip002.wav"):
        (place / name).unlink()
    done = cli("cache", "prune", "--keep", "clips.csv", "--yes", "--json", cwd=place)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {"removed": False, "stores": []}
    assert clips_and_failures(place) == (6, 2)


def test_without_the_hash_database_prune_keeps_clips_by_their_first_path(place):
    (place / "features" / DATABASE).unlink()
    (place / "clip001.wav").unlink()
    rows = (place / "clips.csv").read_text().splitlines()
    (place / "few.csv").write_text("\n".join([*rows[:3], rows[-1]]) + "\n")
    done = cli("cache", "prune", "--keep", "few.csv", "--yes", cwd=place)
    assert done.returncode == 0, done.stderr
    assert clips_and_failures(place) == (2, 1)


def test_prune_stops_at_a_clip_it_cannot_identify(place):
    (place / "features" / DATABASE).unlink()
    (place / "copy.wav").unlink()  # a copy: its states are under the other's path
    line = refused(cli("cache", "prune", "--keep", "clips.csv", "--yes", cwd=place))
    assert "copy.wav: cannot be read, and what is cached of it is not known" in line
    assert clips_and_failures(place) == (6, 2)


def test_segments_of_a_deleted_file_are_kept(place):
    table = place / "parts.csv"
    table.write_text("path,start,end,emotion\nclip005.wav,0,0.5,a\nclip005.wav,0.5,1,b\n")
    assert cli("embed", table, "--model", "mfcc", "--cache", "parts", cwd=place).returncode == 0
    (place / "clip005.wav").unlink()
    (store,), _ = open_stores(place / "parts")
    assert set(store.keys()) <= prune.keys_to_keep(place / "parts", read_manifest(table, must_exist=False))
    other_table = table.with_name("other.csv")
    other_table.write_text("path\nelsewhere.wav\n")
    with pytest.raises(StoreError, match=r"elsewhere.wav: cannot be read, and what is cached"):
        prune.keys_to_keep(place / "parts", read_manifest(other_table, must_exist=False))


def test_failures_of_clips_in_no_table_are_forgotten(place):
    rows = (place / "clips.csv").read_text().splitlines()
    (place / "good.csv").write_text("\n".join(rows[:-2]) + "\n")
    done = cli("cache", "prune", "--keep", "good.csv", "--yes", "--json", cwd=place)
    (pruned,) = json.loads(done.stdout)["stores"]
    assert (pruned["clips to remove"], pruned["failures to forget"]) == (0, 2)
    assert clips_and_failures(place) == (6, 0)


def test_a_failed_clip_is_listed_by_its_path_in_the_table_and_recognised_from_any_working_folder(place):
    (place / "link.wav").symlink_to("silent.wav")
    rows = (place / "clips.csv").read_text()
    (place / "linked.csv").write_text(rows.replace("silent.wav", "link.wav"))
    assert cli("embed", "linked.csv", "--model", "mfcc", "--cache", "other", cwd=place).returncode == 0
    with next(place.glob("other/*/*/failures.csv")).open() as file:
        listed = {row["path"]: row["reason"] for row in csv.DictReader(file)}
    assert str(place / "link.wav") in listed
    moved = place.rename(place.with_name("moved"))  # the entire tree is moved
    (moved / "never.wav").write_bytes((moved / "clip003.wav").read_bytes())
    ((store,), _) = open_stores(moved / "other")
    data = join_labels(read_manifest(moved / "linked.csv"), store, target="emotion")
    assert list(data.excluded) == ["link.wav"]
    assert "silent" in data.excluded["link.wav"]
