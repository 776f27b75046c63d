"""Tables of clips: which are read and which are refused."""

from __future__ import annotations

import pickle
import tracemalloc
from copy import copy
from dataclasses import FrozenInstanceError, asdict, replace
from pathlib import Path

import pandas as pd
import pytest

from layerprobe.cache.common.errors import ManifestError
from layerprobe.embed.manifest.clips import Clip, read_manifest


@pytest.fixture
def audio(tmp_path: Path) -> Path:
    """A folder with a few empty files: reading a table does not open them."""
    for name in ("a.wav", "b.wav", "c.wav", "سعيد/صوت.wav"):
        file = tmp_path / name
        file.parent.mkdir(exist_ok=True)
        file.write_bytes(b"")
    return tmp_path


def table(folder: Path, text: str, name: str = "clips.csv", encoding: str = "utf-8") -> Path:
    path = folder / name
    path.write_text(text, encoding=encoding)
    return path


def problems(path: Path, **options: str | bool) -> list[tuple[int | None, str]]:
    with pytest.raises(ManifestError) as caught:
        read_manifest(path, **options)  # type: ignore[arg-type]
    return [(problem.row, problem.what) for problem in caught.value.problems]


def test_a_clip_is_an_immutable_value():
    clip = Clip(id="a", file="x/y.wav", start=1.0, labels={"emotion": "happy"})
    assert clip.path == Path("x/y.wav")
    assert replace(clip, file="z.wav") == Clip(id="a", file="z.wav", start=1.0, labels={"emotion": "happy"})
    assert pickle.loads(pickle.dumps(clip)) == copy(clip) == clip != replace(clip, file="y.wav")
    assert asdict(clip)["file"] == "x/y.wav"
    assert "file='x/y.wav'" in repr(clip)
    with pytest.raises(FrozenInstanceError):
        clip.file = "z.wav"  # type: ignore[misc]
    with pytest.raises(TypeError):
        Clip(id="a")  # type: ignore[call-arg]


def test_clips_need_little_memory(audio):
    rows = "".join(f"folder/speaker{i % 60}-{i}.wav,{i % 3},s{i % 60}\n" for i in range(5_000))
    path = table(audio, f"path,emotion,speaker\n{rows}")
    tracemalloc.start()
    clips = read_manifest(path, must_exist=False)
    size, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert size / len(clips) - len(clips[0].file) < 560  # bytes; with a Path object it would be 690


def test_reads_path_emotion_and_speaker(audio):
    clips = read_manifest(table(audio, "path,emotion,speaker\na.wav,happy,s1\nb.wav,sad,s2\n"))
    assert clips == [
        Clip(id="a.wav", file=str(audio / "a.wav"), labels={"emotion": "happy"}, speaker="s1"),
        Clip(id="b.wav", file=str(audio / "b.wav"), labels={"emotion": "sad"}, speaker="s2"),
    ]


def test_labels_are_text_exactly_as_written(audio):
    clips = read_manifest(table(audio, "path,level,age\na.wav,01, 7\nb.wav,0,1.0\nc.wav,TRUE,None\n"))
    assert [clip.labels for clip in clips] == [
        {"level": "01", "age": " 7"},
        {"level": "0", "age": "1.0"},
        {"level": "TRUE", "age": "None"},
    ]


@pytest.mark.parametrize("empty", ["", "NaN", "nan"])
def test_an_empty_label_is_absent(audio, empty):
    (clip,) = read_manifest(
        table(audio, f"path,emotion,word,speaker,split\na.wav,{empty},3,{empty},{empty}\n")
    )
    assert clip == Clip(id="a.wav", file=str(audio / "a.wav"), labels={"word": "3"})


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
def test_arabic_paths_labels_and_columns_with_or_without_bom(audio, encoding):
    text = "path,العاطفة,speaker\nسعيد/صوت.wav,سعيد,أحمد\n"
    (clip,) = read_manifest(table(audio, text, encoding=encoding))
    assert clip.path == audio / "سعيد" / "صوت.wav"
    assert clip.labels == {"العاطفة": "سعيد"}
    assert clip.speaker == "أحمد"


def test_segments_split_and_id(audio):
    text = (
        "id,path,start,end,split,emotion\nx,a.wav,0.5,1.25,train,h\ny,a.wav,,2,test,s\nz,a.wav,1e-1,,test,s\n"
    )
    clips = read_manifest(table(audio, text))
    assert [(c.id, c.start, c.end, c.split) for c in clips] == [
        ("x", 0.5, 1.25, "train"),
        ("y", None, 2.0, "test"),
        ("z", 0.1, None, "test"),
    ]


def test_a_segment_is_part_of_the_id(audio):
    text = "path,start,end\na.wav,0.5,1.25\na.wav,1.25,\na.wav,,0.5\na.wav,0,\n"
    clips = read_manifest(table(audio, text))
    assert [clip.id for clip in clips] == ["a.wav#0.5-1.25", "a.wav#1.25-", "a.wav#-0.5", "a.wav"]
    assert (clips[3].start, clips[3].end) == (None, None)


def test_audformat_table(audio):
    text = (
        "file,start,end,emotion\n"
        "a.wav,0 days 00:00:00,NaT,happy\n"
        "a.wav,0 days 00:00:00,0 days 00:00:01.500000,sad\n"
        "b.wav,0 days 00:01:00.250000,0 days 01:00:01.000001,sad\n"
    )
    clips = read_manifest(table(audio, text))
    assert [(c.start, c.end) for c in clips] == [(None, None), (0.0, 1.5), (60.25, 3601.000001)]
    assert [c.labels["emotion"] for c in clips] == ["happy", "sad", "sad"]


def test_audformat_parquet_as_pandas_writes_it(audio):
    index = pd.MultiIndex.from_arrays(
        [["a.wav", "b.wav"], pd.to_timedelta([0.0, 0.25], unit="s"), pd.to_timedelta([None, 1.5], unit="s")],
        names=["file", "start", "end"],
    )
    frame = pd.DataFrame({"emotion": pd.Categorical(["h", None]), "rating": [1, 2]}, index=index)
    frame.to_parquet(audio / "db.parquet")
    assert read_manifest(audio / "db.parquet") == [
        Clip(id="a.wav", file=str(audio / "a.wav"), labels={"emotion": "h", "rating": "1"}),
        Clip(id="b.wav#0.25-1.5", file=str(audio / "b.wav"), start=0.25, end=1.5, labels={"rating": "2"}),
    ]


def test_hugging_face_metadata(audio):
    clips = read_manifest(table(audio, "file_name,label\na.wav,x\n", "metadata.csv"))
    assert clips == [Clip(id="a.wav", file=str(audio / "a.wav"), labels={"label": "x"})]


@pytest.mark.parametrize(
    "column", ["path", "file", "file_name", "filename", "audio", "wav", "Path", "FILE", " File "]
)
def test_the_path_column_is_found(audio, column):
    (clip,) = read_manifest(table(audio, f"emotion,{column}\nh,a.wav\n"))
    assert clip.path == audio / "a.wav"
    assert clip.labels == {"emotion": "h"}


def test_columns_can_be_named(audio):
    text = "path,recording,speaker,subject\nnowhere.wav,a.wav,x,s7\n"
    (clip,) = read_manifest(table(audio, text), path_column="recording", speaker_column="subject")
    assert clip.path == audio / "a.wav"
    assert clip.speaker == "s7"
    assert clip.labels == {"path": "nowhere.wav", "speaker": "x"}


def test_a_column_without_a_name_is_no_label(audio):
    pd.DataFrame({"path": ["a.wav"], "emotion": ["h"]}).to_csv(audio / "clips.csv")
    (clip,) = read_manifest(audio / "clips.csv")
    assert clip.labels == {"emotion": "h"}


def test_absolute_paths_and_paths_out_of_the_folder(audio):
    (audio / "tables").mkdir()
    text = f"path\n{audio}/a.wav\n../b.wav\n"
    clips = read_manifest(table(audio / "tables", text))
    assert [clip.path for clip in clips] == [audio / "a.wav", audio / "b.wav"]


def test_relative_table_gives_paths_from_the_working_folder(audio, monkeypatch):
    table(audio, "path\nسعيد/صوت.wav\n")
    monkeypatch.chdir(audio)
    assert read_manifest(Path("clips.csv"))[0].path == Path("سعيد/صوت.wav")


def test_all_faults_are_reported_at_once_with_their_rows(audio):
    text = (
        "path,start,end,emotion\n"
        ",,,x\n"  # 1
        "gone.wav,,,x\n"  # 2
        "a.wav,soon,2,x\n"  # 3
        "a.wav,-1,2,x\n"  # 4
        "a.wav,2,1,x\n"  # 5
        "a.wav,1,1,x\n"  # 6
        "a.wav,inf,,x\n"  # 7
        "b.wav,1,2,x\n"  # 8
        "\n"  # 9
        "b.wav,1.0,2.00,y\n"  # 10
        "b.wav,1\n"  # 11
        "سعيد,,,x\n"  # 12
        "a.wav,-1 days +23:59:59,2 s,x\n"  # 13
    )
    expected = [
        (1, "no path"),
        (2, "gone.wav"),
        (3, "'soon'"),
        (4, "negative"),
        (5, "not after"),
        (6, "not after"),
        (7, "finite"),
        (10, "row 8"),
        (11, "2 cells"),
        (12, "folder"),
        (13, "negative"),
        (13, "'2 s'"),
    ]
    reported = problems(table(audio, text))
    assert [row for row, _ in reported] == [row for row, _ in expected]
    assert [word for (_, what), (_, word) in zip(reported, expected, strict=True) if word not in what] == []


def test_a_zero_byte_in_a_path_is_a_fault_of_its_row(audio):
    assert problems(table(audio, "path\na.wav\na\0.wav\n"), must_exist=False) == [
        (2, "path contains a zero byte, which no file name can")
    ]


def test_faults_after_the_first_twenty_are_counted(audio):
    path = table(audio, "path\n" + "".join(f"gone{i}.wav\n" for i in range(30)))
    with pytest.raises(ManifestError) as caught:
        read_manifest(path)
    assert len(caught.value.problems) == 30
    assert "and 10 more" in str(caught.value)
    assert f"relative paths start at {audio}" in str(caught.value)


def test_a_missing_file_of_many_segments_is_reported_once(audio):
    path = table(audio, "path,start,end\ngone.wav,0,1\na.wav,,\ngone.wav,1,2\n")
    assert problems(path) == [(1, f"no such file: {audio / 'gone.wav'}")]


def test_existence_can_be_left_to_the_reader_of_audio(audio):
    path = table(audio, "path\ngone.wav\na.wav\n")
    assert [clip.id for clip in read_manifest(path, must_exist=False)] == ["gone.wav", "a.wav"]


def test_ids_must_be_unique_and_not_empty(audio):
    reported = problems(table(audio, "id,path\nx,a.wav\n,b.wav\nx,c.wav\n"))
    assert reported[0] == (2, "has no id")
    assert reported[1][0] == 3
    assert "row 1" in reported[1][1]


def test_missing_columns(audio):
    reported = problems(table(audio, "path,emotion\na.wav,h\n"), path_column="wave", speaker_column="subject")
    assert [row for row, _ in reported] == [None, None]
    assert "'wave'" in reported[0][1]
    assert "'path', 'emotion'" in reported[0][1]
    assert "'subject'" in reported[1][1]


def test_a_table_without_a_path_column_is_refused_with_its_columns(audio):
    ((row, what),) = problems(table(audio, "clip,emotion\na.wav,h\n"))
    assert row is None
    assert "'clip', 'emotion'" in what


@pytest.mark.parametrize("delimiter", [";", "\t"])
def test_another_delimiter_is_recognised(audio, delimiter):
    with pytest.raises(ManifestError, match="commas"):
        read_manifest(table(audio, f"path{delimiter}emotion\na.wav{delimiter}h\n"))


def test_two_columns_of_one_name(audio):
    assert problems(table(audio, "path,label,label\na.wav,1,2\n")) == [
        (None, "has more than one column 'label'")
    ]


@pytest.mark.parametrize(
    ("text", "word"), [("", "is empty"), ("path,emotion\n", "no rows"), ("path\n\n\n", "no rows")]
)
def test_empty_tables(audio, text, word):
    ((row, what),) = problems(table(audio, text))
    assert row is None
    assert word in what
