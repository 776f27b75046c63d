"""Mean states of every layer by transformers: one clip at a time, or in padded batches as its pipelines do.

    python transformers_states.py JOB.json OUT.npy [--batch 8]

JOB.json: {"model": folder, "files": [...]}. OUT.npy: (clips, layers, columns) float32.
"""

from __future__ import annotations

import json
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import torch
from transformers import AutoFeatureExtractor, AutoModel


def main() -> None:
    """Write the states of all clips of the job."""
    parser = ArgumentParser(description=__doc__)
    parser.add_argument("job", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--batch", type=int, default=1)
    arguments = parser.parse_args()
    job = json.loads(arguments.job.read_text())
    extractor = AutoFeatureExtractor.from_pretrained(job["model"])
    model = AutoModel.from_pretrained(job["model"]).eval()
    states = alone if arguments.batch == 1 else padded
    np.save(arguments.out, states(model, extractor, job["files"], arguments.batch))


def alone(model: Any, extractor: Any, files: list[str], _: int) -> np.ndarray:
    """Each clip by itself."""
    rows = []
    with torch.inference_mode():
        for file in files:
            wave, rate = soundfile.read(file, dtype="float32")
            inputs = extractor(wave, sampling_rate=rate, return_tensors="pt")
            hidden = model(inputs["input_values"], output_hidden_states=True).hidden_states
            rows.append(torch.stack([layer[0].mean(0) for layer in hidden]).numpy())
    return np.stack(rows)


def padded(model: Any, extractor: Any, files: list[str], batch: int) -> np.ndarray:
    """As its pipelines for audio do: batches in the table's order, padded as the extractor is configured.

    Frames of padding are left out of the mean; what padding does to the other frames stays.
    """
    rows = []
    with torch.inference_mode():
        for begin in range(0, len(files), batch):
            waves = [soundfile.read(file, dtype="float32")[0] for file in files[begin : begin + batch]]
            inputs = extractor(waves, sampling_rate=16_000, return_tensors="pt", padding=True)
            hidden = model(**inputs, output_hidden_states=True).hidden_states
            for number, wave in enumerate(waves):
                frames = int(model._get_feat_extract_output_lengths(len(wave)))
                rows.append(torch.stack([layer[number, :frames].mean(0) for layer in hidden]).numpy())
    return np.stack(rows)


if __name__ == "__main__":
    main()
