"""Damaged tables of every kind: one line that names the file, never a traceback."""

from __future__ import annotations

import random
import shutil
from collections.abc import Callable
from pathlib import Path

import audformat
import pandas as pd
import pyarrow.parquet as pq
import pytest

from layerprobe.cache.common.errors import InputError
from layerprobe.embed.manifest.annotations.segments import annotated_clips
from layerprobe.embed.manifest.clips import read_manifest
from tests.embed.manifest.annotations.test_segments import FILES
from tests.embed.manifest.readers.test_datasets import dataset, recordings, save_to_disk
from tests.embed.manifest.readers.test_lhotse import RECORDINGS, SUPERVISIONS
from tests.embed.manifest.readers.test_lhotse import write as write_lines
from tests.spreadsheets import Rows, write_ods, write_xlsx

ROWS: Rows = [["path", "speaker", "start", "end"], ["a.wav", "01", 0.5, 1.5], ["b.wav", "é", "0:01", "2,5"]]
TEXT = "\n".join(";".join(map(str, row)) for row in ROWS)
CUTS = 12  # of the seeds, the first, which cut a file off
SEEDS = [range(0, 52, 4), pytest.param(range(52, 152), marks=pytest.mark.soak)]


def _text(folder: Path, name: str, encoding: str = "utf-8") -> Path:
    (folder / name).write_bytes(TEXT.encode(encoding))
    return folder / name


def _json(folder: Path) -> Path:
    write_lines(
        folder / "t.jsonl", [{"path": "a.wav", "speaker": "01", "x": [1]}, {"path": "b.wav", "n": 1.5}]
    )
    return folder / "t.jsonl"


def _parquet(folder: Path) -> Path:
    pq.write_table(dataset(recordings(2)), folder / "t.parquet")
    return folder / "t.parquet"


def _pandas(folder: Path) -> Path:
    header, *rows = [[str(cell) for cell in row] for row in ROWS]
    pd.DataFrame(rows, columns=header).to_parquet(folder / "t.parquet")
    return folder / "t.parquet"


def _audformat(folder: Path) -> Path:
    db = audformat.Database("x")
    db.schemes["speaker"] = audformat.Scheme(labels={"01": {"age": 3}})
    db["t"] = audformat.Table(audformat.segmented_index(["a.wav"], [0], ["1s"]))
    db["t"]["speaker"] = audformat.Column(scheme_id="speaker")
    db["t"]["speaker"].set(["01"])
    db.save(str(folder / "db"), storage_format="csv")
    return folder / "db"


def _kaldi(folder: Path) -> Path:
    (folder / "wav.scp").write_text("r1 a.wav\nr2 b.wav\n")
    (folder / "segments").write_text("u1 r1 0.5 1.25\nu2 r2 2 -1\n")
    (folder / "utt2spk").write_text("u1 s1\nu2 s1\n")
    return folder


def _lhotse(folder: Path) -> Path:
    write_lines(folder / "recordings.jsonl.gz", RECORDINGS)
    write_lines(folder / "supervisions.jsonl", SUPERVISIONS)
    return folder


KINDS: dict[str, Callable[[Path], Path]] = {
    "csv": lambda folder: _text(folder, "t.csv"),
    "utf-16": lambda folder: _text(folder, "t.txt", "utf-16"),
    "jsonl": _json,
    "xlsx": lambda folder: write_xlsx(folder / "t.xlsx", {"A": ROWS, "B": ROWS}),
    "ods": lambda folder: write_ods(folder / "t.ods", {"A": ROWS}),
    "parquet with sound": _parquet,
    "parquet": _pandas,
    "datasets": lambda folder: save_to_disk(dataset(recordings(2)), folder / "speech"),
    "audformat": _audformat,
    "kaldi": _kaldi,
    "lhotse": _lhotse,
}


def damaged(data: bytes, seed: int) -> bytes:
    """The beginning of a file, or all of it with some bytes changed, repeated or left out."""
    chance = random.Random(seed)
    if seed < CUTS or seed % 2:
        return data[: chance.randrange(len(data))]
    changed = bytearray(data)
    for _ in range(chance.choice((1, 1, 3, 20))):
        place = chance.randrange(len(changed))
        match chance.randrange(4):
            case 0:
                changed[place] ^= 1 << chance.randrange(8)
            case 1:
                changed[place] = chance.choice(b"\0\xff\"'{}[]<&,;\n\t 9-")
            case 2:
                del changed[place : place + chance.randrange(1, 9)]
            case _:
                changed[place:place] = changed[place : place + chance.randrange(1, 99)]
        if not changed:
            break
    return bytes(changed)


def refusal(read: Callable[[], object]) -> str | None:
    """The line with which a damaged table is refused, or None; other errors are raised."""
    try:
        read()
    except InputError as error:
        return error.line()
    return None


def _read(table: Path) -> None:
    read_manifest(table, must_exist=False, note=lambda _: None)


@pytest.mark.parametrize("seeds", SEEDS)
@pytest.mark.parametrize("kind", KINDS)
def test_damaged_tables(tmp_path, kind, seeds):
    original = tmp_path / "original"
    original.mkdir()
    name = KINDS[kind](original).relative_to(original)
    files = sorted(path.relative_to(original) for path in original.rglob("*") if path.is_file())
    refused = 0
    for file in files:
        data = (original / file).read_bytes()
        for seed in seeds:
            copy = tmp_path / "copy"
            shutil.copytree(original, copy)
            (copy / file).write_bytes(damaged(data, seed))
            line = refusal(lambda table=copy / name: _read(table))  # type: ignore[misc]
            assert line is None or str(copy) in line
            refused += line is not None
            shutil.rmtree(copy)
    assert refused > 0


@pytest.mark.parametrize("seeds", SEEDS)
@pytest.mark.parametrize("name", FILES)
def test_damaged_annotations(tmp_path, name, seeds):
    (tmp_path / "x.wav").touch()
    refused = 0
    for seed in seeds:
        (tmp_path / name).write_bytes(damaged(FILES[name].encode(), seed))
        line = refusal(lambda: annotated_clips(tmp_path, ["emotion"]))
        assert line is None or str(tmp_path) in line
        refused += line is not None
    assert refused > 0
