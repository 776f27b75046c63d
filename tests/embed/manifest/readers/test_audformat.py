"""Databases of audformat as tables of clips."""

from __future__ import annotations

import pickle
from pathlib import Path

import audformat
import pandas as pd
import pytest

from layerprobe.cache.common.errors import ManifestError
from layerprobe.embed.manifest.clips import read_manifest
from layerprobe.embed.manifest.tables import read_table

FILES = ["audio/a.wav", "audio/b.wav", "audio/c.wav"]


def database() -> audformat.Database:
    db = audformat.Database("speech")
    db.schemes["emotion"] = audformat.Scheme(labels=["angry", "calm"])
    db.schemes["speaker"] = audformat.Scheme(
        labels={"01": {"gender": "female", "age": 31}, "02": {"age": 40}}
    )
    db.splits["dev"] = audformat.Split(audformat.define.SplitType.DEVELOP)
    db["files"] = audformat.Table(audformat.filewise_index(FILES))
    db["files"]["speaker"] = audformat.Column(scheme_id="speaker")
    db["files"]["speaker"].set(["01", "02", "01"])
    return db


def save(db: audformat.Database, folder: Path, storage: str) -> Path:
    db.save(str(folder), storage_format=storage)
    (folder / "audio").mkdir(exist_ok=True)
    for file in FILES:
        (folder / file).touch()
    return folder


@pytest.mark.parametrize("storage", ["csv", "parquet"])
def test_emotions_of_files_with_their_speakers(tmp_path, storage):
    db = database()
    db["emotion"] = audformat.Table(audformat.filewise_index(FILES[:2]), split_id="dev")
    db["emotion"]["emotion"] = audformat.Column(scheme_id="emotion")
    db["emotion"]["emotion"].set(["angry", "calm"])
    lines: list[str] = []
    clips = read_manifest(save(db, tmp_path / "db", storage), note=lines.append)
    assert [(clip.id, clip.start, clip.speaker, clip.split) for clip in clips] == [
        ("audio/a.wav", None, "01", "dev"),
        ("audio/b.wav", None, "02", "dev"),
    ]
    assert [dict(clip.labels) for clip in clips] == [
        {"emotion": "angry", "gender": "female", "age": "31"},
        {"emotion": "calm", "age": "40"},
    ]
    assert lines == ["note: db: its clips are those of emotion"]
    assert read_manifest(tmp_path / "db" / "db.yaml") == clips


@pytest.mark.parametrize("storage", ["csv", "parquet"])
def test_emotions_of_segments(tmp_path, storage):
    db = database()
    index = audformat.segmented_index(
        [FILES[0], FILES[0], FILES[1]], [0, "1.5s", "0s"], ["1.5s", "2.25s", pd.NaT]
    )
    db["segments"] = audformat.Table(index)
    db["segments"]["emotion"] = audformat.Column(scheme_id="emotion")
    db["segments"]["emotion"].set(["angry", "calm", None])
    db["other"] = audformat.Table(audformat.filewise_index(["audio/z.wav"]))
    db["other"]["text"] = audformat.Column()
    db["other"]["text"].set(["x"])
    lines: list[str] = []
    clips = read_manifest(save(db, tmp_path / "db", storage), note=lines.append)
    assert [(clip.path.name, clip.start, clip.end, clip.speaker) for clip in clips] == [
        ("a.wav", 0.0, 1.5, "01"),
        ("a.wav", 1.5, 2.25, "01"),
        ("b.wav", None, None, "02"),
    ]
    assert [clip.labels.get("emotion") for clip in clips] == ["angry", "calm", None]
    assert lines == [
        "note: db: its clips are those of segments; not used: other (write FOLDER#TABLE for another)"
    ]
    files = read_manifest(Path(f"{tmp_path / 'db'}#files"), note=lines.append)
    assert [(clip.id, clip.speaker) for clip in files] == list(zip(FILES, ["01", "02", "01"], strict=True))
    with pytest.raises(ManifestError, match="it has no table 'x'; its tables are "):
        read_table(Path(f"{tmp_path / 'db'}#x"))


class Trap:
    """Ran, if it is unpickled or constructed."""

    def __reduce__(self):
        return (Path.touch, (Path("ran"),))


def test_nothing_in_a_database_is_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    folder = save(database(), tmp_path / "db", "csv")
    (folder / "db.files.csv").unlink()
    (folder / "db.files.pkl").write_bytes(pickle.dumps(Trap()))
    with pytest.raises(ManifestError, match="'files' is there as a pickle alone, which may run code"):
        read_table(folder)
    header = (folder / "db.yaml").read_text()
    (folder / "db.yaml").write_text(header + "x: !!python/object/apply:os.system ['touch ran']\n")
    with pytest.raises(ManifestError, match=r"db\.yaml is not YAML"):
        read_table(folder)
    assert not (tmp_path / "ran").exists()


def test_headers_and_tables_with_faults(tmp_path):
    folder = save(database(), tmp_path / "db", "csv")
    (folder / "db.files.csv").write_text("file,speaker\naudio/a.wav\n")
    with pytest.raises(ManifestError, match="table 'files', row 1: has 1 cells, not 2"):
        read_table(folder)
    (folder / "db.files.csv").write_text("speaker\n01\n")
    with pytest.raises(ManifestError, match="table 'files' has no column 'file'"):
        read_table(folder)
    (folder / "db.files.csv").unlink()
    with pytest.raises(ManifestError, match=r"has no file db\.files\.parquet or db\.files\.csv"):
        read_table(folder)
    for text, message in [
        ("[1]", "is no header"),
        ("a: [", "is not YAML"),
        ("tables: 3", "has no table of files"),
    ]:
        (folder / "db.yaml").write_text(text)
        with pytest.raises(ManifestError, match=message):
            read_table(folder)
