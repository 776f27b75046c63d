"""Path cells and the files they name."""

from __future__ import annotations

from pathlib import Path

import pytest

from layerprobe.embed.manifest.tables import PathCells, missing_files


def test_paths_inside_next_to_and_outside_the_folder(tmp_path):
    folder = tmp_path.resolve() / "project" / "tables"
    folder.mkdir(parents=True)
    cells = PathCells(folder / "clips.csv")
    for file, cell in [
        (folder / "wav" / "a.wav", "wav/a.wav"),
        (folder.parent / "audio" / "a.wav", "../audio/a.wav"),
        (tmp_path.resolve() / "corpus" / "a.wav", f"{tmp_path.resolve()}/corpus/a.wav"),
    ]:
        assert cells.to_cell(file) == cell
        assert cells.to_file(cell) == file


def test_cells_do_not_climb_to_the_root():
    assert PathCells(Path("/clips/clips.csv")).to_cell(Path("/corpus/a.wav")) == "/corpus/a.wav"


def test_a_table_behind_a_symbolic_link(tmp_path):
    real = tmp_path.resolve() / "deep" / "real"
    real.mkdir(parents=True)
    (real / "own.wav").write_bytes(b"")
    (real.parent / "a.wav").write_bytes(b"")
    link = tmp_path.resolve() / "link"
    link.symlink_to(real)
    cells = PathCells(link / "clips.csv")
    assert cells.to_file("../a.wav").samefile(real.parent / "a.wav")
    outside = tmp_path.resolve() / "b.wav"
    assert cells.to_cell(outside) == str(outside)
    assert cells.to_cell(link / "own.wav") == "own.wav"


def test_a_linked_file_keeps_its_own_name(tmp_path):
    (tmp_path / "blob").write_bytes(b"")
    (tmp_path / "a.wav").symlink_to(tmp_path / "blob")
    assert PathCells(tmp_path / "clips.csv").to_cell(tmp_path / "a.wav") == "a.wav"


def test_missing_files(tmp_path):
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
    missing = missing_files(tmp_path / name for name in names)
    assert list(missing) == [tmp_path / name for name in names[2:]]
    assert "is a folder" in missing[tmp_path / "folder.wav"]
    assert missing_files([]) == {}


def test_relative_files_are_relative_to_the_working_folder(tmp_path, monkeypatch):
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
