"""Manifests of lhotse as tables of clips."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from layerprobe.cache.common.errors import ManifestError
from layerprobe.embed.manifest.clips import read_manifest
from layerprobe.embed.manifest.tables import read_table


def recording(id: str, source: str, kind: str = "file") -> dict[str, Any]:
    sources = [{"type": kind, "channels": [0], "source": source}]
    return {"id": id, "sources": sources, "sampling_rate": 16000, "num_samples": 48000, "duration": 3.0}


def supervision(id: str, recording: str, start: float, duration: float, **fields: Any) -> dict[str, Any]:
    return {
        **{"id": id, "recording_id": recording, "start": start, "duration": duration, "channel": 0},
        **fields,
    }


def write(path: Path, entries: list[dict[str, Any]]) -> None:
    data = "".join(f"{json.dumps(entry)}\n" for entry in entries).encode()
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)


RECORDINGS = [recording("r1", "a.wav"), recording("r2", "sub/b.wav")]
SUPERVISIONS = [
    supervision("u1", "r1", 0.1, 0.2, speaker="s1", text="yes", custom={"emotion": "angry", "scores": [1]}),
    supervision("u2", "r1", 1, 1.5, speaker="s1", gender="f", custom={"emotion": "calm"}),
    supervision("u3", "r2", 0.0, 3.0, speaker="02", language="English"),
]


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "sub").mkdir()
    (tmp_path / "a.wav").touch()
    (tmp_path / "sub" / "b.wav").touch()
    return tmp_path


@pytest.mark.parametrize("ends", [".jsonl", ".jsonl.gz"])
def test_supervisions_are_clips(folder, ends):
    write(folder / f"recordings{ends}", RECORDINGS)
    write(folder / f"supervisions{ends}", SUPERVISIONS)
    clips = read_manifest(folder)
    assert [(clip.id, clip.path, clip.start, clip.end, clip.speaker) for clip in clips] == [
        ("u1", folder / "a.wav", 0.1, 0.3, "s1"),
        ("u2", folder / "a.wav", 1.0, 2.5, "s1"),
        ("u3", folder / "sub" / "b.wav", None, None, "02"),
    ]
    assert [dict(clip.labels) for clip in clips] == [
        {"text": "yes", "emotion": "angry"},
        {"gender": "f", "emotion": "calm"},
        {"language": "English"},
    ]


def test_splits_are_the_last_part_of_the_names(folder):
    for split, entries in (("train", SUPERVISIONS[:2]), ("test", SUPERVISIONS[2:])):
        write(folder / f"corpus_recordings_{split}.jsonl.gz", RECORDINGS)
        write(folder / f"corpus_supervisions_{split}.jsonl.gz", entries)
    assert [(clip.id, clip.split) for clip in read_manifest(folder)] == [
        ("u3", "test"),
        ("u1", "train"),
        ("u2", "train"),
    ]


def test_faults(folder):
    write(
        folder / "recordings.jsonl",
        [recording("r1", "touch ran", "command"), recording("r2", "https://x/y.wav", "url"), {"id": "r3"}],
    )
    write(folder / "supervisions.jsonl", SUPERVISIONS)
    with pytest.raises(ManifestError) as caught:
        read_table(folder)
    assert [problem.what for problem in caught.value.problems] == [
        f"recordings.jsonl line {line}"
        for line in (
            "1: 'r1' is no file but a command, which is neither run nor downloaded: touch ran",
            "2: 'r2' is no file but a url, which is neither run nor downloaded: https://x/y.wav",
            "3: 'r3' has no source",
        )
    ]
    write(folder / "recordings.jsonl", RECORDINGS[:1])
    entries = [*SUPERVISIONS[:1], {**SUPERVISIONS[1], "duration": "long"}, SUPERVISIONS[2]]
    write(folder / "supervisions.jsonl", entries)
    with pytest.raises(ManifestError) as caught:
        read_table(folder)
    assert [problem.what for problem in caught.value.problems] == [
        "supervisions.jsonl line 2: start or duration is no number",
        "supervisions.jsonl line 3: is of 'r2', which recordings.jsonl does not have",
    ]
    (folder / "supervisions.jsonl").unlink()
    (folder / "supervisions.jsonl.gz").write_bytes(gzip.compress(b"{}\n" * 1000)[:-10])
    with pytest.raises(ManifestError, match="its compressed data are damaged"):
        read_table(folder)
