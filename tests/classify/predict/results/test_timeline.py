"""The figure of predictions over time: every class, recording and label, and what it cannot draw."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from layerprobe.cache.common.errors import InputError
from layerprobe.classify.predict.results.timeline import MOST_RECORDINGS, draw_timeline
from tests.bundles import make_run
from tests.run import cli, refused


def rows(file: str, *, windows: int, labels: tuple[str, ...], hop: float = 1.0) -> list[dict[str, Any]]:
    made = []
    for number in range(windows):
        best = number % len(labels)
        probabilities = dict.fromkeys(labels, 0.1) | {labels[best]: 1 - 0.1 * (len(labels) - 1)}
        row = {"file": file, "start": hop * number, "end": hop * number + 3.0}
        made.append({**row, "label": labels[best] if number else None, "probabilities": probabilities})
    return made


def test_every_class_and_recording_is_drawn(tmp_path: Path) -> None:
    labels = ("calm", "<b>$x^2$</b>", "angry")
    path = tmp_path / "time.svg"
    drawn = rows("a/long.wav", windows=5, labels=labels) + rows("b/short.wav", windows=1, labels=labels)
    assert draw_timeline(drawn, labels, path) == 0
    text = path.read_text()
    for word in ("long.wav", "short.wav", "calm", "&lt;b&gt;$x^2$&lt;/b&gt;", "angry", "time (s)"):
        assert word in text, word
    assert text.count("#0072b2") > 2  # the line of a class, and its part of the strip


def test_long_recordings_have_times_in_minutes_and_many_classes_are_distinct(tmp_path: Path) -> None:
    labels = tuple(f"class {number}" for number in range(8))
    path = tmp_path / "time.svg"
    draw_timeline(rows("a.wav", windows=100, labels=labels, hop=20.0), labels, path, title="An interview")
    text = path.read_text()
    assert "An interview" in text
    assert "time (h:min:s)" in text
    assert "0:08:20" in text
    assert "stroke-dasharray" in text  # the seventh class has the colour of the first


def test_more_recordings_than_fit_are_counted(tmp_path: Path) -> None:
    labels = ("a", "b")
    names = [f"{number}.wav" for number in range(MOST_RECORDINGS + 2)]
    many = [row for name in names for row in rows(name, windows=2, labels=labels)]
    assert draw_timeline(many, labels, tmp_path / "time.png") == 2
    with pytest.raises(InputError, match=r"end the name in \.svg"):
        draw_timeline(many, labels, tmp_path / "time.gif")


@pytest.mark.slow
def test_predict_draws_it(tmp_path: Path) -> None:
    make_run(tmp_path, model="mfcc", layers=("mfcc",), heads=("logreg",))
    words = ("predict", "run/bundle", "clip008.wav", "--window", "0.5", "--hop", "0.25")
    done = cli(*words, "--figure", "time.svg", "--out", "p.csv", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "figure time.svg"
    assert "clip008.wav" in (tmp_path / "time.svg").read_text()
    assert "give --window" in refused(cli(*words[:3], "--figure", "time.svg", cwd=tmp_path))
    assert "none is drawn" in refused(cli(*words, "--title", "x", cwd=tmp_path))
    stream = ("predict", "run/bundle", "--stdin", "--figure", "t.svg")
    assert "omit --stdin" in refused(cli(*stream, cwd=tmp_path))
