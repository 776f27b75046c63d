"""Tables of text cells, read and written."""

from __future__ import annotations

import os
from datetime import date
from decimal import Decimal
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from layerprobe.cache.common.errors import InputError, ManifestError
from layerprobe.embed.manifest.readers.table import Table
from layerprobe.embed.manifest.tables import read_table, write_table


@pytest.mark.parametrize(("name", "comma"), [("t.csv", ","), ("t.tsv", "\t"), ("T.CSV", ",")])
def test_cells_are_text(tmp_path, name, comma):
    lines = [["a", "b"], ["01", "1.0"], ["", "NA"], ['"x\ny"', '"say ""so"""']]
    (tmp_path / name).write_text("\n".join(comma.join(line) for line in lines))
    table = read_table(tmp_path / name)
    assert table == Table(["a", "b"], [["01", "1.0"], ["", "NA"], ["x\ny", 'say "so"']])


def test_blank_and_ragged_rows_are_preserved(tmp_path):
    (tmp_path / "t.csv").write_text("a,b\n1,2\n\n3\n4,5,6\n")
    assert read_table(tmp_path / "t.csv").rows == [["1", "2"], [], ["3"], ["4", "5", "6"]]


def test_parquet_numbers_become_text_and_row_names_go(tmp_path):
    frame = pd.DataFrame({"n": [1, 2], "x": [0.5, float("nan")], "b": [True, False], "s": ["01", None]})
    frame.index = [7, 9]
    frame.to_parquet(tmp_path / "t.parquet")
    assert read_table(tmp_path / "t.parquet") == Table(
        ["n", "x", "b", "s"], [["1", "0.5", "True", "01"], ["2", "", "False", ""]]
    )


def test_columns_of_lists_and_objects_are_left_out_with_a_note(tmp_path):
    pd.DataFrame({"path": ["a.wav"], "words": [["a", "b"]], "info": [{"age": 3}]}).to_parquet(
        tmp_path / "t.pq"
    )
    (tmp_path / "t.jsonl").write_text('{"path": "a.wav", "words": ["a", "b"], "info": {"age": 3}}')
    for name in ("t.pq", "t.jsonl"):
        table = read_table(tmp_path / name)
        assert table == Table(["path"], [["a.wav"]])
        assert table.notes == ("left out: 'words', 'info', which hold neither text nor numbers",)


@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".parquet"])
@settings(deadline=None)
@given(data=st.data())
def test_any_text_survives(tmp_path_factory, suffix, data):
    names = data.draw(st.lists(st.text(min_size=1, max_size=5), min_size=2, max_size=4, unique=True))
    rows = data.draw(
        st.lists(st.lists(st.text(max_size=5), min_size=len(names), max_size=len(names)), min_size=1)
    )
    out = tmp_path_factory.mktemp("t") / f"t{suffix}"
    write_table({name: [row[i] for row in rows] for i, name in enumerate(names)}, out)
    assert read_table(out) == Table(names, rows)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        # Read leniently, it would be a single row with a label of three lines, without b.wav.
        (
            'path,emotion\na.wav,"calm\nb.wav,calm\n',
            "a quote is opened and never closed, in the row that begins on line 2",
        ),
        ('path,emotion\n"a\nb.wav",calm\n"c"d.wav,calm\n', "in the row that begins on line 4"),
    ],
)
def test_unmatched_quotes_are_refused(tmp_path, text, message):
    (tmp_path / "t.csv").write_text(text)
    with pytest.raises(ManifestError, match=message):
        read_table(tmp_path / "t.csv")


def test_files_that_cannot_be_read(tmp_path):
    (tmp_path / "folder").mkdir()
    (tmp_path / "arabic.csv").write_bytes(b"path\n\x81\x8d.wav\n")
    (tmp_path / "binary.csv").write_bytes(b"path\n\xff\0.wav\n")
    (tmp_path / "words.TextGrid").write_bytes(b"")
    (tmp_path / "broken.jsonl").write_text('{"path": "a.wav"}\n{"path": \n')
    (tmp_path / "list.jsonl").write_text("[1, 2]\n")
    (tmp_path / "deep.jsonl").write_text('{"path": "a.wav", "words": ' + "[" * 100_000)
    (tmp_path / "damaged.parquet").write_bytes(b"PAR1 and no more")
    (tmp_path / "sheet.xlsx").write_bytes(b"")
    os.mkfifo(tmp_path / "pipe.csv")
    (tmp_path / "endless.csv").symlink_to("/dev/zero")
    for name, word in [
        ("gone.csv", "no such table"),
        ("folder", "is a folder"),
        ("pipe.csv", "is a pipe or a device, not a file"),
        ("endless.csv", "is a pipe or a device, not a file"),
        ("arabic.csv", "line 2 is not UTF-8"),
        ("binary.csv", "line 2 is not text"),
        ("words.TextGrid", "is an annotation file"),
        ("broken.jsonl", "line 2 is not JSON"),
        ("list.jsonl", "line 1 is no JSON object"),
        ("deep.jsonl", "line 1 is nested too deeply"),
        ("damaged.parquet", "cannot be read"),
        ("sheet.xlsx", "cannot be read"),
    ]:
        with pytest.raises(ManifestError, match=word) as caught:
            read_table(tmp_path / name)
        assert str(tmp_path / name) in str(caught.value)
        assert "\n" not in str(caught.value).removesuffix(caught.value.do).rstrip()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_table_without_permission(tmp_path):
    (tmp_path / "t.csv").write_text("path\n")
    (tmp_path / "t.csv").chmod(0)
    with pytest.raises(ManifestError, match="Permission denied"):
        read_table(tmp_path / "t.csv")


def test_tables_that_cannot_be_written(tmp_path):
    (tmp_path / "file").write_text("")
    for out, word in [(tmp_path / "t.xlsx", ".xlsx"), (tmp_path / "file" / "t.csv", "cannot be written")]:
        with pytest.raises(InputError, match=word):
            write_table({"a": ["1"]}, out)
    assert [p.name for p in tmp_path.iterdir()] == ["file"]


@pytest.mark.parametrize("name", ["t.csv", "t.parquet"])
def test_only_the_text_that_is_not_unicode_is_reported(tmp_path, name):
    with pytest.raises(InputError) as caught:
        write_table({"path": ["fine.wav", "caf\udce9.wav", "later.wav"]}, tmp_path / name)
    assert str(caught.value) == f"{tmp_path / name}: 'caf\\udce9.wav' is not Unicode; rename it"
    assert not list(tmp_path.iterdir())


def test_folders_are_created_and_no_temporary_file_is_left(tmp_path):
    out = tmp_path / "new" / "er" / "t.csv"
    write_table({"a": ["1", None], "x": [0.1, 2.0]}, out)
    assert out.read_text() == "a,x\n1,0.1\n,2.0\n"
    assert [p.name for p in out.parent.iterdir()] == ["t.csv"]
    assert out.stat().st_mode & 0o777 == Path(_plain_file(tmp_path)).stat().st_mode & 0o777


def _plain_file(folder: Path) -> Path:
    (folder / "plain").write_text("")
    return folder / "plain"


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be"])
def test_unicode_encodings(tmp_path, encoding):
    mark = "\ufeff" if encoding in ("utf-16-le", "utf-16-be") else ""
    (tmp_path / "t.csv").write_bytes(f"{mark}path,emotion\r\nسعيد.wav,fröh\r\n".encode(encoding))
    table = read_table(tmp_path / "t.csv")
    assert table == Table(["path", "emotion"], [["سعيد.wav", "fröh"]])
    assert table.notes == ()


@pytest.mark.parametrize("name", ["t.csv", "t.tsv"])
def test_excel_and_pandas_read_letters_of_any_script(tmp_path, name):
    columns = {"path": ["سعيد.wav", "b.wav"], "emotion": ["غضب", "fröhlich"]}
    write_table(columns, tmp_path / name)
    assert (tmp_path / name).read_bytes().startswith(b"\xef\xbb\xbf")
    assert read_table(tmp_path / name) == Table(
        ["path", "emotion"], [["سعيد.wav", "غضب"], ["b.wav", "fröhlich"]]
    )
    frame = pd.read_csv(tmp_path / name, sep="," if name == "t.csv" else "\t")
    assert frame.to_dict("list") == columns


def test_a_table_in_ascii_has_no_mark(tmp_path):
    write_table({"path": ["a.wav"], "emotion": ["angry"]}, tmp_path / "t.csv")
    assert (tmp_path / "t.csv").read_bytes() == b"path,emotion\na.wav,angry\n"


def test_latin_1_is_read_with_a_note_that_shows_a_line(tmp_path):
    (tmp_path / "t.csv").write_bytes("path;emotion\na.wav;h\nb.wav;fröhlich\n".encode("cp1252"))
    table = read_table(tmp_path / "t.csv")
    assert table.rows == [["a.wav", "h"], ["b.wav", "fröhlich"]]
    (note,) = table.notes
    assert note.endswith("(cp1252); line 3: 'b.wav;fröhlich'")


@pytest.mark.parametrize(
    ("text", "columns", "row"),
    [
        ("path;note\na.wav;one, two\n", ["path", "note"], ["a.wav", "one, two"]),
        ("path\tnote\na.wav\tone, two\n", ["path", "note"], ["a.wav", "one, two"]),
        ("path|note\na.wav|one; two\n", ["path", "note"], ["a.wav", "one; two"]),
        ("path,note\na.wav,one; two; three\n", ["path", "note"], ["a.wav", "one; two; three"]),
        ("sep=;\r\npath;note\r\na.wav;x\r\n", ["path", "note"], ["a.wav", "x"]),
        ("path\na;b.wav\n", ["path"], ["a;b.wav"]),
        ('"path";"note, long"\n"a.wav";"x"\n', ["path", "note, long"], ["a.wav", "x"]),
    ],
)
def test_the_delimiter_is_that_of_the_header(tmp_path, text, columns, row):
    (tmp_path / "t.csv").write_text(text)
    assert read_table(tmp_path / "t.csv") == Table(columns, [row])


def test_json_lines(tmp_path):
    lines = [
        '{"path": "a.wav", "age": 1.50, "level": "01", "known": true}',
        "",
        '{"path": "b.wav", "speaker": "anna", "age": null}',
    ]
    (tmp_path / "t.jsonl").write_text("\n".join(lines))
    assert read_table(tmp_path / "t.jsonl") == Table(
        ["path", "age", "level", "known", "speaker"],
        [["a.wav", "1.50", "01", "True", ""], [], ["b.wav", "", "", "", "anna"]],
    )


def test_parquet_of_every_kind_of_text_and_number(tmp_path):
    texts = pa.array(["01", None])
    columns = {
        "string": texts,
        "large": texts.cast(pa.large_string()),
        "view": texts.cast(pa.string_view()),
        "dictionary": texts.dictionary_encode(),
        "bytes": texts.cast(pa.binary()),
        "integer": pa.array([7, None], pa.int32()),
        "half": pa.array(np.array([0.5, np.nan], np.float16)),
        "decimal": pa.array([Decimal("1.50"), None]),
        "date": pa.array([date(2024, 5, 1), None]),
        "boolean": pa.array([True, None]),
        "nothing": pa.nulls(2),
    }
    pq.write_table(pa.table(columns), tmp_path / "t.parquet")
    table = read_table(tmp_path / "t.parquet")
    assert table.columns == list(columns)
    assert table.rows == [["01"] * 5 + ["7", "0.5", "1.50", "2024-05-01", "True", ""], [""] * len(columns)]


def test_parquet_bytes_that_are_no_text_are_left_out_with_a_note(tmp_path):
    columns = {"vector": pa.array([b"RIFF\xff\xfe"]), "single": pa.array([0.1], pa.float32())}
    pq.write_table(pa.table(columns), tmp_path / "t.parquet")
    table = read_table(tmp_path / "t.parquet")
    assert table == Table(["single"], [["0.1"]])
    assert table.notes == ("left out: 'vector', which holds neither text nor numbers",)


@pytest.mark.parametrize("name", ["t.csv", "t.tsv"])
def test_formulas_are_written_as_text_and_numbers_as_numbers(tmp_path, name):
    cells = ["=1+1", "+cmd", "-x", "@sum", "\t=1", "-1.5", "+3", "a=b", "'=1", "'quoted'", "-1e-3"]
    write_table({"=name": cells, "x": [-0.5] * len(cells)}, tmp_path / name)
    frame = pd.read_csv(tmp_path / name, sep="," if name == "t.csv" else "\t", dtype=str)
    assert list(frame["'=name"]) == [
        *("'=1+1", "'+cmd", "'-x", "'@sum", "'\t=1", "-1.5", "+3", "a=b", "''=1", "'quoted'", "-1e-3"),
    ]
    assert read_table(tmp_path / name) == Table(["=name", "x"], [[cell, "-0.5"] for cell in cells])
