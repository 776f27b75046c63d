from __future__ import annotations

import numpy as np

from layerprobe.classify.controls.probe_targets import FOLDS, Target, targets_of, usual_columns
from layerprobe.embed.manifest.clips import Clip
from tests.studies import made_data

DATA = made_data(clips=120, speakers=8)
LENGTHS = np.linspace(0.5, 3, 120)


def clips_with(**columns: list[str]) -> dict[str, Clip]:
    """Clips of DATA with the given columns beside `emotion`."""
    made = {}
    for row, id in enumerate(DATA.ids):
        labels = {
            "emotion": DATA.classes[DATA.y[row]],
            **{name: cells[row] for name, cells in columns.items()},
        }
        assert DATA.speakers is not None
        made[id] = Clip(id=id, file=id, labels=labels, speaker=DATA.speaker_names[DATA.speakers[row]])
    return made


def found(*names: str, **columns: list[str]) -> tuple[dict[str, Target], dict[str, str]]:
    targets, left_out = targets_of(names, DATA, clips_with(**columns), LENGTHS, seed=0)
    return {target.name: target for target in targets}, left_out


def test_columns_are_known_by_their_usual_names() -> None:
    clips = list(clips_with(Sex=["f"] * 120, Word=["a"] * 120, note=["b"] * 120).values())
    assert usual_columns(clips, "emotion") == ["emotion", "speaker", "Sex", "Word", "duration"]
    assert usual_columns(clips, "Word") == ["Word", "speaker", "Sex", "duration"]


def test_folds_keep_speakers_apart_but_where_the_speaker_is_asked_for() -> None:
    targets, _ = found("emotion", "speaker", "duration")
    assert DATA.speakers is not None
    for name in ("emotion", "duration"):
        for speaker in range(8):
            assert len(np.unique(targets[name].folds[DATA.speakers == speaker])) == 1
    asked = targets["speaker"]
    assert asked.within
    for number in range(8):
        counts = np.bincount(asked.folds[DATA.speakers == number], minlength=FOLDS)
        assert counts.tolist() == [5, 5, 5]


def test_lengths_and_ages_are_cut_into_three_of_a_size() -> None:
    ages = [str(18 + row % 30) for row in range(120)]
    targets, _ = found("duration", "age", age=ages)
    for target in targets.values():
        assert np.ptp(np.bincount(target.y)) <= 12
        assert len(target.classes) == 3
    assert targets["age"].classes == ("27 to 37", "over 37", "up to 27")


def test_a_few_numbers_are_classes() -> None:
    targets, _ = found("word", word=[str(row % 7) for row in range(120)])
    assert targets["word"].classes == tuple("0123456")


def test_what_cannot_be_probed_says_why() -> None:
    assert DATA.speakers is not None
    own = [f"only-{speaker}" for speaker in DATA.speakers]
    targets, left_out = found("home", "city", "town", home=own, city=["Riyadh"] * 120, town=[""] * 120)
    # A class that one speaker alone has is in one fold alone: no training part holds it.
    assert not targets
    assert left_out == {
        "home": "fewer than two of its values are told of several speakers",
        "city": "it is always 'Riyadh'",
        "town": "the table does not tell it",
    }


def test_clips_without_a_value_are_not_used() -> None:
    targets, _ = found("word", word=["" if row < 20 else "ab"[row % 2] for row in range(120)])
    assert (targets["word"].y[:20] == -1).all()
    assert set(targets["word"].y[20:]) == {0, 1}
