"""A messy folder as in docs/recordings.md: mixed formats, rates and channels, and unusable files."""

from __future__ import annotations

import csv
import json
import re
import shlex
from pathlib import Path

import numpy as np
import pytest
import soundfile

from tests.run import ROOT, cli
from tests.sounds import COMPRESSED, cut_off, encoded, noise, ogg_pages, sound_file

pytestmark = pytest.mark.slow

PAGE = (ROOT / "docs" / "recordings.md").read_text()
GOOD = [
    # name, rate, channels, subtype
    ("a.wav", 16_000, 1, "PCM_16"),
    ("b.wav", 8_000, 1, "PCM_U8"),
    ("c.wav", 44_100, 2, "PCM_24"),
    ("d.wav", 48_000, 6, "FLOAT"),
    ("deep/er/e.flac", 22_050, 2, None),
    ("deep/er/f.ogg", 48_000, 1, None),
    ("deep/g.mp3", 44_100, 2, None),
    ("deep/h.m4a", 44_100, 2, None),
    ("deep/note.webm", 48_000, 1, None),
    ("with a blank é.wav", 11_025, 1, "PCM_32"),
]


def commands_about(folder: str) -> list[list[str]]:
    """The arguments of the page's commands for that folder and its table, in order."""
    block = next(block for block in re.findall(r"```sh\n(.*?)```", PAGE, re.DOTALL) if folder in block)
    return [shlex.split(line, comments=True)[2:] for line in block.splitlines() if line.startswith("python")]


def documented_reasons() -> dict[str, str]:
    """The page's table of unusable files: kind of file → reason in failures.csv."""
    table = PAGE.split("| a file that is |", 1)[1].split("\n\n", 1)[0]
    return dict(re.findall(r"^\| ([^|]+?) +\| `([^`]+)` \|$", table, re.MULTILINE))


@pytest.fixture(scope="module")
def messy(tmp_path_factory) -> tuple[Path, dict[str, str]]:
    """A working folder that contains SPEECH, and the kind of each unusable file as docs/recordings.md names
    it."""
    work = tmp_path_factory.mktemp("messy")
    for number, label in enumerate(("calm", "lively")):
        for seed, (name, rate, channels, subtype) in enumerate(GOOD):
            path = work / "SPEECH" / label / name
            path.parent.mkdir(parents=True, exist_ok=True)
            wave = noise(rate, seed=seed + 100 * number, channels=channels, level=0.05 + 0.3 * number)
            if path.suffix[1:] in COMPRESSED:
                encoded(path, wave, kind=path.suffix[1:])
            else:
                sound_file(path, wave, rate, subtype=subtype)
    bad = work / "SPEECH" / "lively" / "old disk"
    bad.mkdir()
    good = noise(16_000, seed=7)
    for name in ("half.wav", "header.wav", "half.flac"):
        sound_file(bad / name, good)
    cut_off(bad / "half.wav", keep=0.5)
    cut_off(bad / "half.flac", keep=0.5)
    (bad / "header.wav").write_bytes((bad / "header.wav").read_bytes()[:40] + b"\0\0\0\0")
    (bad / "zero.wav").write_bytes(b"")
    (bad / "page.wav").write_text("<html>not found</html>")
    sound_file(bad / "flat.wav", np.full(16_000, 0.25, np.float32))
    sound_file(bad / "short.wav", good[:300])
    soundfile.write(bad / "nan.wav", np.where(np.arange(16_000) == 9, np.nan, good), 16_000, subtype="FLOAT")
    sound_file(bad / "twice.ogg", noise(64_000, seed=4))
    (bad / "twice.ogg").write_bytes((bad / "twice.ogg").read_bytes() * 2)
    sound_file(bad / "inverted.wav", np.stack([good, -good], 1))
    for name, left in (
        ("end.ogg", lambda data, begin, end: data[: ogg_pages(data)[-1][0]]),
        ("page.ogg", lambda data, begin, end: data[: end - 1] + bytes([data[end - 1] ^ 1]) + data[end:]),
        ("hole.ogg", lambda data, begin, end: data[:begin] + data[end:]),
    ):
        path = sound_file(bad / name, noise(64_000, seed=4)).path
        data = path.read_bytes()
        path.write_bytes(left(data, *ogg_pages(data)[3]))
    for name in ("half.mp3", "hole.mp3"):
        sound_file(bad / name, noise(44_100, seed=3), 44_100)
    data = (bad / "hole.mp3").read_bytes()
    (bad / "hole.mp3").write_bytes(data[: len(data) // 3] + data[len(data) // 2 :])
    cut_off(bad / "half.mp3", keep=0.5)
    data = (bad / "half.mp3").read_bytes()
    (bad / "tag.mp3").write_bytes(b"ID3\x04\0\0\0\0\x10\0" + data)
    encoded(bad / "index.mov", noise(48_000, seed=3), kind="mov")
    data = (bad / "index.mov").read_bytes()
    (bad / "index.mov").write_bytes(data.replace(b"mdhd", b"mdhe"))
    sound_file(bad / "gone.wav", good)
    (work / "SPEECH" / "calm" / "old.ape").write_bytes(b"\0" * 100)
    (work / "SPEECH" / "calm" / "notes.txt").write_text("no sound")
    (work / "SPEECH" / "calm" / ".hidden.wav").write_bytes(b"")
    kinds = {
        "half.wav": "truncated",
        "half.flac": "truncated",
        "end.ogg": "Ogg without its last pages",
        "page.ogg": "Ogg of which a page is damaged",
        "hole.ogg": "Ogg of which a page is missing",
        "half.mp3": "truncated MP3",
        "hole.mp3": "MP3 with broken frames",
        "tag.mp3": "MP3 with a tag of the wrong length",
        "index.mov": "MP4 or MOV with a damaged index",
        "header.wav": "a header without sound",
        "zero.wav": "zero bytes",
        "page.wav": "not an audio file",
        "flat.wav": "one value throughout",
        "short.wav": "shorter than 25 ms",
        "nan.wav": "NaN or infinite samples",
        "twice.ogg": "several files joined end to end",
        "inverted.wav": "stereo with one channel inverted",
        "gone.wav": "gone since the table was made",
    }
    return work, kinds


def test_the_page_names_every_kind_of_unusable_file(messy):
    assert set(documented_reasons()) == set(messy[1].values())


def test_the_pages_commands_succeed_and_list_every_unusable_clip_with_its_reason(messy):
    work, kinds = messy
    manifest, embed, classify = commands_about("SPEECH")
    done = cli(*manifest, cwd=work)
    assert done.returncode == 0, done.stderr
    assert "calm/old.ape: cannot be decoded (.ape); convert it to WAV or FLAC" in done.stderr
    with (work / "mine.csv").open() as file:
        assert len(list(csv.DictReader(file))) == 2 * len(GOOD) + len(kinds)
    (work / "SPEECH" / "lively" / "old disk" / "gone.wav").unlink()
    done = cli(*embed, "--json", cwd=work)
    assert done.returncode == 0, done.stderr
    summary = json.loads(done.stdout)
    assert (summary["embedded"], len(summary["failures"])) == (2 * len(GOOD), len(kinds))
    with (Path(work / summary["store"]) / "failures.csv").open() as file:
        listed = {Path(row["path"]).name: row["reason"] for row in csv.DictReader(file)}
    assert listed.keys() == kinds.keys()
    for name, kind in kinds.items():
        assert documented_reasons()[kind] in listed[name], (name, listed[name])
    quick = ["--trials", "2", "--folds", "2", "--inner-folds", "2", "--jobs", "1", "--heads", "logreg"]
    done = cli(*classify, *quick, cwd=work)
    assert done.returncode == 0, done.stderr
    assert f"{len(kinds)} clips in neither training nor test" in done.stderr
    summary = json.loads((work / "runs" / "mine" / "summary.json").read_text())
    assert summary["data"]["excluded"]["count"] == len(kinds)
