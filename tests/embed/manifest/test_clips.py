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
    traces = tracemalloc.take_snapshot().traces
    tracemalloc.stop()
    # Python's table of interned texts is one large block, which grows once in a while for the whole process.
    size = sum(trace.size for trace in traces if trace.size < 1 << 20)
    assert size / len(clips) - len(clips[0].file) < 560  # bytes; with a Path object it would be 690


def test_reads_path_emotion_and_speaker(audio):
    clips = read_manifest(table(audio, "path,emotion,speaker\na.wav,happy,s1\nb.wav,sad,s2\n"))
    assert clips == [
        Clip(id="a.wav", file=str(audio / "a.wav"), labels={"emotion": "happy"}, speaker="s1"),
        Clip(id="b.wav", file=str(audio / "b.wav"), labels={"emotion": "sad"}, speaker="s2"),
    ]


def test_labels_are_text_as_written_without_the_space_around_it(audio):
    clips = read_manifest(table(audio, "path,level,age\na.wav,01, 7\nb.wav,0,1.0\nc.wav,TRUE,None\n"))
    assert [clip.labels for clip in clips] == [
        {"level": "01", "age": "7"},
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
        "a.wav,-1 days +23:59:59,2 x,x\n"  # 13
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
        (13, "'2 x'"),
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


@pytest.mark.parametrize("delimiter", [";", "\t", "|"])
@pytest.mark.parametrize("suffix", ["csv", "tsv", "txt"])
def test_another_delimiter_is_recognised(audio, delimiter, suffix):
    text = f"path{delimiter}emotion{delimiter}start{delimiter}end\n" + delimiter.join(
        ["a.wav", "h", "0,5", "1,25\n"]
    )
    (clip,) = read_manifest(table(audio, text, f"clips.{suffix}"))
    assert (clip.labels, clip.start, clip.end) == ({"emotion": "h"}, 0.5, 1.25)


def test_a_comma_in_a_number_is_no_decimal_point_where_commas_separate(audio):
    assert problems(table(audio, 'path,start,end\na.wav,"1,500",3\n')) == [
        (1, "start '1,500' is neither seconds (1.5) nor a time (0 days 00:00:01.5)")
    ]


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


def notes_of(path: Path, **options: str | bool) -> tuple[list[Clip], str]:
    lines: list[str] = []
    clips = read_manifest(path, note=lines.append, **options)  # type: ignore[arg-type]
    assert all("\n" not in line and line.startswith("note: clips.csv: ") for line in lines)
    return clips, "\n".join(lines)


def test_a_table_that_is_read_literally_needs_no_note(audio):
    text = "id,path,emotion,speaker,start,end,split\nx,a.wav,none,Nona,0,1,train\ny,b.wav,h,Nan,,,test\n"
    clips, notes = notes_of(table(audio, text))
    assert [(c.labels["emotion"], c.speaker) for c in clips] == [("none", "Nona"), ("h", "Nan")]
    assert notes == ""


def test_header_cells_are_matched_whatever_their_case_and_space(audio):
    text = "ID, Path , Emotion,SPEAKER, Start,END,Split \nx,a.wav, h , anna , 0.5 ,1,train\n"
    (clip,), notes = notes_of(table(audio, text))
    assert clip == Clip(
        id="x",
        file=str(audio / "a.wav"),
        start=0.5,
        end=1.0,
        labels={"Emotion": "h"},
        speaker="anna",
        split="train",
    )
    assert "'Start' (start, seconds) and 'END' (end, seconds)" in notes
    assert "'ID' as id and 'Split' as split and 'SPEAKER' as speaker" in notes


def test_named_columns_are_matched_whatever_their_case_and_space(audio):
    text = "Recording ,Subject\na.wav,s7\n"
    (clip,) = read_manifest(table(audio, text), path_column="recording", speaker_column="subject")
    assert (clip.id, clip.speaker, clip.labels) == ("a.wav", "s7", {})


def test_an_id_column_in_capitals_that_repeats_is_a_label(audio):
    clips, notes = notes_of(table(audio, "path,ID\na.wav,s1\nb.wav,s1\n"))
    assert [(clip.id, clip.labels) for clip in clips] == [("a.wav", {"ID": "s1"}), ("b.wav", {"ID": "s1"})]
    assert "'ID' is a label" in notes


@pytest.mark.parametrize("column", ["speaker", "Speaker ID", "speakerID", "spk", "SPK-ID"])
def test_the_speaker_column_is_found(audio, column):
    assert read_manifest(table(audio, f"path,{column}\na.wav,s1\n"))[0].speaker == "s1"


def test_a_column_that_may_hold_the_speakers_is_noted(audio):
    (clip,), notes = notes_of(table(audio, "path,actor_id\na.wav,7\n"))
    assert (clip.speaker, clip.labels) == (None, {"actor_id": "7"})
    assert "'actor_id' is a label; if it names speakers, add --speaker-column" in notes


def test_the_speaker_of_a_channel_is_not_taken_for_a_label(audio):
    """As docs/recordings.md writes it for --channels each."""
    (clip,), notes = notes_of(table(audio, "path,speaker_0,speaker_1\na.wav,ann,ben\n"))
    assert (clip.labels, "speaker-column" in notes) == ({"speaker_0": "ann", "speaker_1": "ben"}, False)


def test_a_speaker_called_none_is_noted_and_a_class_is_not(audio):
    clips, notes = notes_of(table(audio, "path,emotion,speaker\na.wav,none,None\nb.wav,h,s\n"))
    assert [(clip.labels["emotion"], clip.speaker) for clip in clips] == [("none", "None"), ("h", "s")]
    assert "read as the name of a speaker: 'None' in column 'speaker' (1 row)" in notes
    assert "read as missing" not in notes


@pytest.mark.parametrize(
    "text", ["NA", "N/A", "n/a", "n.a.", "null", "NULL", "<NA>", "#N/A", "#REF!", "#DIV/0!", "\\N"]
)
def test_texts_of_other_programs_for_no_label_are_missing_with_a_note(audio, text):
    clips, notes = notes_of(table(audio, f"path,emotion,speaker\na.wav,{text},{text}\nb.wav,h,s\n"))
    assert [(clip.labels, clip.speaker) for clip in clips] == [({}, text), ({"emotion": "h"}, "s")]
    assert f"read as missing: '{text}' in column 'emotion' (1 row)" in notes
    assert f"read as the name of a speaker: '{text}' in column 'speaker' (1 row)" in notes


@pytest.mark.parametrize("text", ["nan", "NaN"])
def test_the_text_of_a_float_nan_is_missing_with_a_note(audio, text):
    (clip,), notes = notes_of(table(audio, f"path,emotion,speaker\na.wav,{text},{text}\n"))
    assert (clip.labels, clip.speaker) == ({}, None)
    assert f"'{text}' in column 'speaker'" in notes


def test_missing_values_of_parquet_need_no_note(audio):
    frame = pd.DataFrame(
        {
            "path": ["a.wav", "b.wav", "c.wav"],
            "emotion": pd.array(["none", None, "Nan"], dtype="string"),
            "rating": [1.5, float("nan"), 2.0],
            "age": pd.array([1, None, 3], dtype="Int64"),
            "speaker": pd.Categorical(["Nan", None, "01"]),
        }
    )
    frame.to_parquet(audio / "clips.parquet")
    lines: list[str] = []
    clips = read_manifest(audio / "clips.parquet", note=lines.append)
    assert [(c.speaker, c.labels) for c in clips] == [
        ("Nan", {"emotion": "none", "rating": "1.5", "age": "1"}),
        (None, {}),
        ("01", {"emotion": "Nan", "rating": "2.0", "age": "3"}),
    ]
    assert lines == []


@pytest.mark.parametrize(
    ("columns", "times", "segment"),
    [
        ("begin,end", "1.0,2.5", (1.0, 2.5)),
        ("start,duration", "1.0,1.5", (1.0, 2.5)),
        ("offset,duration", "1.0,1.5", (1.0, 2.5)),
        ("start_time,end_time", "1.0,2.5", (1.0, 2.5)),
        ("StartTime,EndTime", '"00:00:01,000","00:00:02,500"', (1.0, 2.5)),
        ("onset,offset", "1.0,2.5", (1.0, 2.5)),
        ("onset,duration", "1.0,1.5", (1.0, 2.5)),
        ("start_s,stop_s", "1.0,2.5", (1.0, 2.5)),
        ("Start (ms),End (ms)", "1000,2500", (1.0, 2.5)),
        ("start,duration_ms", "1.0,1500", (1.0, 2.5)),
        ("startMs,stopMs", "1000,2500", (1.0, 2.5)),
        ("tmin,tmax", "1.0,2.5", (1.0, 2.5)),
        ("from,to", "1.0,2.5", (1.0, 2.5)),
        ("end,duration", "2.5,1.5", (1.0, 2.5)),
        ("Begin Time - ss.msec,End Time - ss.msec", "1.0,2.5", (1.0, 2.5)),
        ("Begin Time - hh:mm:ss.ms,Duration - msec", "00:00:01.000,1500", (1.0, 2.5)),
        ("segment_start,segment_end", "1.0,2.5", (1.0, 2.5)),
        ("start,stop", "0 days 00:00:01,0 days 00:00:02.5", (1.0, 2.5)),
        ("startms,endms", "1000,2500", (1.0, 2.5)),
        ("starttimems,durationms", "1000,1500", (1.0, 2.5)),
        ("begin_time,end_time", "0:01,00:02.5", (1.0, 2.5)),
        ("begin,end", "1 s,2.5s", (1.0, 2.5)),
        ("start_ms,stop_ms", "1 s,2500ms", (1.0, 2.5)),
        ("ｓｔａｒｔ,Ｅｎｄ", "1,2.5", (1.0, 2.5)),
    ],
)
def test_segments_under_other_names_are_cut_and_noted(audio, columns, times, segment):
    (clip,), notes = notes_of(table(audio, f"path,{columns},emotion\na.wav,{times},h\n"))
    assert (clip.start, clip.end) == segment
    assert clip.id == "a.wav#1.0-2.5"
    assert clip.labels == {"emotion": "h"}
    assert len(notes.splitlines()) == 1
    assert all(f"'{name}' (" in notes for name in columns.split(","))


@pytest.mark.parametrize(
    ("columns", "cells", "segment", "words"),
    [
        ("start,emotion", "1.5,h", (1.5, None), "only the column 'start'"),
        ("End,emotion", "1.5,h", (None, 1.5), "only the column 'End'"),
        ("begin,emotion", "1.5,h", (None, None), "column 'begin' holds numbers"),
        ("offset,emotion", "1.5,h", (None, None), "column 'offset' holds numbers"),
        ("duration,emotion", "1.5,h", (None, None), "column 'duration' holds numbers"),
        ("start_frame,end_frame", "150,250", (None, None), "'start_frame', 'end_frame'"),
        ("start_sample,emotion", "16000,h", (None, None), "'start_sample'"),
        ("start,end_frame", "1.5,250", (1.5, None), "'end_frame' holds times"),
        ("begin,start_time,end", "1,9,2", (1.0, 2.0), "'start_time' holds times"),
        ("t0,t1", "1,2", (None, None), "'t0', 't1'"),
        ("in,out", "1,2", (None, None), "'in', 'out'"),
        ("Beginn,Ende", "1,2", (None, None), "'Beginn', 'Ende'"),
        ("started,ended", "1,2", (None, None), "'started', 'ended'"),
        ("begin_time,end_time", "1h23,1h24", (None, None), "'begin_time', 'end_time'"),
        ("start,end_time", "1.5,?2", (1.5, None), "only the column 'start'"),
        ("segment,emotion", "1.0-2.5,h", (None, None), "'segment'"),
        ("[START_TIME - END_TIME],emotion", "[6.29 - 8.23],h", (None, None), "'[START_TIME - END_TIME]'"),
    ],
)
def test_a_time_without_a_meaning_is_noted(audio, columns, cells, segment, words):
    (clip,), notes = notes_of(table(audio, f"path,{columns}\na.wav,{cells}\n"))
    assert (clip.start, clip.end) == segment
    assert words in notes


@pytest.mark.parametrize(
    ("cell", "seconds"),
    [("1:23", 83.0), ("90:00.5", 5_400.5), ("1:00:00", 3_600.0), ("1500 ms", 1.5), ("2us", 2e-6)],
)
def test_minutes_and_units_in_a_cell_are_read(audio, cell, seconds):
    (clip,), notes = notes_of(table(audio, f"path,start,end\na.wav,,{cell}\n"))
    assert (clip.start, clip.end, notes) == (None, seconds, "")


@pytest.mark.parametrize("cell", ["1:75", "1 hour", "1_0", "1:2", "5 x", "1..5s", "0x10"])
def test_what_only_resembles_a_time_is_a_fault(audio, cell):
    ((row, what),) = problems(table(audio, f"path,start,end\na.wav,,{cell}\n"))
    assert (row, what.startswith(f"end '{cell}' is neither seconds")) == (1, True)


@pytest.mark.parametrize("columns", ["segment,turn", "take,interval"])
def test_numbers_of_segments_are_no_times(audio, columns):
    (clip,), notes = notes_of(table(audio, f"path,{columns}\na.wav,3,12\n"))
    assert (list(clip.labels.values()), notes) == (["3", "12"], "")


@pytest.mark.parametrize("columns", ["from,to", "begin,end_time", "duration,stop"])
def test_text_under_the_name_of_a_time_is_a_label(audio, columns):
    (clip,), notes = notes_of(table(audio, f"path,{columns}\na.wav,anna,ben\n"))
    assert list(clip.labels.values()) == ["anna", "ben"]
    assert notes == ""


def test_faults_of_segments_under_other_names(audio):
    text = "path,begin,dur\na.wav,1,2\na.wav,1.0,soon\na.wav,3,0\na.wav,4,-1\n"
    assert problems(table(audio, text)) == [
        (2, "dur 'soon' is neither seconds (1.5) nor a time (0 days 00:00:01.5)"),
        (3, "end 3 is not after start 3"),
        (4, "dur '-1' is negative"),
    ]


def test_files_under_another_spelling_of_their_path_are_the_same_clips(audio):
    text = "path,emotion\na.wav ,h\n.\\b.wav,h\n"
    for must_exist in (True, False):
        clips, notes = notes_of(table(audio, text), must_exist=must_exist)
        assert [clip.path for clip in clips] == [audio / "a.wav", audio / "b.wav"]
        assert "with backslashes" in notes
    assert problems(table(audio, "path\na.wav \na.wav\n")) == [
        (2, "has the same clip or id as row 1: 'a.wav'")
    ]


def test_a_missing_file_of_a_similar_name_is_suggested(audio):
    path = table(audio, "path\nA.WAV\n")
    assert problems(path) == [(1, f"no such file: {audio / 'A.WAV'} (did you mean 'a.wav'?)")]
    _, notes = notes_of(path, must_exist=False)
    assert "no such file: 'A.WAV'; did you mean 'a.wav'?" in notes


def test_a_path_of_70_000_letters_is_one_short_line(audio):
    with pytest.raises(ManifestError) as caught:
        read_manifest(table(audio, f"path,emotion\na.wav,h\n{'x' * 70_000},h\n"), must_exist=False)
    assert "row 2: path is longer than any can be" in str(caught.value)
    assert len(str(caught.value)) < 400
