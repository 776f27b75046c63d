"""Path cells and the files they stand for."""

from __future__ import annotations

from pathlib import Path

import pytest

from layerprobe.embed.manifest.tables import PathCells, missing_files


def test_below_beside_and_elsewhere(tmp_path):
    folder = tmp_path.resolve() / "project" / "tables"
    folder.mkdir(parents=True)
    places = PathCells(folder / "clips.csv")
    for file, cell in [
        (folder / "wav" / "a.wav", "wav/a.wav"),
        (folder.parent / "audio" / "a.wav", "../audio/a.wav"),
        (tmp_path.resolve() / "corpus" / "a.wav", f"{tmp_path.resolve()}/corpus/a.wav"),
    ]:
        assert places.cell(file) == cell
        assert places.file(cell) == file


def test_cells_do_not_climb_to_the_root():
    assert PathCells(Path("/clips/clips.csv")).cell(Path("/corpus/a.wav")) == "/corpus/a.wav"


def test_a_table_behind_a_symbolic_link(tmp_path):
    real = tmp_path.resolve() / "deep" / "real"
    real.mkdir(parents=True)
    (real / "own.wav").write_bytes(b"")
    (real.parent / "a.wav").write_bytes(b"")
    link = tmp_path.resolve() / "link"
    link.symlink_to(real)
    places = PathCells(link / "clips.csv")
    assert places.file("../a.wav").samefile(real.parent / "a.wav")
    beside = tmp_path.resolve() / "b.wav"
    assert places.cell(beside) == str(beside)
    assert places.cell(link / "own.wav") == "own.wav"


def test_a_linked_file_keeps_its_own_name(tmp_path):
    (tmp_path / "blob").write_bytes(b"")
    (tmp_path / "a.wav").symlink_to(tmp_path / "blob")
    assert PathCells(tmp_path / "clips.csv").cell(tmp_path / "a.wav") == "a.wav"


def test_absent(tmp_path):
    (tmp_path / "a.wav").write_bytes(b"")
    (tmp_path / "folder.wav").mkdir()
    (tmp_path / "dangling.wav").symlink_to(tmp_path / "nowhere")
    (tmp_path / "linked.wav").symlink_to(tmp_path / "a.wav")
    names = [
        "a.wav",
        "linked.wav",
        "folder.wav",
        "dangling.wav",
        "gone.wav",
        "no/such/folder.wav",
        "a.wav/b.wav",
    ]
    gone = missing_files(tmp_path / name for name in names)
    assert list(gone) == [tmp_path / name for name in names[2:]]
    assert "is a folder" in gone[tmp_path / "folder.wav"]
    assert missing_files([]) == {}


def test_relative_files_are_looked_for_in_the_working_folder(tmp_path, monkeypatch):
    (tmp_path / "a.wav").write_bytes(b"")
    (tmp_path / "b.wav").write_bytes(b"")
    monkeypatch.chdir(tmp_path)
    assert list(missing_files([Path("a.wav"), Path("b.wav"), Path("c.wav")])) == [Path("c.wav")]


@pytest.mark.parametrize("count", [1, 2])
def test_a_folder_that_may_be_entered_but_not_listed(tmp_path, count):
    hidden = tmp_path / "hidden"
    hidden.mkdir()
    files = [hidden / f"{i}.wav" for i in range(count)]
    for file in files:
        file.write_bytes(b"")
    hidden.chmod(0o100)
    try:
        assert missing_files([*files, hidden / "gone.wav"]) == {
            hidden / "gone.wav": f"no such file: {hidden}/gone.wav"
        }
    finally:
        hidden.chmod(0o700)
