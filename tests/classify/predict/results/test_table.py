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
