"""Tables of predictions, as people open them."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from layerprobe.classify.predict.results.prediction import Prediction
from layerprobe.classify.predict.results.table import as_rows, write_predictions
from layerprobe.embed.manifest.clips import Clip
from layerprobe.embed.manifest.tables import read_table


@pytest.mark.parametrize("labels", [("غضب", "حزن"), ("angry", "sad")])
def test_labels_of_any_script_can_be_read_in_excel_pandas_and_here(
    tmp_path: Path, labels: tuple[str, str]
) -> None:
    """Excel takes a CSV file without a byte order mark for one in the system's 8-bit encoding."""
    clip, out = Clip(id="a.wav", file="a.wav"), tmp_path / "p.csv"
    one = Prediction(clip=clip, label=labels[0], confidence=0.75, probabilities=(0.75, 0.25))
    write_predictions(out, as_rows([one], labels, windows=False), labels, failed={})
    names = ["file", "label", "confidence", *(f"p_{label}" for label in labels)]
    assert out.read_bytes().startswith(b"\xef\xbb\xbf") != labels[0].isascii()
    assert read_table(out).columns == names
    assert pd.read_csv(out).to_dict("records") == [
        dict(zip(names, ["a.wav", labels[0], 0.75, 0.75, 0.25], strict=True))
    ]


def test_sets_of_labels_are_written_as_in_the_table_of_the_study(tmp_path: Path) -> None:
    clip, out, labels = Clip(id="a.wav", file="a.wav"), tmp_path / "p.csv", ("a;b", "c")
    one = Prediction(clip=clip, labels=labels, probabilities=(0.75, 0.5))
    rows = as_rows([one], labels, windows=False)
    write_predictions(out, rows, labels, failed={}, separator="|")
    assert pd.read_csv(out)["labels"].tolist() == ["a;b|c"]
    write_predictions(out, rows, labels, failed={})
    assert pd.read_csv(out)["labels"].tolist() == ["a;b;c"]
    several = Prediction(clip=clip, label="c", confidence=0.5, probabilities=(0.5, 0.5), label_set=labels)
    write_predictions(out, as_rows([several], labels, windows=False), labels, failed={}, separator=";")
    assert pd.read_csv(out)["label_set"].tolist() == ["a;b|c"]
