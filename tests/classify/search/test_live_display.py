from __future__ import annotations

import io

from rich.console import Console

from layerprobe.classify.scores.results import StudyId
from layerprobe.classify.search.progress import Progress, table


def drawn(now: Progress, *, most: int, colours: bool = False) -> str:
    console = Console(
        file=io.StringIO(), width=80, force_terminal=colours, color_system="standard" if colours else None
    )
    with console.capture() as captured:
        console.print(table(now, most=most))
    return captured.get()


def test_layers_stand_in_their_order_and_heads_side_by_side() -> None:
    now = Progress(total=4)
    for layer, head, score in (("10", "svm", 0.6), ("2", "svm", 0.5), ("mix", "svm", 0.4), ("2", "knn", 0.3)):
        now.add(StudyId(0, layer, head), score)
    cells = [[cell.strip() for cell in line.split("│")[1:4]] for line in drawn(now, most=9).splitlines()]
    assert [row for row in cells if row] == [
        ["2", "0.300", "0.500"],
        ["10", "", "0.600"],
        ["mix", "", "0.400"],
    ]


def test_of_more_layers_than_a_screen_has_room_for_the_best_are_shown() -> None:
    now = Progress(total=25)
    for layer in range(25):
        now.add(StudyId(0, str(layer), "svm"), 0.9 - abs(layer - 9) / 100)
    text = drawn(now, most=3)
    rows = [line.split("│")[1].strip() for line in text.splitlines() if line.startswith("│")]
    assert rows == ["8", "9", "10"]
    assert "… 22 more" in text


def test_the_leader_stands_out_and_means_over_fewer_folds_are_dim() -> None:
    now = Progress(total=4)
    for fold, layer, score in ((0, "2", 0.5), (1, "2", 0.5), (0, "3", 0.4), (1, "3", 0.4), (0, "4", 0.9)):
        now.add(StudyId(fold, layer, "svm"), score)
    text = drawn(now, most=9, colours=True)
    assert "\x1b[1;32m0.500" in text
    assert "\x1b[2m0.900" in text
    assert " 0.400" in text
