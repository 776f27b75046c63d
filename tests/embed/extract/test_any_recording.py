"""A folder as people have it: every format, odd rates, a video, voice notes, and a spreadsheet's CSV."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile

from tests.run import cli
from tests.sounds import COMPRESSED, FORMATS, encoded, noise, sound_file
from tests.trees import touch

HEADERS = ("AIFF", "AU", "CAF", "RF64", "W64", "VOC", "NIST")
RATES = (44_056, 22_255, 11_127, 8_000, 96_000)  # of files that may have any


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Recordings of a second, and a table with semicolons, a byte order mark and decimal commas."""
    folder = tmp_path_factory.mktemp("recordings")
    names: list[str] = []
    for number, kind in enumerate(COMPRESSED):
        rate = COMPRESSED[kind][2]
        name = f"Sprachnotiz {number}.{kind}"
        encoded(folder / name, noise(rate, seed=number, level=0.3), kind=kind, video=kind == "mkv")
        names.append(name)
    for number, kind in enumerate(HEADERS):
        rate = RATES[number % len(RATES)] if kind not in ("NIST",) else 16_000
        name = f"aufnahme{number}.{kind.lower()}"
        soundfile.write(folder / name, noise(rate, seed=50 + number), rate, format=kind, subtype="PCM_16")
        names.append(name)
    for number, suffix in enumerate(FORMATS):
        rate = 16_000 if suffix in ("opus", "mp3", "ogg") else RATES[number]
        sound_file(folder / f"Ä {number}.{suffix}", noise(rate, seed=90 + number, level=0.3), rate=rate)
        names.append(f"Ä {number}.{suffix}")
    rows = [f"{name};{('ruhig', 'wütend')[i % 2]};s{i % 5};0,1;0,9" for i, name in enumerate(names)]
    text = "\r\n".join(["Datei;Stimmung;Sprecher;start;end", *rows]) + "\r\n"
    (folder / "liste.csv").write_bytes(text.encode("utf-8-sig"))
    return folder


def test_everything_is_embedded(folder):
    rows = (folder / "liste.csv").read_text("utf-8-sig").splitlines()[1:]
    assert len(rows) > 25
    options = ["--model", "mfcc", "--path-column", "Datei", "--speaker-column", "Sprecher"]
    done = cli("embed", "liste.csv", *options, "--json", cwd=folder)
    assert done.returncode == 0, done.stderr
    summary = json.loads(done.stdout)
    assert summary["failures"] == []
    assert summary["embedded"] == len(rows)
    assert summary["seconds"] == pytest.approx(0.8 * len(rows), rel=0.01)


@pytest.mark.parametrize(
    ("corpus", "names"),
    [
        ("ravdess", [f"Actor_{a:02}/03-01-0{e}-01-01-01-{a:02}.wav" for a in (1, 2) for e in (3, 5)]),
        ("emodb", ["wav/03a01Fa.wav", "wav/08a01Wa.wav", "wav/09b03Nb.wav"]),
        ("crema-d", ["AudioWAV/1001_DFA_ANG_XX.wav", "AudioWAV/1002_IEO_HAP_HI.wav"]),
    ],
)
def test_corpora_become_tables_by_one_command(tmp_path, corpus, names):
    touch(tmp_path / "C", *names)
    done = cli("manifest", corpus, "C", "--out", "clips.csv", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    header, *rows = (tmp_path / "clips.csv").read_text().splitlines()
    assert {"path", "speaker", "emotion"} <= set(header.split(","))
    assert len(rows) == len(names)


def test_a_run_says_how_much_scratch_space_segments_take(tmp_path):
    path = sound_file(tmp_path / "long.mp3", noise(40 * 16_000, level=0.3)).path
    rows = [f"{path.name},x,{start},{start + 1}" for start in (0, 15, 30)]
    (tmp_path / "t.csv").write_text("path,emotion,start,end\n" + "\n".join(rows) + "\n")
    planned = cli("embed", "t.csv", "--model", "mfcc", "--dry-run", "--json", cwd=tmp_path)
    needed = json.loads(planned.stdout)["scratch"]
    extent = 1 << 18
    assert needed == -(-40 * 16_000 // extent) * extent * 4
    small = cli("embed", "t.csv", "--model", "mfcc", "--dry-run", "--scratch", "1MB", cwd=tmp_path)
    assert "of scratch space would be used, and --scratch allows" in small.stderr
    assert "scratch" in small.stdout
    run = cli("embed", "t.csv", "--model", "mfcc", "--scratch", "1MB", cwd=tmp_path)
    assert "was too small for the samples of 1 file, whose segments were each decoded" in run.stderr
    wav = sound_file(tmp_path / "long.wav", noise(40 * 16_000)).path
    (tmp_path / "t.csv").write_text(f"path,emotion,start,end\n{wav.name},x,30,31\n")
    planned = cli("embed", "t.csv", "--model", "mfcc", "--dry-run", "--json", cwd=tmp_path)
    assert json.loads(planned.stdout)["scratch"] == 0


def test_noise_is_noise(folder):
    """What the table names was decoded, not silence in its place."""
    from layerprobe.embed.audio.sound import probe, read_clip
    from tests.sounds import clip_of

    for path in sorted(folder.glob("*.*")):
        if path.suffix != ".csv":
            clip = clip_of(path)
            assert float(np.abs(read_clip(clip, probe(clip))).max()) > 0.01, path.name
