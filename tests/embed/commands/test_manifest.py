"""`manifest` as a user runs it: nothing is overwritten unasked, and names are printed safely."""

from __future__ import annotations

from pathlib import Path

import pytest

from layerprobe.embed.manifest.clips import read_manifest
from tests.run import cli, refused, write_corpus
from tests.trees import touch


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    touch(tmp_path / "SPEECH", "calm/a.wav", "lively/b.wav")
    (tmp_path / "mine.csv").write_text("path,emotion\nSPEECH/calm/a.wav,labelled by hand\n")
    return tmp_path


def test_an_existing_table_is_replaced_only_with_force(folder):
    command = ("manifest", "folder", "SPEECH", "--out", "mine.csv")
    before = (folder / "mine.csv").read_text()
    line = refused(cli(*command, cwd=folder))
    assert line == "error: mine.csv: exists already; choose another --out, or replace it with --force"
    assert (folder / "mine.csv").read_text() == before
    assert cli(*command, "--force", cwd=folder).returncode == 0
    assert [clip.labels["emotion"] for clip in read_manifest(folder / "mine.csv")] == ["calm", "lively"]


def test_join_never_overwrites_what_it_reads(folder):
    (folder / "other.csv").write_text("path,emotion\nSPEECH/lively/b.wav,x\n")
    (folder / "link.csv").symlink_to("mine.csv")
    before = (folder / "mine.csv").read_text()
    for out in ("mine.csv", "link.csv"):
        line = refused(cli("manifest", "join", "mine.csv", "other.csv", "--force", "--out", out, cwd=folder))
        assert f"{out}: is read by this command and would be overwritten" in line
    assert (folder / "mine.csv").read_text() == before
    assert "exists already" in refused(cli("manifest", "join", "mine.csv", "--out", "other.csv", cwd=folder))


def test_export_overwrites_neither_its_table_nor_unasked_any_file(tmp_path):
    table = write_corpus(tmp_path, clips=2)
    before = table.read_bytes()
    assert cli("embed", table, "--model", "mfcc", cwd=tmp_path).returncode == 0
    export = ("cache", "export", "clips.csv", "--model", "mfcc", "--layer", "mfcc", "--format", "npz")
    for force in ([], ["--force"]):
        line = refused(cli(*export, *force, "--out", "clips.csv", cwd=tmp_path))
        assert "clips.csv: is read by this command" in line
    assert table.read_bytes() == before
    (tmp_path / "x.npz").write_text("mine")
    assert "x.npz: exists already" in refused(cli(*export, "--out", "x.npz", cwd=tmp_path))
    assert cli(*export, "--out", "x.npz", "--force", cwd=tmp_path).returncode == 0


def test_labels_and_file_names_are_printed_without_control_characters(tmp_path):
    touch(tmp_path / "SPEECH", "\x1b[31mcalm/a.wav", "lively/b\x1b]0;x\x07.m4a", "lively/c.wav")
    done = cli("manifest", "folder", "SPEECH", "--out", "t.csv", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert r"\x1b[31mcalm" in done.stdout
    assert "\x1b" not in done.stdout + done.stderr
    assert {clip.labels["emotion"] for clip in read_manifest(tmp_path / "t.csv")} == {
        "\x1b[31mcalm",
        "lively",
    }
    line = refused(cli("embed", "no\x1b[2Jsuch.csv", "--model", "mfcc", cwd=tmp_path))
    assert r"no\x1b[2Jsuch.csv" in line


def test_labels_that_are_formulas_are_text_in_the_table(tmp_path):
    touch(tmp_path / "SPEECH", "=1+1/a.wav", "-1/b.wav")
    assert cli("manifest", "folder", "SPEECH", "--out", "t.csv", cwd=tmp_path).returncode == 0
    assert (tmp_path / "t.csv").read_text().splitlines()[1:] == [
        "'-1/b.wav,SPEECH/-1/b.wav,,-1",
        "'=1+1/a.wav,SPEECH/=1+1/a.wav,,'=1+1",
    ]
    assert {clip.labels["emotion"] for clip in read_manifest(tmp_path / "t.csv")} == {"=1+1", "-1"}
