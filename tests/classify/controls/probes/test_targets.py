from __future__ import annotations

import numpy as np

from layerprobe.classify.controls.probes.targets import FOLDS, Target, default_targets, probe_targets
from layerprobe.embed.manifest.clips import Clip
from tests.studies import made_data

DATA = made_data(clips=120, speakers=8)
LENGTHS = np.linspace(0.5, 3, 120)


def clips_with(**columns: list[str]) -> dict[str, Clip]:
    """Clips of DATA with the given columns in addition to `emotion`."""
    clips = {}
    for row, id in enumerate(DATA.ids):
        labels = {
            "emotion": DATA.classes[DATA.y[row]],
            **{name: cells[row] for name, cells in columns.items()},
        }
        assert DATA.speakers is not None
        clips[id] = Clip(id=id, file=id, labels=labels, speaker=DATA.speaker_names[DATA.speakers[row]])
    return clips


def targets_for(*names: str, **columns: list[str]) -> tuple[dict[str, Target], dict[str, str]]:
    targets, left_out = probe_targets(names, DATA, clips_with(**columns), LENGTHS, seed=0)
    return {target.name: target for target in targets}, left_out


def test_default_targets_are_found_by_their_usual_names() -> None:
    clips = list(clips_with(Sex=["f"] * 120, Word=["a"] * 120, note=["b"] * 120).values())
    assert default_targets(clips, "emotion") == ["emotion", "speaker", "Sex", "Word", "duration"]
    assert default_targets(clips, "Word") == ["Word", "speaker", "Sex", "duration"]


def test_folds_are_speaker_disjoint_unless_the_speaker_is_the_target() -> None:
    targets, _ = targets_for("emotion", "speaker", "duration")
    assert DATA.speakers is not None
    for name in ("emotion", "duration"):
        for speaker in range(8):
            assert len(np.unique(targets[name].folds[DATA.speakers == speaker])) == 1
    by_speaker = targets["speaker"]
    assert by_speaker.within_speakers
    for number in range(8):
        counts = np.bincount(by_speaker.folds[DATA.speakers == number], minlength=FOLDS)
        assert counts.tolist() == [5, 5, 5]


def test_durations_and_ages_are_split_into_three_equal_bins() -> None:
    ages = [str(18 + row % 30) for row in range(120)]
    targets, _ = targets_for("duration", "age", age=ages)
    for target in targets.values():
        assert np.ptp(np.bincount(target.y)) <= 12
        assert len(target.classes) == 3
    assert targets["age"].classes == ("27 to 37", "over 37", "up to 27")


def test_a_few_numbers_are_classes() -> None:
    targets, _ = targets_for("word", word=[str(row % 7) for row in range(120)])
    assert targets["word"].classes == tuple("0123456")


def test_a_target_that_cannot_be_probed_has_a_reason() -> None:
    assert DATA.speakers is not None
    own = [f"only-{speaker}" for speaker in DATA.speakers]
    targets, left_out = targets_for("home", "city", "town", home=own, city=["Riyadh"] * 120, town=[""] * 120)
    # The class of a single speaker is in one fold only, so no training set of that fold has it.
    assert not targets
    assert left_out == {
        "home": "fewer than two of its values have speakers in several folds",
        "city": "it is always 'Riyadh'",
        "town": "the table has no values for it",
    }


def test_clips_without_a_value_are_not_used() -> None:
    targets, _ = targets_for("word", word=["" if row < 20 else "ab"[row % 2] for row in range(120)])
    assert (targets["word"].y[:20] == -1).all()
    assert set(targets["word"].y[20:]) == {0, 1}
