"""Runs compared: what must agree, what comes out, read from run folders as studies write them."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest

from layerprobe.cache import FeatureStore
from layerprobe.cache.common.errors import InputError
from layerprobe.classify.config import StudyConfig
from layerprobe.classify.runs.compare import compare, rank
from layerprobe.classify.runs.run_folder import write_csv, write_json
from layerprobe.classify.search.study import run_study
from layerprobe.embed.manifest.clips import Clip
from tests.run import cli, refused
from tests.stores import extraction

pytestmark = pytest.mark.slow

CLASSES = ("a", "b", "c")
CLIPS = [f"c{i:03}" for i in range(240)]
LABELS = [CLASSES[i % 3] for i in range(240)]
SPEAKERS = [f"s{i // 20}" for i in range(240)]  # twelve
FOLDS = [i // 60 for i in range(240)]  # four, of three speakers each


def guesses(share: float, *, seed: int) -> list[str]:
    """Right with probability `share`, more often so for some speakers than for others."""
    rng = np.random.default_rng(seed)
    ease = np.random.default_rng(99).normal(0, 0.05, 12)
    right = rng.random(240) < share + ease[np.arange(240) // 20]
    wrong = [CLASSES[(i + 1 + int(rng.integers(2))) % 3] for i in range(240)]
    return [LABELS[i] if right[i] else wrong[i] for i in range(240)]


def write_run(
    folder: Path,
    predicted: list[str],
    *,
    clips: list[str] = CLIPS,
    labels: list[str] = LABELS,
    speakers: list[str] = SPEAKERS,
    folds: list[int] = FOLDS,
    systems: dict[str, list[str]] | None = None,
    finished: bool = True,
    **config,
) -> Path:
    folder.mkdir(parents=True)
    settings = {"target": "emotion", "split": "speaker", "seed": 0} | config
    write_json(folder / "run.json", {"finished": finished, "model": "tiny", "config": settings})
    splits = [
        {"fold": fold, "train": [c for c, f in zip(clips, folds, strict=True) if f != fold], "test": []}
        for fold in sorted(set(folds))
    ]
    write_json(folder / "splits.json", {"folds": splits})
    every_system = {"selected": predicted, **(systems or {})}
    rows = [
        (clip, fold, speaker, system, label, answer, "0.5")
        for system, predictions in every_system.items()
        for clip, fold, speaker, label, answer in zip(
            clips, folds, speakers, labels, predictions, strict=True
        )
    ]
    write_csv(
        folder / "predictions.csv", ("clip", "fold", "speaker", "system", "label", "predicted", "p_a"), rows
    )
    return folder


@pytest.fixture
def runs(tmp_path) -> dict[str, Path]:
    shares = {"best": 0.8, "close": 0.79, "poor": 0.45}
    return {
        name: write_run(tmp_path / name, guesses(share, seed=seed))
        for seed, (name, share) in enumerate(shares.items())
    }


def uar(predicted: list[str]) -> float:
    return float(
        np.mean(
            [np.mean([p == k for p, y in zip(predicted, LABELS, strict=True) if y == k]) for k in CLASSES]
        )
    )


def test_scores_intervals_and_every_systemwithin_noise_of_the_best(runs):
    comparison = compare(list(runs.values()))
    assert (comparison.clips, comparison.speakers, comparison.folds, comparison.notes) == (240, 12, 4, ())
    values = [uar(guesses(share, seed=seed)) for seed, share in enumerate((0.8, 0.79, 0.45))]
    assert [entry.scores["uar"].value for entry in comparison.entries] == pytest.approx(values)
    for entry in comparison.entries:
        for score in entry.scores.values():
            assert score.low < score.value < score.high
    assert [entry.best for entry in comparison.entries] == [value == max(values) for value in values]
    assert [entry.within_noise for entry in comparison.entries] == [True, True, False]
    assert [entry.run for entry in comparison.entries] == [str(run) for run in runs.values()]


def test_pairs_have_two_tests_each_corrected_for_all_pairs(runs):
    comparison = compare(list(runs.values()))
    given = [guesses(share, seed=seed) for seed, share in enumerate((0.8, 0.79, 0.45))]
    assert [(pair.first, pair.second) for pair in comparison.pairs] == [(0, 1), (0, 2), (1, 2)]
    for pair in comparison.pairs:
        a, b = given[pair.first], given[pair.second]
        assert pair.difference.value == pytest.approx(uar(a) - uar(b))
        assert pair.corrected is not None
        assert pair.corrected.folds == 4
    far = comparison.pairs[1]
    assert far.difference.low > 0
    assert far.difference_holm < 0.05
    for name in ("difference", "corrected"):
        p = sorted((getattr(pair, name).p, getattr(pair, f"{name}_holm")) for pair in comparison.pairs)
        assert [holm for _, holm in p] == pytest.approx(
            np.minimum(1, np.maximum.accumulate([3 * p[0][0], 2 * p[1][0], p[2][0]]))
        )


def test_the_corrected_t_by_hand(tmp_path):
    predicted = [list(LABELS), list(LABELS)]
    for fold, wrong in enumerate((30, 6, 12, 18)):  # of sixty, a third of each class
        for k in range(wrong):
            predicted[1][60 * fold + k] = CLASSES[(CLASSES.index(LABELS[60 * fold + k]) + 1) % 3]
    a, b = (write_run(tmp_path / name, given) for name, given in zip("ab", predicted, strict=True))
    (pair,) = compare([a, b]).pairs
    # differences 0.5, 0.1, 0.2, 0.3: mean 0.275, s² 0.0875 / 3; (1/4 + 60/180) s² → t = 0.275 / 0.130437
    assert pair.corrected is not None
    assert pair.corrected.mean == pytest.approx(0.275)
    assert pair.corrected.t == pytest.approx(2.10830, abs=1e-4)


def test_the_same_predictions_twice(tmp_path, runs):
    copy = write_run(tmp_path / "copy", guesses(0.8, seed=0))
    (pair,) = compare([runs["best"], copy]).pairs
    assert (pair.difference.value, pair.difference.p) == (0.0, 1.0)


def test_the_requested_metric_and_system(tmp_path):
    systems = {"3/svm": guesses(0.6, seed=5)}
    a, b = (write_run(tmp_path / name, guesses(0.8, seed=1), systems=systems) for name in "ab")
    comparison = compare([a, b], system="3/svm", metric="accuracy")
    assert comparison.entries[0].system == "3/svm"
    right = np.mean([p == y for p, y in zip(guesses(0.6, seed=5), LABELS, strict=True)])
    assert comparison.entries[0].scores["accuracy"].value == pytest.approx(right)
    with pytest.raises(InputError, match=r"no system '4/svm'; choose from selected, 3/svm"):
        compare([a, b], system="4/svm")
    with pytest.raises(InputError, match="--metric recall; choose from uar"):
        compare([a, b], metric="recall")  # type: ignore[arg-type]


def test_folds_may_have_other_numbers(tmp_path, runs):
    other = write_run(tmp_path / "other", guesses(0.5, seed=4), folds=[3 - fold for fold in FOLDS])
    assert compare([runs["best"], other]).notes == ()


def test_other_training_clips_are_noted(tmp_path, runs):
    other = write_run(tmp_path / "other", guesses(0.5, seed=4))
    splits = json.loads((other / "splits.json").read_text())
    splits["folds"][1]["train"] = splits["folds"][1]["train"][:90]
    (other / "splits.json").write_text(json.dumps(splits))
    (note,) = compare([runs["best"], other]).notes
    assert "not trained on the same clips" in note


def test_random_splits_are_noted(tmp_path):
    a, b = (write_run(tmp_path / name, guesses(0.8, seed=1), split="random") for name in "ab")
    (note,) = compare([a, b]).notes
    assert "split is random" in note


def test_a_single_fold_has_no_t(tmp_path):
    folds = [0] * 240
    a, b = (write_run(tmp_path / name, guesses(0.8, seed=s), folds=folds) for s, name in enumerate("ab"))
    (pair,) = compare([a, b]).pairs
    assert pair.corrected is None
    assert pair.corrected_holm is None


def test_without_speakers_clips_are_resampled_and_noted(tmp_path):
    nobody = [""] * 240
    a, b = (write_run(tmp_path / name, guesses(0.8, seed=s), speakers=nobody) for s, name in enumerate("ab"))
    comparison = compare([a, b])
    assert comparison.speakers is None
    assert any("intervals are too narrow" in note for note in comparison.notes)


def test_a_single_speaker_has_no_interval_and_is_noted(tmp_path):
    one = ["anna"] * 240
    a, b = (write_run(tmp_path / name, guesses(0.8, seed=s), speakers=one) for s, name in enumerate("ab"))
    assert any("single speaker" in note for note in compare([a, b]).notes)
    done = cli("compare", a, b)
    assert done.returncode == 0, done.stderr
    assert "nan" not in done.stdout
    assert "a single speaker cannot be resampled" in done.stderr
    told = json.loads(cli("compare", a, b, "--json").stdout, parse_constant=pytest.fail)
    assert told["entries"][0]["scores"]["uar"]["low"] is None
    assert told["pairs"][0]["difference"]["high"] is None


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (("--system", "3/svm"), "--system compares runs, and only one is given; name another run"),
        (("--figure", "x.svg"), "and only one is given; name another run, or give --layers"),
        (("--layers",), "--layers draws a figure; name it with --figure"),
        (("--title", "x"), "--title is that of a figure, and none is drawn; give --figure"),
        (("--euros-per-hour", "2"), "--euros-per-hour compares runs"),
        (("--figure", "gone/x.svg"), "--figure gone/x.svg; folder gone does not exist"),
    ],
)
def test_options_without_effect_are_refused(tmp_path, options, told):
    run = write_run(tmp_path / "run", guesses(0.8, seed=1), systems={"3/svm": guesses(0.6, seed=5)})
    assert told in refused(cli("compare", run, *options, cwd=tmp_path))


def test_other_clips_are_named_and_refused(tmp_path, runs):
    fewer = write_run(
        tmp_path / "fewer", guesses(0.5, seed=3)[4:], clips=CLIPS[4:], labels=LABELS[4:],
        speakers=SPEAKERS[4:], folds=FOLDS[4:],
    )  # fmt: skip
    with pytest.raises(InputError, match=r"4 clips only in .*best \(c000, c001, c002 and 1 more\)"):
        compare([runs["best"], fewer])
    other = write_run(tmp_path / "other", guesses(0.5, seed=3), clips=["new", *CLIPS[1:]])
    with pytest.raises(InputError, match=r"1 clip only in .*best \(c000\); 1 clip only in .*other \(new\)"):
        compare([runs["best"], other])


def test_other_labels_are_refused(tmp_path, runs):
    relabelled = write_run(tmp_path / "x", guesses(0.5, seed=3), labels=["c", *LABELS[1:]], target="mood")
    with pytest.raises(
        InputError, match=r"1 of 240 labels differ, targets emotion and mood \(c000: a and c\)"
    ):
        compare([runs["best"], relabelled])


def test_other_folds_are_refused_with_their_settings(tmp_path, runs):
    moved = write_run(tmp_path / "x", guesses(0.5, seed=3), folds=[1, *FOLDS[1:]], split="random", seed=7)
    with pytest.raises(InputError, match=r"120 clips in other folds.*split speaker and random, seed 0 and 7"):
        compare([runs["best"], moved])


def test_other_speakers_are_refused(tmp_path, runs):
    renamed = write_run(tmp_path / "x", guesses(0.5, seed=3), speakers=["who", *SPEAKERS[1:]])
    with pytest.raises(InputError, match=r"1 clip with another speaker \(c000: s0 and who\)"):
        compare([runs["best"], renamed])
    nobody = write_run(tmp_path / "y", guesses(0.5, seed=3), speakers=[""] * 240)
    with pytest.raises(InputError, match=r"only .*best names speakers"):
        compare([runs["best"], nobody])


def test_the_third_run_is_checked_too(tmp_path, runs):
    moved = write_run(tmp_path / "x", guesses(0.5, seed=3), folds=[1, *FOLDS[1:]])
    with pytest.raises(InputError, match="other folds"):
        compare([runs["best"], runs["close"], moved])


def test_runs_that_cannot_be_read(tmp_path, runs):
    with pytest.raises(InputError, match="two run folders or more"):
        compare([runs["best"]])
    with pytest.raises(InputError, match="given twice"):
        compare([runs["best"], runs["best"]])
    with pytest.raises(InputError, match="no such run folder"):
        compare([runs["best"], tmp_path / "nowhere"])
    with pytest.raises(InputError, match="not finished"):
        compare([runs["best"], write_run(tmp_path / "half", guesses(0.5, seed=3), finished=False)])
    write_csv(runs["close"] / "predictions.csv", ("clip", "fold"), [("c000", 0)])
    with pytest.raises(InputError, match=r"predictions\.csv: cannot be read \('speaker' is not in list\)"):
        compare([runs["best"], runs["close"]])
    twice = write_run(tmp_path / "twice", ["a"] * 240, clips=["c001", *CLIPS[1:]])
    with pytest.raises(InputError, match="two predictions for c001"):
        compare([runs["best"], twice])


def test_layers_and_heads_of_one_run(tmp_path):
    systems = {
        f"{layer}/svm": guesses(share, seed=layer) for layer, share in enumerate((0.5, 0.78, 0.8, 0.42))
    }
    run = write_run(tmp_path / "run", guesses(0.8, seed=9), systems=systems)
    ranked = rank(run)
    values = [entry.scores["uar"].value for entry in ranked]
    assert values == sorted(values, reverse=True)
    assert {entry.system for entry in ranked} == set(systems)
    assert [entry.best for entry in ranked] == [True, False, False, False]
    assert [entry.within_noise for entry in ranked] == [True, True, False, False]


def test_a_real_study_can_be_compared(tmp_path):
    rng = np.random.default_rng(0)
    of = extraction(layers=("0", "1"), widths=(4, 4), stats=("mean",))
    store = FeatureStore.create(tmp_path / "cache", of)
    clips = []
    with store.writer() as writer:
        for i in range(48):
            path = tmp_path / f"{i}.bin"
            path.write_bytes(bytes([i]) * 9)
            clips.append(
                Clip(id=path.name, file=str(path), labels={"emotion": "ab"[i % 2]}, speaker=str(i // 6))
            )
            key = hashlib.sha256(path.read_bytes()).hexdigest()
            states = {
                "0": rng.normal(0, 1, (1, 4)).astype(np.float16),
                "1": rng.normal(2 * (i % 2), 1, (1, 4)).astype(np.float16),
            }
            writer.add(key, states, frames=9, seconds=1.0, path=path.name)
    runs = [
        run_study(
            clips,
            store,
            tmp_path / layer,
            StudyConfig(heads=("logreg",), layers=(layer,), folds=4, inner_folds=2, trials=1, jobs=1),
        )
        for layer in ("0", "1")
    ]
    for chosen, lines in ((runs, [f"{run} ({of.model}, logreg)" for run in runs]), (runs[1:], ["head"])):
        done = cli("compare", *chosen, "--layers", "--figure", tmp_path / "layers.svg", "--title", "Mine")
        assert done.returncode == 0, done.stderr
        texts = [*ElementTree.parse(tmp_path / "layers.svg").iter("{http://www.w3.org/2000/svg}text")]
        assert {*lines, "Mine"} <= {"".join(text.itertext()) for text in texts}
    comparison = compare(runs)
    assert [entry.best for entry in comparison.entries] == [False, True]
    assert (comparison.clips, comparison.speakers, comparison.folds) == (48, 8, 4)
    assert comparison.pairs[0].difference.high < 0
    summary = json.loads((runs[1] / "summary.json").read_text())
    ours = comparison.entries[1].scores["uar"]
    assert summary["selected"]["uar"] == pytest.approx(vars(ours))
    assert [entry.system for entry in rank(runs[0])] == ["0/logreg"]
