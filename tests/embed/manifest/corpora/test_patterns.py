"""Patterns of file names: what they read, and what they refuse."""

from __future__ import annotations

from pathlib import PurePosixPath

import pytest

from layerprobe.cache.common.errors import InputError
from layerprobe.embed.manifest.corpora.patterns import FieldMap, Pattern


def read(pattern: str, path: str) -> dict[str, str] | str:
    return Pattern.parse(pattern).match(PurePosixPath(path))


@pytest.mark.parametrize(
    ("pattern", "path", "fields"),
    [
        (
            "Actor_*/{_}-{_}-{emotion}-{intensity}-{text}-{_}-{speaker}.wav",
            "audio/Actor_12/03-01-05-01-02-01-12.wav",
            {"emotion": "05", "intensity": "01", "text": "02", "speaker": "12"},
        ),
        (
            "{speaker:2}{text:3}{emotion:1}{version:1}.wav",
            "wav/03a01Fa.wav",
            {"speaker": "03", "text": "a01", "emotion": "F", "version": "a"},
        ),
        ("{emotion:sa|s}{n:2}", "sa01.flac", {"emotion": "sa", "n": "01"}),
        ("{speaker}/{speaker}_{emotion}", "ann/ann_sad.mp3", {"speaker": "ann", "emotion": "sad"}),
        ("{emotion:1}.wav", "A.WAV", {"emotion": "A"}),
        ("{speaker} ({emotion}).wav", "an.na (+).wav", {"speaker": "an.na", "emotion": "+"}),
        ("./{emotion}", "angry.wav", {"emotion": "angry"}),
        ("{speaker:P#+}E{emotion:##}", "P003E05.wav", {"speaker": "P003", "emotion": "05"}),
        ("{speaker:fm#|ml##}{take:#+}.wav", "ml0123.wav", {"speaker": "ml01", "take": "23"}),
    ],
)
def test_fields(pattern, path, fields):
    assert read(pattern, path) == fields


@pytest.mark.parametrize(
    ("pattern", "path"),
    [
        ("{emotion}.wav", "angry.flac"),
        ("{emotion:2}.wav", "abc.wav"),
        ("x_{emotion:2}.wav", "ax_ab.wav"),
        ("{emotion:a|b}.wav", "c.wav"),
        ("{take:##}.wav", "1a.wav"),
        ("{take:##}.wav", "123.wav"),
        ("{speaker:P#+}.wav", "P٣.wav"),
        ("{speaker}/{speaker}_{emotion}", "ann/bob_sad.wav"),
        ("a.b_{emotion}", "axb_c.wav"),
        ("{speaker}/{emotion}.wav", "sad.wav"),
    ],
)
def test_names_that_do_not_match(pattern, path):
    assert read(pattern, path) == f"does not match {pattern}"


@pytest.mark.parametrize(
    ("pattern", "path"),
    [
        ("{speaker}_{emotion}.wav", "a_b_c.wav"),
        ("*_{emotion}.wav", "a_b_c.wav"),
        ("{a:x|xy}{b:yz|z}.wav", "xyz.wav"),
    ],
)
def test_names_with_two_readings_are_not_guessed(pattern, path):
    assert "can be read in two ways" in read(pattern, path)


@pytest.mark.parametrize(
    ("pattern", "what"),
    [
        ("{speaker}{emotion}.wav", "nothing separates {speaker} from {emotion}"),
        ("*{emotion}.wav", "nothing separates * from {emotion}"),
        ("{emotion.wav", "'{' has no counterpart"),
        ("emotion}.wav", "'}' has no counterpart"),
        ("*.wav", "it names no field"),
        ("", "it names no field"),
        ("{_}.wav", "it names no field"),
        ("{path}.wav", "'path' is a column"),
        ("{emotion:0}", "has no valid form"),
        ("{emotion:}", "has no valid form"),
        ("{emotion:a||b}", "has no valid form"),
        ("{emotion:a|b/c}", "has no valid form"),
        ("{my emotion}", "'my emotion' is no name"),
        ("{}", "'' is no name"),
        ("{a:2}_{a:2}", "{a} has two forms"),
    ],
)
def test_invalid_patterns_are_one_line(pattern, what):
    with pytest.raises(InputError) as caught:
        Pattern.parse(pattern)
    assert what in str(caught.value)
    assert "\n" not in str(caught.value)


def test_maps_are_parsed():
    assert FieldMap.parse("emotion:05=very=angry") == FieldMap("emotion", "05", "very=angry")
    for text in ("emotion", "emotion:05", "emotion:05=", ":05=x", "=x"):
        with pytest.raises(InputError, match="is no map of a field"):
            FieldMap.parse(text)
