"""Windows of a stream are those of a file, and each comes as soon as its sound has."""

from __future__ import annotations

import io
import os
import threading
from pathlib import Path

import numpy as np
import pytest

from layerprobe.cache.common.errors import InputError
from layerprobe.classify.predict.recordings import check_windows, cut_windows, spans, windows_of
from layerprobe.embed.manifest.clips import select_sound
from tests.sounds import clip_of, encoded, noise

RATE = 1000


@pytest.mark.parametrize("seconds", [0.0, 0.4, 1.0, 1.5, 2.0, 2.25, 7.3, 10.0])
@pytest.mark.parametrize(("window", "hop"), [(1.0, 1.0), (1.5, 0.5), (1.0, 0.3), (1.0, 2.5)])
def test_windows_of_a_stream_equal_those_of_a_file(seconds: float, window: float, hop: float) -> None:
    samples = np.arange(round(seconds * RATE), dtype="<i2")
    found = list(windows_of(io.BytesIO(samples.tobytes()), rate=RATE, window=window, hop=hop))
    expected = spans(seconds, window=window, hop=hop) if seconds else []
    assert [begin for begin, _ in found] == pytest.approx([begin for begin, _ in expected])
    for (_, part), (begin, end) in zip(found, expected, strict=True):
        np.testing.assert_array_equal(part, samples[round(begin * RATE) : round(end * RATE)])


def test_a_window_comes_before_the_next_sound() -> None:
    reading, writing = os.pipe()
    got: list[tuple[float, np.ndarray]] = []
    with os.fdopen(reading, "rb") as sound, os.fdopen(writing, "wb", buffering=0) as pipe:
        windows = windows_of(sound, rate=RATE, window=1.0, hop=0.5)
        for count in (1000, 500, 500):  # exactly what each window needs
            pipe.write(np.zeros(count, "<i2").tobytes())
            waiting = threading.Thread(target=lambda: got.append(next(windows)))
            waiting.start()
            waiting.join(timeout=20)
            assert not waiting.is_alive()
        pipe.close()
        assert list(windows) == []
    assert [begin for begin, _ in got] == [0.0, 0.5, 1.0]


def test_half_a_sample_at_the_end_is_dropped() -> None:
    (only,) = windows_of(io.BytesIO(b"\1\0\2\0\3"), rate=RATE, window=1.0, hop=1.0)
    assert only[1].tolist() == [1, 2]


def test_windows_and_hops_that_cannot_be_used() -> None:
    for window, hop in ((0.0, None), (-1.0, None), (float("nan"), None), (3.0, 0.0), (None, 1.0)):
        with pytest.raises(InputError):
            check_windows(window, hop, stream=False)
    check_windows(None, 1.0, stream=True)


def test_windows_cover_the_track_that_is_chosen(tmp_path: Path) -> None:
    film = encoded(tmp_path / "a.mkv", noise(16_000), noise(48_000, seed=1), kind="mka", video=True)
    lengths = []
    for track in (1, 2):
        clips = select_sound([clip_of(film)], channels="mean", track=track)
        pieces, faults = cut_windows(clips, window=0.5, hop=0.5)
        assert faults == {}
        assert all(piece.track == track for piece in pieces)
        lengths.append(pieces[-1].end or 0.0)
    assert lengths[1] == pytest.approx(3 * lengths[0], abs=0.1)
    _, faults = cut_windows(select_sound([clip_of(film)], channels="7", track=1), window=1.0, hop=1.0)
    (error,) = faults.values()
    assert error.reason.startswith("has no channel 7: it has ")
