"""What a splits.json must be to be believed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from layerprobe.cache.common.errors import InputError
from layerprobe.classify.runs.splits_file import read_assignment
from layerprobe.embed.manifest.clips import Clip

CLIPS = [Clip(id=name, file=name) for name in ("a", "b", "c")]


def written(folder: Path, folds: Any) -> Path:
    path = folder / "splits.json"
    path.write_text(json.dumps({"folds": folds}))
    return path


def test_ids_of_each_fold(tmp_path: Path) -> None:
    folds = [{"train": ["a", "b"], "test": ["c"]}, {"train": ["c"], "test": ["a"]}]
    assert read_assignment(written(tmp_path, folds), CLIPS) == [(["a", "b"], ["c"]), (["c"], ["a"])]


@pytest.mark.parametrize(
    ("folds", "told"),
    [
        ([], "holds no fold"),
        ({"train": ["a"]}, "is not a splits.json"),
        ([{"train": ["a"]}], "is not a splits.json"),
        ([{"train": ["a"], "test": [1, 2]}], "is not a splits.json"),
        ([{"train": [["a"]], "test": ["b"]}], "is not a splits.json"),
        ([{"train": ["a"], "test": 3}], "is not a splits.json"),
        ([{"train": ["a"], "test": []}], "fold 0 has no clips to test"),
        ([{"train": [], "test": ["a"]}], "fold 0 has no clips to train on"),
        ([{"train": ["a", "b"], "test": ["b"]}], "fold 0 trains on clips that it tests"),
        ([{"train": ["a"], "test": ["z"]}], "1 of its clips are not in the table, such as z"),
    ],
)
def test_anything_else_is_refused_in_one_line(tmp_path: Path, folds: Any, told: str) -> None:
    with pytest.raises(InputError, match=told) as caught:
        read_assignment(written(tmp_path, folds), CLIPS)
    assert "splits.json" in caught.value.line()


@pytest.mark.parametrize(("text", "told"), [("no json", "is not JSON"), ("[]", "is not a JSON object")])
def test_a_file_of_another_kind(tmp_path: Path, text: str, told: str) -> None:
    (tmp_path / "splits.json").write_text(text)
    with pytest.raises(InputError, match=told) as caught:
        read_assignment(tmp_path / "splits.json", CLIPS)
    assert "give the splits.json of a run folder" in caught.value.line()
    with pytest.raises(InputError, match=r"cannot be read \(no such file"):
        read_assignment(tmp_path / "gone.json", CLIPS)
