"""Parquet files and folders of Hugging Face's `datasets`, with sound in them."""

from __future__ import annotations

import io
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import soundfile

from layerprobe.cache.common.errors import InputError, ManifestError
from layerprobe.embed.manifest.clips import read_manifest
from layerprobe.embed.manifest.tables import read_table

FEATURES = {
    "audio": {"sampling_rate": 16000, "_type": "Audio"},
    "emotion": {"names": ["angry", "calm"], "_type": "ClassLabel"},
    "speaker": {"dtype": "string", "_type": "Value"},
}
SOUND = pa.struct([("bytes", pa.binary()), ("path", pa.string())])


def wav(seed: int) -> bytes:
    file = io.BytesIO()
    soundfile.write(file, np.random.default_rng(seed).normal(0, 0.1, 1600), 16000, format="WAV")
    return file.getvalue()


def dataset(sounds: list[dict[str, Any] | None], *, metadata: bool = True, **columns: Any) -> pa.Table:
    count = len(sounds)
    arrays = {
        "audio": pa.array(sounds, SOUND),
        "emotion": pa.array([number % 2 for number in range(count)], pa.int64()),
        "speaker": pa.array([f"s{number}" for number in range(count)]),
        **columns,
    }
    described = {b"huggingface": json.dumps({"info": {"features": FEATURES}}).encode()}
    return pa.table(arrays).replace_schema_metadata(described if metadata else None)


def save_to_disk(table: pa.Table, folder: Path, *, shards: int = 1, file: bool = False) -> Path:
    """As `Dataset.save_to_disk` writes it."""
    folder.mkdir(parents=True)
    names = [f"data-{number:05d}-of-{shards:05d}.arrow" for number in range(shards)]
    for number, name in enumerate(names):
        rows = table.slice(number * len(table) // shards, len(table) // shards)
        new = pa.ipc.new_file if file else pa.ipc.new_stream
        with pa.OSFile(str(folder / name), "wb") as sink, new(sink, table.schema) as writer:
            writer.write_table(rows)
    state = {"_data_files": [{"filename": name} for name in names], "_fingerprint": "0", "_split": None}
    (folder / "state.json").write_text(json.dumps(state))
    (folder / "dataset_info.json").write_text(json.dumps({"features": FEATURES}))
    return folder


def recordings(count: int, first: int = 0) -> list[dict[str, Any] | None]:
    return [{"bytes": wav(first + number), "path": f"x/take {number}.wav"} for number in range(count)]


def test_sound_in_a_table_is_written_once_next_to_it(tmp_path):
    table = tmp_path / "train.parquet"
    pq.write_table(dataset(recordings(3)), table)
    lines: list[str] = []
    clips = read_manifest(table, note=lines.append)
    assert [clip.path.read_bytes() for clip in clips] == [wav(0), wav(1), wav(2)]
    assert [clip.labels["emotion"] for clip in clips] == ["angry", "calm", "angry"]
    assert [clip.speaker for clip in clips] == ["s0", "s1", "s2"]
    assert all(clip.id.startswith("train.sound/take_") and clip.id.endswith(".wav") for clip in clips)
    (line,) = lines
    assert line.startswith(
        f"note: train.parquet: 3 recordings in it were written to {tmp_path / 'train.sound'} ("
    )
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "train.sound").iterdir()}
    lines.clear()
    assert read_manifest(table, note=lines.append) == clips
    assert lines == []
    assert before == {path: path.stat().st_mtime_ns for path in (tmp_path / "train.sound").iterdir()}
    # A file that a killed process left incomplete is written again.
    clips[0].path.write_bytes(b"RIFF")
    assert read_manifest(table, note=lines.append)[0].path.read_bytes() == wav(0)


def test_names_of_sound_never_leave_the_folder(tmp_path):
    sounds: list[dict[str, Any] | None] = [
        {"bytes": wav(0), "path": "../../../etc/passwd"},
        {"bytes": wav(1), "path": "/elsewhere/a.wav\n"},
        {"bytes": wav(2), "path": "C:\\x\\..\\b.flac"},
        {"bytes": wav(3), "path": None},
        {"bytes": wav(4), "path": "." * 5000},
    ]
    (tmp_path / "deep").mkdir()
    pq.write_table(dataset(sounds), tmp_path / "deep" / "t.parquet")
    clips = read_manifest(tmp_path / "deep" / "t.parquet")
    assert [clip.path.read_bytes() for clip in clips] == [wav(number) for number in range(5)]
    assert {clip.path.parent for clip in clips} == {tmp_path / "deep" / "t.sound"}
    assert sorted(path.name for path in tmp_path.rglob("*") if path.is_dir()) == ["deep", "t.sound"]


def test_paths_instead_of_bytes_and_no_sound_at_all(tmp_path):
    (tmp_path / "a.wav").write_bytes(wav(0))
    pq.write_table(dataset([{"bytes": None, "path": "a.wav"}]), tmp_path / "t.parquet")
    (clip,) = read_manifest(tmp_path / "t.parquet")
    assert clip.path == tmp_path / "a.wav"
    pq.write_table(dataset([{"bytes": None, "path": None}, None]), tmp_path / "t.parquet")
    with pytest.raises(ManifestError, match="row 2: has no path"):
        read_manifest(tmp_path / "t.parquet")
    assert not (tmp_path / "t.sound").exists()


def test_the_sound_is_used_and_not_the_path_it_had_elsewhere(tmp_path):
    elsewhere = pa.array(["/home/someone/a.wav", "/home/someone/b.wav"])
    pq.write_table(dataset(recordings(2), path=elsewhere, file=elsewhere), tmp_path / "t.parquet")
    clips = read_manifest(tmp_path / "t.parquet")
    assert [clip.path.read_bytes() for clip in clips] == [wav(0), wav(1)]
    assert dict(clips[0].labels) == {"emotion": "angry", "file": "/home/someone/a.wav"}


@pytest.mark.parametrize("kind", [pa.binary(), pa.large_binary(), pa.binary_view()])
def test_a_column_of_plain_bytes_is_sound_where_it_is_named_so(tmp_path, kind):
    pq.write_table(
        pa.table({"audio": pa.array([wav(0), wav(1)], kind), "emotion": ["a", "b"]}), tmp_path / "t.pq"
    )
    assert [clip.path.read_bytes() for clip in read_manifest(tmp_path / "t.pq")] == [wav(0), wav(1)]


def test_classes_that_are_missing_or_unknown(tmp_path):
    emotions = pa.array([0, -1, None, 7], pa.int64())
    pq.write_table(dataset(recordings(4)).set_column(1, "emotion", emotions), tmp_path / "t.parquet")
    assert [row[1] for row in read_table(tmp_path / "t.parquet").rows] == ["angry", "", "", ""]


@pytest.mark.parametrize("file", [False, True])
@pytest.mark.parametrize("metadata", [False, True])
def test_a_dataset_saved_to_disk(tmp_path, file, metadata):
    table = dataset(recordings(4), metadata=metadata)
    folder = save_to_disk(table, tmp_path / "speech", shards=2, file=file)
    clips = read_manifest(folder)
    assert [clip.path.read_bytes() for clip in clips] == [wav(number) for number in range(4)]
    assert {clip.path.parent for clip in clips} == {folder / "sound"}
    assert [clip.labels["emotion"] for clip in clips] == ["angry", "calm"] * 2
    assert read_manifest(folder / "state.json") == clips
    assert all(clip.split is None for clip in clips)


def test_splits_of_a_saved_dataset(tmp_path):
    for number, name in enumerate(("train", "test")):
        save_to_disk(dataset(recordings(2, first=10 * number)), tmp_path / "speech" / name)
    (tmp_path / "speech" / "dataset_dict.json").write_text('{"splits": ["train", "test"]}')
    lines: list[str] = []
    clips = read_manifest(tmp_path / "speech", note=lines.append)
    assert [clip.split for clip in clips] == ["train", "train", "test", "test"]
    assert [clip.path.read_bytes() for clip in clips] == [wav(0), wav(1), wav(10), wav(11)]
    assert [line.partition(" were")[0] for line in lines] == ["note: speech: 4 recordings in it"]


@pytest.mark.parametrize("place", ["", "data"])
def test_a_folder_of_parquet_files_as_on_the_hub(tmp_path, place):
    folder = tmp_path / "speech"
    (folder / place).mkdir(parents=True)
    for number, name in enumerate(("test-00000-of-00001", "train-00000-of-00002", "train-00001-of-00002")):
        pq.write_table(dataset(recordings(1, first=number)), folder / place / f"{name}.parquet")
    clips = read_manifest(folder)
    assert [clip.split for clip in clips] == ["test", "train", "train"]
    assert [clip.path.read_bytes() for clip in clips] == [wav(0), wav(1), wav(2)]


def test_folders_that_cannot_be_read(tmp_path):
    folder = save_to_disk(dataset(recordings(1)), tmp_path / "speech")
    state = json.loads((folder / "state.json").read_text())
    for content, message in [
        ("{", "state.json is not JSON"),
        ("[]", "state.json is no JSON object"),
        ("{}", "speech/state.json does not list its files"),
        (json.dumps({"_data_files": [{"filename": "../x.arrow"}]}), "does not list its files"),
        (json.dumps({"_data_files": [{"filename": "gone.arrow"}]}), "gone.arrow"),
        (json.dumps({**state, "_indices_data_files": [{"filename": "i.arrow"}]}), r"flatten_indices\(\)"),
    ]:
        (folder / "state.json").write_text(content)
        with pytest.raises(ManifestError, match=message):
            read_table(folder)
    (folder / "state.json").write_text(json.dumps(state))
    (folder / "dataset_info.json").unlink()
    with pytest.raises(ManifestError, match=r"it has no file speech/dataset_info\.json"):
        read_table(folder)


def test_a_folder_that_cannot_be_written(tmp_path):
    pq.write_table(dataset(recordings(1)), tmp_path / "t.parquet")
    (tmp_path / "t.sound").write_text("")  # where the folder would be
    with pytest.raises(
        InputError, match=r"the sound in it cannot be written to .*; copy the table to a folder"
    ):
        read_table(tmp_path / "t.parquet")
    assert os.listdir(tmp_path) in (["t.parquet", "t.sound"], ["t.sound", "t.parquet"])  # noqa: PTH208
