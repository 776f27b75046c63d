from __future__ import annotations

import numpy as np

from layerprobe.classify.scores.results import StudyId, StudyResult
from layerprobe.classify.scores.selection import select_system, systems_of


def results(*scores: tuple[int, str, str, float]) -> dict[StudyId, StudyResult]:
    return {
        (id := StudyId(fold, layer, head)): StudyResult(
            id=id,
            params={},
            inner_score=score,
            predicted=np.zeros(2, int),
            probability=np.full((2, 2), 0.5),
            trials=1,
            pruned=0,
        )
        for fold, layer, head, score in scores
    }


MADE = results(
    (0, "1", "svm", 0.5), (0, "1", "logreg", 0.6), (1, "1", "svm", 0.4), (1, "1", "logreg", 0.3),
    (0, "2", "svm", 0.6), (0, "2", "logreg", 0.1), (1, "2", "svm", 0.4), (1, "2", "logreg", 0.9),
)  # fmt: skip


def test_each_fold_takes_its_best_inner_score_and_the_first_of_equals() -> None:
    assert [str(result.id) for result in select_system(MADE)] == ["0/1/logreg", "1/2/logreg"]
    assert [str(result.id) for result in select_system(MADE, head="svm")] == ["0/2/svm", "1/1/svm"]


def test_systems_are_the_selected_one_and_every_layer_and_head() -> None:
    systems = {name: [str(result.id) for result in system] for name, system in systems_of(MADE)}
    assert list(systems) == ["selected", "1/svm", "1/logreg", "2/svm", "2/logreg"]
    assert systems["selected"] == ["0/1/logreg", "1/2/logreg"]
    assert systems["2/svm"] == ["0/2/svm", "1/2/svm"]
