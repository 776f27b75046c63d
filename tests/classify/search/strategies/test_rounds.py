from __future__ import annotations

import csv
import json
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import optuna
import pytest
from optuna.trial import TrialState

from layerprobe.cache.store.feature_store import FeatureStore
from layerprobe.classify.config import StudyConfig
from layerprobe.classify.runs import run_folder
from layerprobe.classify.search.progress import Progress
from layerprobe.classify.search.strategies import halving
from layerprobe.classify.search.study import run_study
from layerprobe.embed.manifest.clips import Clip
from tests.classify.search.test_study import kill_after, same, stored_trials
from tests.studies import made_clips, made_store

pytestmark = pytest.mark.slow

LAYERS = ("0", "1", "2", "3", "4")
CONFIG = StudyConfig(
    pruner="halving", folds=2, inner_folds=2, trials=6, jobs=1, layers=LAYERS, heads=("logreg", "svm")
)
BEST = 3  # of five layers
TRIALS = 2 * 2 * (5 * 2 + BEST * 4)  # folds × heads × (all layers at first, the best ones further)


@pytest.fixture(scope="module", autouse=True)
def few_trials() -> Iterator[None]:
    """Every layer gets a third of the trials, however few."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(halving, "LEAST_TRIALS", 1)
        yield


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> tuple[list[Clip], FeatureStore]:
    folder = tmp_path_factory.mktemp("rounds")
    clips = made_clips(folder / "corpus", speakers=6)
    return clips, made_store(folder / "cache", clips, layers=LAYERS, signal=0.5)


@pytest.fixture(scope="module")
def whole(corpus: tuple[list[Clip], FeatureStore], tmp_path_factory: pytest.TempPathFactory) -> Path:
    return run_study(*corpus, tmp_path_factory.mktemp("whole") / "run", CONFIG)


def rows(run: Path) -> list[dict[str, str]]:
    with (run / "results.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_every_layer_has_a_result_and_the_best_ones_have_all_trials(whole: Path) -> None:
    found = rows(whole)
    assert len(found) == 2 * 5 * 2
    assert stored_trials(whole) == TRIALS
    for fold in "01":
        for head in ("logreg", "svm"):
            trials = {
                row["layer"]: row["trials"] for row in found if (row["fold"], row["head"]) == (fold, head)
            }
            assert sorted(trials.values()) == ["2", "2", "6", "6", "6"]


def test_layers_go_on_by_their_scores_after_the_first_trials(whole: Path) -> None:
    url, run = f"sqlite:///{whole / 'search.db'}", json.loads((whole / "run.json").read_text())["fingerprint"]
    for fold in "01":
        for head in ("logreg", "svm"):
            scores, went_on = {}, set()
            for layer in LAYERS:
                trials = optuna.load_study(study_name=f"{run}/{fold}/{layer}/{head}", storage=url).trials
                scores[layer] = max(t.value or 0 for t in trials[:2] if t.state == TrialState.COMPLETE)
                went_on |= {layer} if len(trials) > 2 else set()
            assert went_on == set(sorted(LAYERS, key=lambda layer: -scores[layer])[:BEST])


def test_the_summary_says_that_layers_had_different_numbers_of_trials(whole: Path) -> None:
    notes = json.loads((whole / "summary.json").read_text())["notes"]
    assert any(
        "in each outer fold the 3 layers of a head that were best on inner folds had up to 6 trials, the "
        "others 2; --pruner median gives all the same" in note
        for note in notes
    )
    assert not any("--timeout" in note for note in notes)


def test_the_number_of_workers_does_not_change_the_files(
    whole: Path, corpus: tuple[list[Clip], FeatureStore], tmp_path: Path
) -> None:
    seen: list[tuple[int, int]] = []

    def report(now: Progress) -> None:
        seen.append((now.done, now.total))

    same(whole, run_study(*corpus, tmp_path / "two", replace(CONFIG, jobs=2), report=report))
    assert seen[-1] == (TRIALS, TRIALS)
    assert {total for _, total in seen} == {TRIALS}


def test_a_run_that_is_killed_in_each_round_resumes_and_ends_with_the_same_files(
    whole: Path, corpus: tuple[list[Clip], FeatureStore], tmp_path: Path
) -> None:
    clips, store = corpus
    out = tmp_path / "killed"
    kill_after(13, clips, store, out, config=CONFIG)
    kill_after(60, clips, store, out, config=CONFIG)  # reports of trials and of results
    held = stored_trials(out)
    assert 2 * 2 * 5 * 2 < held < TRIALS  # in the second round
    begun: list[int] = []
    run_study(clips, store, out, CONFIG, report=lambda now: begun.append(now.done))
    assert begun[0] >= held
    same(whole, out)


def test_results_without_their_trials_are_searched_again(
    whole: Path, corpus: tuple[list[Clip], FeatureStore], tmp_path: Path
) -> None:
    """As after a damaged search.db was deleted: nothing would say which layers go on."""
    clips, store = corpus
    out = tmp_path / "run"
    kill_after(40, clips, store, out, config=CONFIG)
    assert list((out / run_folder.PARTIAL_RESULTS).iterdir())
    (out / "search.db").unlink()
    same(whole, run_study(clips, store, out, CONFIG))


def test_more_trials_continue_as_if_the_run_had_begun_with_them(
    whole: Path, corpus: tuple[list[Clip], FeatureStore], tmp_path: Path
) -> None:
    """The first trials of each layer are then more, and other layers may go on."""
    more = replace(CONFIG, trials=9)
    direct = run_study(*corpus, tmp_path / "direct", more)
    shutil.copytree(whole, out := tmp_path / "continued")
    same(direct, run_study(*corpus, out, more))


def test_time_is_shared_between_the_rounds(corpus: tuple[list[Clip], FeatureStore], tmp_path: Path) -> None:
    config = replace(CONFIG, heads=("svm",), timeout=1e-6)
    out = run_study(*corpus, tmp_path / "run", config)
    assert {row["trials"] for row in rows(out)} == {"1"}
    notes = json.loads((out / "summary.json").read_text())["notes"]
    assert f"--timeout cut the search short: 10 of {TRIALS // 2} trials were run" in notes


def test_of_three_layers_nothing_is_halved(corpus: tuple[list[Clip], FeatureStore], tmp_path: Path) -> None:
    few = replace(CONFIG, layers=LAYERS[:BEST], heads=("logreg",), trials=8)
    halving, median = (
        run_study(*corpus, tmp_path / pruner, replace(few, pruner=pruner)) for pruner in ("halving", "median")
    )
    same(median, halving)
    four = replace(few, layers=LAYERS[: BEST + 1], trials=2)
    assert rows(run_study(*corpus, tmp_path / "four", four)) != rows(
        run_study(*corpus, tmp_path / "all", replace(four, pruner="median"))
    )
