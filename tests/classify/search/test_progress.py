from __future__ import annotations

import time

import pytest

from layerprobe.classify.scores.results import StudyId
from layerprobe.classify.search.progress import Progress, status_line

ONE, TWO = StudyId(0, "3", "svm"), StudyId(1, "3", "svm")


def test_trials_are_counted_and_the_best_is_kept_by_layer_and_head() -> None:
    now = Progress(total=6)
    assert (now.total, now.eta) == (6, None)
    for id, score in ((ONE, 0.5), (ONE, None), (ONE, 0.4), (TWO, 0.7)):
        now.add(id, score)
    assert now.done == 4
    assert now.mean_best() == {("3", "svm"): pytest.approx(0.6)}


def test_what_an_earlier_run_did_counts_as_done_but_not_towards_the_rate() -> None:
    now = Progress(total=6)
    now.resume(ONE, [0.2, 0.6], trials=3)
    assert (now.done, now.rate, now.eta) == (3, 0, None)
    now.add(TWO, 0.4)
    assert (now.rate, now.eta) == (0, None)  # what came before the first trial tells nothing of the next
    now.began = time.monotonic() - 10
    now.add(TWO, 0.3)
    assert now.rate == pytest.approx(0.1, rel=0.05)
    assert now.eta == pytest.approx(10, rel=0.05)
    assert now.mean_best() == {("3", "svm"): pytest.approx(0.5)}


def test_a_study_whose_trials_were_all_pruned_has_no_best_yet() -> None:
    now = Progress(total=3)
    now.resume(ONE, [], trials=2)
    now.add(ONE, None)
    assert now.mean_best() == {}


def test_one_good_fold_does_not_lead_before_the_others_have_begun() -> None:
    now = Progress(total=4)
    assert now.leader() is None
    for fold, layer, score in ((0, "3", 0.6), (1, "3", 0.4), (0, "4", 0.9)):
        now.add(StudyId(fold, layer, "svm"), score)
    assert now.leader() == ("3", "svm")
    now.add(StudyId(1, "4", "svm"), 0.3)
    assert now.leader() == ("4", "svm")


def test_the_time_left_ends_with_the_time_given() -> None:
    now = Progress(total=1000, deadline=time.monotonic() + 20)
    now.add(ONE, 0.5)
    now.began = time.monotonic() - 10
    now.add(ONE, 0.5)
    assert now.eta == pytest.approx(20, abs=1)
    now.deadline = time.monotonic() - 5
    assert now.eta == 0


def test_a_process_that_waits_for_others_says_so() -> None:
    now = Progress(total=8)
    now.resume(ONE, [0.5], trials=4)
    assert "waiting" not in status_line(now)
    now.waiting = 2
    assert status_line(now).startswith("4/8 trials, waiting for 2 studies of other processes, ")
    now.waiting = 1
    assert "waiting for 1 study of other processes" in status_line(now)
