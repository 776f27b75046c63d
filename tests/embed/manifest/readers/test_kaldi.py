"""Data folders of Kaldi as tables of clips."""

from __future__ import annotations

from pathlib import Path

import pytest

from layerprobe.cache.common.errors import ManifestError
from layerprobe.embed.manifest.clips import read_manifest
from layerprobe.embed.manifest.tables import read_table


def data(folder: Path, **files: str) -> Path:
    for name in ("a.wav", "b.wav"):
        (folder / name).touch()
    for name, text in files.items():
        (folder / name.replace("_scp", ".scp")).write_text(text)
    return folder


def test_utterances_that_are_files(tmp_path):
    folder = data(
        tmp_path,
        wav_scp="u1 a.wav\nu2\tb.wav\n",
        utt2spk="u1 s1\nu2 s2\n",
        spk2gender="s1 f\ns2 m\n",
        text="u1 a house\nu2 NA\n",
        utt2emo="u1 angry\nu2 calm\n",
        utt2dur="u1 1.5\nu2 2.5\n",
        spk2utt="s1 u1\ns2 u2\n",
    )
    clips = read_manifest(folder)
    assert [(clip.id, clip.path, clip.speaker) for clip in clips] == [
        ("u1", tmp_path / "a.wav", "s1"),
        ("u2", tmp_path / "b.wav", "s2"),
    ]
    assert dict(clips[0].labels) == {"emo": "angry", "text": "a house", "gender": "f"}
    assert read_manifest(folder / "wav.scp") == clips


def test_utterances_that_are_segments(tmp_path):
    folder = data(
        tmp_path,
        wav_scp="r1 a.wav\nr2 b.wav\n",
        segments="u1 r1 0.5 1.25\nu2 r1 2 -1\nu3 r2 0 1 0\n",
        utt2spk="u1 s1\nu2 s1\nu3 s2\nu4 s3\n",
    )
    lines: list[str] = []
    clips = read_manifest(folder, note=lines.append)
    assert [(clip.id, clip.path.name, clip.start, clip.end, clip.speaker) for clip in clips] == [
        ("u1", "a.wav", 0.5, 1.25, "s1"),
        ("u2", "a.wav", 2.0, None, "s1"),
        ("u3", "b.wav", 0.0, 1.0, "s2"),
    ]
    assert lines == [f"note: {folder.name}: left out: 1 utterance without sound"]


def test_commands_are_refused_and_never_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    folder = data(tmp_path, wav_scp="u1 touch ran |\nu2 a.wav\nu3 | touch ran\nu4 raw.ark:42\nu5\n")
    with pytest.raises(ManifestError) as caught:
        read_table(folder)
    assert [problem.what for problem in caught.value.problems] == [
        "wav.scp: 'u5' has no path",
        "wav.scp: 'u1' is a command, which is not run; write its output to a file: touch ran |",
        "wav.scp: 'u3' is a command, which is not run; write its output to a file: | touch ran",
        "wav.scp: 'u4' is a place in an archive, not a sound file: raw.ark:42",
    ]
    assert not (tmp_path / "ran").exists()


def test_faults_of_all_files_at_once(tmp_path):
    folder = data(
        tmp_path,
        wav_scp="r1 a.wav\nr1 b.wav\n",
        segments="u1 r1 0.5\nu2 r9 0 1\nu3 r1 0 1\n",
        utt2spk="u3 s1\nu3 s2\n",
    )
    with pytest.raises(ManifestError) as caught:
        read_table(folder)
    assert [problem.what for problem in caught.value.problems] == [
        "wav.scp line 2: 'r1' is there twice",
        "segments: 'u1' is not followed by a recording, its start and its end",
        "segments: 'u2' is of 'r9', which wav.scp does not have",
        "utt2spk line 2: 'u3' is there twice",
    ]


def test_paths_from_the_working_folder(tmp_path, monkeypatch):
    (tmp_path / "data").mkdir()
    (tmp_path / "wavs").mkdir()
    (tmp_path / "wavs" / "a.wav").touch()
    (tmp_path / "data" / "wav.scp").write_text("u1 wavs/a.wav\n")
    monkeypatch.chdir(tmp_path)
    (clip,) = read_manifest(Path("data"))
    assert clip.path == tmp_path / "wavs" / "a.wav"
