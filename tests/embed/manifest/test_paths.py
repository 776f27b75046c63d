"""Path cells and the files they name."""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Callable
from pathlib import Path

import pytest

from layerprobe.embed.manifest.paths import PathCells, path_fault


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


@pytest.mark.parametrize("folder", ["", ".", "tables", "/corpus", "/", "a/./b"])
@pytest.mark.parametrize(
    "cell",
    [
        "a.wav",
        "s/a.wav",
        "/s/a.wav",
        "s//a.wav",
        "//s/a.wav",
        "./a.wav",
        "s/./a.wav",
        "s/..",
        "a/",
        "...",
        "",
    ],
)
def test_the_name_of_a_file_is_that_of_its_path(folder, cell):
    assert PathCells(Path(folder) / "clips.csv").file_name(cell) == str(Path(folder) / cell)


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


def test_cells_without_a_file(tmp_path):
    (tmp_path / "a.wav").write_bytes(b"")
    (tmp_path / "folder.wav").mkdir()
    (tmp_path / "dangling.wav").symlink_to(tmp_path / "nowhere")
    (tmp_path / "linked.wav").symlink_to(tmp_path / "a.wav")
    names = [
        *("a.wav", "linked.wav"),
        *("folder.wav", "dangling.wav", "gone.wav", "no/such/folder.wav", "a.wav/b.wav"),
    ]
    cells = PathCells(tmp_path / "clips.csv")
    assert [cells.find(name) for name in names] == [(name, k < 2) for k, name in enumerate(names)]
    assert cells.reason("folder.wav") == f"'{tmp_path}/folder.wav' is a folder"
    assert cells.reason("gone.wav") == f"no such file: {tmp_path}/gone.wav"
    assert cells.notes() == []


def test_relative_files_are_relative_to_the_working_folder(tmp_path, monkeypatch):
    (tmp_path / "a.wav").write_bytes(b"")
    (tmp_path / "b.wav").write_bytes(b"")
    monkeypatch.chdir(tmp_path)
    cells = PathCells(Path("clips.csv"))
    assert [cells.find(name)[1] for name in ("a.wav", "b.wav", "c.wav")] == [True, True, False]


@pytest.mark.parametrize("count", [1, 2])
def test_a_folder_that_may_be_entered_but_not_listed(tmp_path, count):
    hidden = tmp_path / "hidden"
    hidden.mkdir()
    files = [hidden / f"{i}.wav" for i in range(count)]
    for file in files:
        file.write_bytes(b"")
    hidden.chmod(0o100)
    try:
        cells = PathCells(tmp_path / "clips.csv")
        assert [cells.find(str(file))[1] for file in [*files, hidden / "gone.wav"]] == [True] * count + [
            False
        ]
    finally:
        hidden.chmod(0o700)


DECOMPOSED = unicodedata.normalize("NFD", "é x.wav")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("sub/é x.wav", "sub/y.wav", "sub/o'neil.wav", f"nfd/{DECOMPOSED}", "Größe/a.wav", "b.flac"):
        file = tmp_path / name
        file.parent.mkdir(exist_ok=True)
        file.write_bytes(b"")
    return tmp_path


@pytest.mark.parametrize(
    ("cell", "file", "words"),
    [
        ("sub\\y.wav", "sub/y.wav", "1 path with backslashes"),
        ("sub/y.wav ", "sub/y.wav", "space around"),
        ("\u00a0sub/y.wav", "sub/y.wav", "space around"),
        (f"sub/{DECOMPOSED}", "sub/é x.wav", "Unicode form"),
        ("nfd/é x.wav", f"nfd/{DECOMPOSED}", "Unicode form"),
        (f"{unicodedata.normalize('NFD', 'Größe')}\\a.wav", "Größe/a.wav", "backslashes"),
        ("./sub/../sub\\é x.wav", "sub/é x.wav", "backslashes"),
        ("file://{}/sub/%C3%A9%20x.wav", "{}/sub/é x.wav", "URLs"),
        ("{}/sub/y.wav ", "{}/sub/y.wav", "space around"),
        ('"sub/y.wav"', "sub/y.wav", "quotes or invisible letters"),
        ("“sub/y.wav”", "sub/y.wav", "quotes or invisible letters"),
        ("\u202a{}/sub/y.wav", "{}/sub/y.wav", "quotes or invisible letters"),
        ("\u202asub\\y.wav\u202c", "sub/y.wav", "backslashes"),
        ("file:{}/sub/y.wav", "{}/sub/y.wav", "URLs"),
    ],
)
def test_a_file_is_found_under_another_spelling_of_its_path(folder, cell, file, words):
    cells = PathCells(folder / "clips.csv")
    found, exists = cells.find(cell.format(folder))
    assert exists
    assert cells.to_file(found).samefile(folder / file.format(folder))
    assert Path(found).name == Path(file).name
    (note,) = cells.notes()
    assert words in note


def test_a_name_on_disk_is_taken_as_it_is(folder):
    for name in ("sub\\y.wav", " a.wav", "a.wav "):
        (folder / name).write_bytes(b"")
        cells = PathCells(folder / "clips.csv")
        assert cells.find(name) == (name, True)
        assert cells.notes() == []


def test_a_name_that_two_files_may_have_is_not_guessed(folder):
    (folder / "sub" / DECOMPOSED).write_bytes(b"")
    (folder / "sub" / f"{DECOMPOSED} ").write_bytes(b"")
    (folder / "sub" / "é x.wav").unlink()
    assert PathCells(folder / "clips.csv").find("sub/é x.wav") == ("sub/é x.wav", False)


@pytest.mark.parametrize(
    ("cell", "near"),
    [
        ("sub/Y.WAV", "sub/y.wav"),
        ("Sub\\y.wav", "sub/y.wav"),
        ("b.wav", "b.flac"),
        ("größe/A.wav", "Größe/a.wav"),
        ("sub/%C3%A9%20x.wav", "sub/é x.wav"),
        ("sub/é  x.wav", "sub/é x.wav"),
        ("sub/é\u00a0x.wav", "sub/é x.wav"),
        ("sub/\u200by.wav", "sub/y.wav"),
        ("ｓub/y.wav", "sub/y.wav"),
        ("sub/o’neil.wav", "sub/o'neil.wav"),
        ("sub/o'neil", "sub/o'neil.wav"),
    ],
)
def test_a_file_of_nearly_that_name_is_suggested(folder, cell, near):
    cells = PathCells(folder / "clips.csv")
    unfound, exists = cells.find(cell)
    assert not exists
    assert f"(did you mean '{near}'" in cells.reason(unfound)
    assert f"did you mean '{near}'" in cells.notes()[0]
    prints_alike = "\u00a0" in cell or "\u200b" in cell or "  " in cell or "ｓ" in cell
    assert ("with other spaces or invisible letters" in cells.reason(unfound)) == prints_alike


@pytest.mark.parametrize(
    ("cell", "words"),
    [
        ("C:\\speech\\a.wav", "C:\\speech\\a.wav (a Windows path"),
        ("\\\\server\\speech\\a.wav", "\\\\server\\speech\\a.wav (a Windows path"),
        ("ftp://example.org/a.wav", "ftp://example.org/a.wav (a URL of a kind that is not read: download"),
    ],
)
def test_what_is_no_path_of_this_machine_is_explained(folder, cell, words):
    cells = PathCells(folder / "clips.csv")
    unfound, exists = cells.find(cell)
    assert not exists
    assert words in cells.reason(unfound)
    cells.find(cell)
    (note,) = cells.notes()
    assert "no file for 2 paths such as" in note
    assert words.partition(" (")[2] in note


def counted(function: Callable[[str], bool], requests: list[str]) -> Callable[[str], bool]:
    def call(path: str) -> bool:
        requests.append(path)
        return function(path)

    return call


def test_a_table_of_many_missing_files_is_read_with_few_requests(folder, monkeypatch):
    """On network storage each request for a file takes a while."""
    requests: list[str] = []
    for function in ("isfile", "isdir", "exists"):
        monkeypatch.setattr(os.path, function, counted(getattr(os.path, function), requests))
    cells = PathCells(folder / "clips.csv")
    for number in range(1_000):
        cell = f"elsewhere/{number % 3}/{number}.wav"
        assert cells.find(cell) == (cell, False)
    assert len(requests) < 100
    assert cells.find("sub/y.wav") == ("sub/y.wav", True)


@pytest.mark.parametrize(
    ("cell", "words"),
    [
        (" ", "no path"),
        ("a\0b", "zero byte"),
        ("x" * 70_000, "70,000 letters"),
        ("ö" * 128, "longer than any"),
    ],
)
def test_what_no_path_can_be(cell, words):
    assert words in (path_fault(cell) or "")
    assert len(path_fault(cell) or "") < 200
    assert path_fault("ö" * 127) is None


@pytest.mark.parametrize("cell", ["'", "'a.wav'", "“a.wav", "sub/a'"])
def test_quotes_stay_in_the_path_of_a_missing_file(tmp_path, cell):
    assert PathCells(tmp_path / "clips.csv").find(cell) == (cell, False)
