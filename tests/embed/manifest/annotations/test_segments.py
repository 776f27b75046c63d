"""Annotation files of Praat, ELAN and Audacity, as tables of clips."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from layerprobe.cache.common.errors import InputError
from layerprobe.embed.manifest.annotations.segments import annotated_clips
from layerprobe.embed.manifest.clips import read_manifest
from tests.run import cli, refused

Spans = list[tuple[float, float, str]]


def textgrid(tiers: dict[str, Spans], *, end: float = 3.0) -> str:
    text = (
        'File type = "ooTextFile"\nObject class = "TextGrid"\n\n'
        f"xmin = 0\nxmax = {end}\ntiers? <exists>\nsize = {len(tiers)}\nitem []:\n"
    )
    for number, (name, spans) in enumerate(tiers.items(), start=1):
        text += f'    item [{number}]:\n        class = "IntervalTier"\n        name = "{name}"\n'
        text += f"        xmin = 0\n        xmax = {end}\n        intervals: size = {len(spans)}\n"
        for place, (start, stop, label) in enumerate(spans, start=1):
            text += (
                f"        intervals [{place}]:\n            xmin = {start}\n            xmax = {stop}\n"
                f'            text = "{label}"\n'
            )
    return text


def eaf(tiers: dict[str, Spans], *, media: str = "", participant: str = "", before: str = "") -> str:
    slots, body, count = "", "", 0
    for name, spans in tiers.items():
        body += f'<TIER TIER_ID="{name}" PARTICIPANT="{participant}" LINGUISTIC_TYPE_REF="x">'
        for start, stop, label in spans:
            for time in (start, stop):
                count += 1
                slots += f'<TIME_SLOT TIME_SLOT_ID="ts{count}" TIME_VALUE="{round(time * 1000)}"/>'
            body += (
                f'<ANNOTATION><ALIGNABLE_ANNOTATION ANNOTATION_ID="a{count}" TIME_SLOT_REF1="ts{count - 1}" '
                f'TIME_SLOT_REF2="ts{count}"><ANNOTATION_VALUE>{label}</ANNOTATION_VALUE>'
                "</ALIGNABLE_ANNOTATION></ANNOTATION>"
            )
        body += "</TIER>"
    header = f'<HEADER><MEDIA_DESCRIPTOR RELATIVE_MEDIA_URL="{media}"/></HEADER>' if media else "<HEADER/>"
    return (
        f'<?xml version="1.0" encoding="UTF-8"?>{before}<ANNOTATION_DOCUMENT>{header}'
        f"<TIME_ORDER>{slots}</TIME_ORDER>{body}</ANNOTATION_DOCUMENT>"
    )


EMOTIONS: Spans = [(0.0, 1.0, "angry"), (1.0, 1.5, ""), (1.5, 3.0, " calm ")]
FILES = {
    "x.TextGrid": textgrid({"words": [(0, 3, "w")], "emotion": EMOTIONS}),
    "x.eaf": eaf({"words": [(0, 3, "w")], "emotion": EMOTIONS}),
    "x.txt": "0.000000\t1.000000\tangry\n\\\t100\t200\n1,0\t1,5\t\n1.5\t3\t calm \n",
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "x.wav").touch()
    return tmp_path


def write(path: Path, text: str, encoding: str = "utf-8") -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_text(text, encoding=encoding)


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("place", [".", "labels"])
def test_intervals_with_text_are_clips(folder, name, place):
    write(folder / place / name, FILES[name])
    found = annotated_clips(folder, ["emotion"])
    assert [(clip.id, clip.path, clip.start, clip.end, dict(clip.labels)) for clip in found.clips] == [
        ("x.wav#0.0-1.0", folder / "x.wav", 0.0, 1.0, {"emotion": "angry"}),
        ("x.wav#1.5-3.0", folder / "x.wav", 1.5, 3.0, {"emotion": "calm"}),
    ]
    assert found.notes == ["left out: 1 interval without text"]
    assert found.left_out == {}


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
def test_text_in_any_script(folder, encoding):
    write(folder / "x.TextGrid", textgrid({"emotion": [(0, 3, 'غضب ""!""')]}), encoding)
    (clip,) = annotated_clips(folder, ["emotion"]).clips
    assert clip.labels["emotion"] == 'غضب "!"'


def test_points_have_no_length(folder):
    write(folder / "x.txt", "1.0\t1.0\tclick\n1.0\t2.0\tcalm\n")
    found = annotated_clips(folder, ["emotion"])
    assert len(found.clips) == 1
    assert found.notes == ["left out: 1 interval without length"]


def test_further_tiers_label_what_they_overlap_most(folder):
    tiers: dict[str, Spans] = {
        "emotion": [(0, 1, "angry"), (1, 3, "calm")],
        "speaker": [(0, 1.2, "anna"), (1.2, 3, "ben")],
        "place": [(2.9, 3, "home")],
    }
    write(folder / "x.TextGrid", textgrid(tiers))
    clips = annotated_clips(folder, ["emotion", "speaker", "place"]).clips
    assert [(clip.speaker, dict(clip.labels)) for clip in clips] == [
        ("anna", {"emotion": "angry"}),
        ("ben", {"emotion": "calm", "place": "home"}),
    ]


def test_the_only_label_of_audacity_is_not_the_speaker_too(folder):
    write(folder / "x.txt", FILES["x.txt"])
    clips = annotated_clips(folder, ["emotion", "speaker", "style"]).clips
    assert [(clip.speaker, dict(clip.labels)) for clip in clips] == [
        (None, {"emotion": "angry"}),
        (None, {"emotion": "calm"}),
    ]


def test_intervals_that_elan_gives_no_times_are_counted(folder):
    text = eaf({"emotion": [(0, 1, "angry"), (1, 2, "calm"), (2, 3, "")]})
    for slot in (4, 6):
        text = text.replace(f'"ts{slot}" TIME_VALUE="{slot // 2 * 1000}"', f'"ts{slot}"')
    write(folder / "x.eaf", text)
    found = annotated_clips(folder, ["emotion"])
    assert [clip.labels["emotion"] for clip in found.clips] == ["angry"]
    assert found.notes == ["left out: 1 interval without times (align them in ELAN)"]


def test_tiers_of_speakers(folder):
    tiers: dict[str, Spans] = {
        "emotion@anna": [(0, 1, "angry")],
        "emotion@ben": [(0, 1, "calm"), (1, 2, "calm")],
        "style@ben": [(0, 2, "read")],
    }
    write(folder / "x.eaf", eaf(tiers))
    clips = annotated_clips(folder, ["emotion", "style"]).clips
    assert [(clip.id, clip.speaker, clip.labels["emotion"]) for clip in clips] == [
        ("x.wav#0.0-1.0", "anna", "angry"),
        ("x.wav#0.0-1.0@ben", "ben", "calm"),
        ("x.wav#1.0-2.0", "ben", "calm"),
    ]
    assert clips[1].labels["style"] == "read"
    write(folder / "x.eaf", eaf({"emotion": [(0, 1, "angry")]}, participant="carla"))
    (clip,) = annotated_clips(folder, ["emotion"]).clips
    assert clip.speaker == "carla"


def test_elan_names_its_recording_and_refers_to_other_annotations(folder):
    (folder / "take 2.wav").touch()
    text = eaf({"words": [(0.5, 1, "w")]}, media="./take%202.wav").replace(
        "</ANNOTATION_DOCUMENT>",
        '<TIER TIER_ID="emotion"><ANNOTATION><REF_ANNOTATION ANNOTATION_ID="r" ANNOTATION_REF="a2">'
        "<ANNOTATION_VALUE>calm</ANNOTATION_VALUE></REF_ANNOTATION></ANNOTATION><ANNOTATION>"
        '<REF_ANNOTATION ANNOTATION_ID="q" ANNOTATION_REF="q"><ANNOTATION_VALUE>lost</ANNOTATION_VALUE>'
        "</REF_ANNOTATION></ANNOTATION></TIER></ANNOTATION_DOCUMENT>",
    )
    write(folder / "session.eaf", text)
    (clip,) = annotated_clips(folder, ["emotion"]).clips
    assert (clip.path.name, clip.start, clip.end) == ("take 2.wav", 0.5, 1.0)


def test_entities_are_never_expanded(folder):
    laughs = "".join(f'<!ENTITY l{n} "{f"&l{n - 1};" * 10}">' for n in range(1, 30))
    bomb = f'<!DOCTYPE x [<!ENTITY l0 "ha">{laughs}<!ENTITY f SYSTEM "file:///etc/passwd">]>'
    write(folder / "x.eaf", eaf({"emotion": [(0, 1, "&l29;")]}, before=bomb))
    with pytest.raises(InputError, match=r"x\.eaf: declares a document type \('x'\), which is not read"):
        annotated_clips(folder, ["emotion"])


def test_files_without_clips_are_listed_with_the_reason(folder):
    (folder / "many").mkdir()
    for name in ("y.wav", "y.flac", "many/z.wav", "u.wav", "v.wav", "w.wav", "t.wav"):
        (folder / name).touch()
    write(folder / "x.TextGrid", FILES["x.TextGrid"])
    write(folder / "x.eaf", FILES["x.eaf"])
    write(folder / "y.TextGrid", FILES["x.TextGrid"])
    write(folder / "z.TextGrid", textgrid({"words": [(0, 1, "a")], "phones": [(0, 1, "a")]}))
    write(folder / "alone.TextGrid", FILES["x.TextGrid"])
    write(folder / "u.TextGrid", "no grid")
    write(folder / "v.eaf", "<ANNOTATION_DOCUMENT>")
    write(folder / "w.txt", "what was said\n")
    write(folder / "README.txt", "no labels and no recording\n")
    found = annotated_clips(folder, ["emotion"])
    assert {clip.path.name for clip in found.clips} == {"x.wav"}
    assert {path: reason.partition(" (")[0] for path, reason in found.left_out.items()} == {
        "alone.TextGrid": "has no recording of its name",
        "u.TextGrid": "is no TextGrid that can be read",
        "v.eaf": "is not XML",
        "w.txt": "line 1 is no label of Audacity: start, end and text, separated by tabs",
        "x.eaf": "is a second annotation of x.wav, after x.TextGrid",
        "y.TextGrid": "could be of y.flac, y.wav",
        "z.TextGrid": "has no tier 'emotion'; its tiers are 'words', 'phones'",
    }


def test_without_any_clip(folder):
    with pytest.raises(InputError, match="has no annotation files"):
        annotated_clips(folder, ["emotion"])
    write(folder / "x.TextGrid", textgrid({"emotion": [(0, 3, "")]}))
    with pytest.raises(InputError, match="no clip could be made: no interval has text"):
        annotated_clips(folder, ["emotion"])
    write(folder / "x.TextGrid", textgrid({"Emotion": [(0, 3, "calm")]}))
    with pytest.raises(InputError, match=r"x\.TextGrid: has no tier 'emotion'; its tiers are 'Emotion'"):
        annotated_clips(folder, ["emotion"])


def test_the_command(folder):
    write(folder / "x.TextGrid", FILES["x.TextGrid"])
    write(folder / "y.eaf", eaf({"words": []}))
    command = ("manifest", "annotations", ".", "--tier", "emotion", "--out", "t.csv")
    done = cli(*command, cwd=folder)
    assert done.returncode == 0, done.stderr
    assert "2 clips of 0 speakers in t.csv" in done.stdout
    assert "note: left out: 1 interval without text" in done.stderr
    assert "left out: y.eaf: has no recording of its name" in done.stderr
    assert [clip.labels["emotion"] for clip in read_manifest(folder / "t.csv")] == ["angry", "calm"]
    assert "exists already" in refused(cli(*command, cwd=folder))
    done = cli("manifest", "annotations", ".", "--tier", "words", "--out", "u.csv", "--json", cwd=folder)
    assert json.loads(done.stdout)["labels"] == [{"words": "w", "clips": 1, "speakers": 0}]
