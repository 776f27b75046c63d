"""Spreadsheets as tables of clips."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import pytest

from layerprobe.cache.common.errors import InputError, ManifestError
from layerprobe.embed.manifest.clips import read_manifest
from layerprobe.embed.manifest.readers.table import Table
from layerprobe.embed.manifest.tables import read_table
from tests.spreadsheets import Rows, write_ods, write_xlsx

ROWS: Rows = [
    ["path", "level", "count", "good", "day", "x"],
    ["a.wav", "01", 1, True, date(2024, 5, 1), 0.1],
    [],
    ["b.wav", "1.0", 2.5, False, None, -3],
]
WRITERS = pytest.mark.parametrize(("write", "suffix"), [(write_xlsx, "xlsx"), (write_ods, "ods")])


@WRITERS
def test_cells_are_read_as_the_sheet_shows_them(tmp_path, write, suffix):
    table = read_table(write(tmp_path / f"t.{suffix}", {"clips": ROWS}))
    assert table == Table(
        ["path", "level", "count", "good", "day", "x"],
        [
            ["a.wav", "01", "1", "TRUE", "2024-05-01", "0.1"],
            [],
            ["b.wav", "1.0", "2.5", "FALSE", "", "-3"],
        ],
    )
    assert table.notes == ()


@WRITERS
def test_the_first_sheet_with_cells_or_the_one_that_is_named(tmp_path, write, suffix):
    sheets = {"empty": [[]], "old": [["path"], ["a.wav"]], "new one": [["path"], ["b.wav"]]}
    path = write(tmp_path / f"t.{suffix}", sheets)
    table = read_table(path)
    assert table.rows == [["a.wav"]]
    assert table.notes == ("sheet 'old' is read, of 'empty', 'old', 'new one'; write FILE#SHEET for another",)
    assert read_table(Path(f"{path}#new one")).rows == [["b.wav"]]
    with pytest.raises(ManifestError, match="it has no sheet 'x'; its sheets are 'empty', 'old', 'new one'"):
        read_table(Path(f"{path}#x"))


def test_a_file_whose_name_has_a_number_sign_and_tables_without_sheets(tmp_path):
    (tmp_path / "t.csv").write_text("path\na.wav\n")
    (tmp_path / "take#1.csv").write_text("path\nb.wav\n")
    assert read_table(tmp_path / "take#1.csv").rows == [["b.wav"]]
    with pytest.raises(ManifestError, match="has no sheet 'x': only spreadsheets"):
        read_table(tmp_path / "t.csv#x")
    with pytest.raises(ManifestError, match="no such table"):
        read_table(tmp_path / "gone.xlsx#x")


def test_hidden_sheets_are_passed_over_and_merged_cells_noted(tmp_path):
    sheets: dict[str, Rows] = {
        "list": [["path"], ["z.wav"]],
        "clips": [["path", "speaker"], ["a.wav", "s1"], ["b.wav", None]],
    }
    table = read_table(write_xlsx(tmp_path / "t.xlsx", sheets, hidden=["list"], merged="B2:B3"))
    assert table.rows == [["a.wav", "s1"], ["b.wav", ""]]
    assert table.notes == ("has merged cells (B2:B3): the first of them has the value, the others are empty",)


@WRITERS
def test_faults_name_the_sheet_and_its_row(tmp_path, write, suffix):
    (tmp_path / "a.wav").touch()
    rows: Rows = [[], [], ["path", "start", "end"], ["a.wav", 0.5, 1], [], ["a.wav", "0,5", "x"]]
    path = write(tmp_path / f"t.{suffix}", {"clips": rows})
    with pytest.raises(ManifestError) as caught:
        read_manifest(path)
    assert f"{path} (sheet 'clips'): row 6: end 'x' is neither" in str(caught.value)


@WRITERS
def test_clips_of_a_sheet(tmp_path, write, suffix):
    (tmp_path / "a.wav").touch()
    rows: Rows = [["Path", "Speaker", "start", "end"], ["a.wav", 7, "0,5", 1.25], ["a.wav", 7, 2, 3]]
    lines: list[str] = []
    first, second = read_manifest(write(tmp_path / f"t.{suffix}", {"clips": rows}), note=lines.append)
    assert (first.speaker, first.start, first.end) == ("7", 0.5, 1.25)
    assert (second.id, second.start, second.end) == ("a.wav#2.0-3.0", 2.0, 3.0)
    assert lines == [f"note: t.{suffix}: read 'Speaker' as speaker"]


def test_empty_and_damaged_files(tmp_path):
    with pytest.raises(ManifestError, match="is empty"):
        read_manifest(write_xlsx(tmp_path / "empty.xlsx", {"a": [[]], "b": [[]]}))
    (tmp_path / "text.ods").write_text("path\na.wav\n")
    with pytest.raises(ManifestError, match=r"text\.ods: cannot be read"):
        read_table(tmp_path / "text.ods")


def test_without_the_package_the_extra_is_named(tmp_path, monkeypatch):
    path = write_xlsx(tmp_path / "t.xlsx", {"a": ROWS})
    monkeypatch.setitem(__import__("sys").modules, "python_calamine", None)
    with pytest.raises(
        InputError, match=r"pip install 'layerprobe\[spreadsheets\]', or save the table as CSV"
    ):
        read_table(path)
