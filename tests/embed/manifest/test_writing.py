"""Writing tables of clips: they are read back unchanged, and a write that fails changes nothing."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from layerprobe.cache.common.errors import InputError
from layerprobe.embed.manifest.clips import Clip, read_manifest, write_manifest
from layerprobe.embed.manifest.columns import RESERVED, clean

# Cells are read without the space around them, and without texts that stand for a missing value.
MISSING = {"", "nan", "na", "n/a", "#n/a", "<na>", "null"}
VALUES = st.text(max_size=8).map(clean).filter(lambda text: text.lower() not in MISSING)
NAMES = st.text(min_size=1, max_size=8).filter(
    lambda n: not {"/", "\0", "\\"} & set(n) and n not in {".", ".."} and n.strip() == n
)
LABELS = VALUES.filter(lambda name: name.casefold() not in RESERVED) | st.sampled_from(
    ["begin", "offset", "duration", "stop_ms", "=name"]
)
TIMES = st.floats(min_value=1e-6, max_value=1e5)


@st.composite
def segments(draw) -> tuple[float | None, float | None]:
    start, end = draw(st.tuples(st.none() | TIMES, st.none() | TIMES))
    return (start, end) if start is None or end is None or end > start else (start, None)


@st.composite
def clips_below(draw, root: Path) -> list[Clip]:
    labels = draw(st.lists(LABELS, max_size=3, unique=True))
    folders = st.sampled_from([root / "tables", root / "tables" / "sub", root / "audio", Path("/elsewhere")])
    clips = {}
    for name, (start, end) in draw(st.lists(st.tuples(NAMES, segments()), min_size=1, max_size=6)):
        path = draw(folders) / name
        own = draw(st.booleans())
        clip_id = draw(VALUES) if own else f"{path.name}#{start}-{end}"
        clips[clip_id] = Clip(
            id=clip_id,
            file=str(path),
            start=start,
            end=end,
            labels={label: draw(VALUES) for label in labels if draw(st.booleans())},
            speaker=draw(st.none() | VALUES),
            split=draw(st.none() | st.sampled_from(["train", "test"])),
        )
    return list(clips.values())


@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".parquet"])
def test_written_tables_are_read_back_unchanged(suffix, tmp_path):
    root = tmp_path.resolve()
    out = root / "tables" / f"clips{suffix}"

    @settings(deadline=None)
    @given(clips_below(root))
    def check(clips: list[Clip]) -> None:
        write_manifest(clips, out)
        assert read_manifest(out, must_exist=False) == clips

    check()


def test_plain_ids_need_no_column(tmp_path):
    source = _table(tmp_path, "path,start,end,emotion\na.wav,0.5,1.5,h\nb.wav,,,s\n")
    write_manifest(read_manifest(source), tmp_path / "again.csv")
    assert (tmp_path / "again.csv").read_text() == (
        "path,start,end,speaker,emotion\na.wav,0.5,1.5,,h\nb.wav,,,,s\n"
    )


def test_ids_stay_when_the_table_is_written_elsewhere(tmp_path):
    clips = read_manifest(_table(tmp_path, "path\na.wav\nb.wav\n"))
    write_manifest(clips, tmp_path / "deep" / "er" / "clips.csv")
    again = read_manifest(tmp_path / "deep" / "er" / "clips.csv")
    assert [clip.id for clip in again] == ["a.wav", "b.wav"]
    assert [clip.path.samefile(tmp_path / clip.id) for clip in again] == [True, True]


def test_an_existing_table_survives_a_write_that_fails(tmp_path):
    path = _table(tmp_path, "path\na.wav\n")
    clips = [Clip(id="x", file=os.fsdecode(b"/tmp/\xff.wav"))]
    with pytest.raises(InputError, match="not Unicode"):
        write_manifest(clips, path)
    assert path.read_text() == "path\na.wav\n"
    assert [entry.name for entry in tmp_path.iterdir() if entry.name.startswith(".")] == []


@pytest.mark.parametrize("name", [*RESERVED, "Start", " path "])
def test_a_label_cannot_have_a_reserved_name(tmp_path, name):
    clips = [Clip(id="a", file=str(tmp_path / "a.wav"), labels={name: "x"})]
    with pytest.raises(InputError, match=f"'{name}'"):
        write_manifest(clips, tmp_path / "clips.csv")
    assert not (tmp_path / "clips.csv").exists()


def test_repeated_ids_and_empty_tables_are_not_written(tmp_path):
    clip = Clip(id="a", file=str(tmp_path / "a.wav"))
    with pytest.raises(InputError, match="same id"):
        write_manifest([clip, clip], tmp_path / "clips.csv")
    with pytest.raises(InputError, match="no clips"):
        write_manifest([], tmp_path / "clips.csv")


def _table(folder: Path, text: str) -> Path:
    (folder / "a.wav").write_bytes(b"")
    (folder / "b.wav").write_bytes(b"")
    path = folder / "clips.csv"
    path.write_text(text, encoding="utf-8")
    return path
