"""Mean states of every layer by s3prl's upstream, in padded batches as its featurizer gets them.

    python s3prl_states.py JOB.json OUT.npy [--batch 8]

Runs in s3prl's own environment, see `environments.py`. JOB.json, OUT.npy: as for `transformers_states.py`.
Frames beyond the length that s3prl gives for a clip are left out.
"""

from __future__ import annotations

import json
from argparse import ArgumentParser
from pathlib import Path

import numpy as np
import soundfile
import torch
from s3prl.nn import S3PRLUpstream


def main() -> None:
    """Write the states of all clips of the job."""
    parser = ArgumentParser(description=__doc__)
    parser.add_argument("job", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--batch", type=int, default=8)
    arguments = parser.parse_args()
    job = json.loads(arguments.job.read_text())
    upstream = S3PRLUpstream(f"hf_{job['family']}_custom", path_or_url=job["model"]).eval()
    rows = []
    with torch.inference_mode():
        for begin in range(0, len(job["files"]), arguments.batch):
            files = job["files"][begin : begin + arguments.batch]
            waves = [torch.from_numpy(soundfile.read(file, dtype="float32")[0]) for file in files]
            lengths = torch.tensor([len(wave) for wave in waves])
            padded = torch.nn.utils.rnn.pad_sequence(waves, batch_first=True)
            layers, frames = upstream(padded, lengths)
            for number in range(len(files)):
                means = [
                    layer[number, : int(frame[number])].mean(0)
                    for layer, frame in zip(layers, frames, strict=True)
                ]
                rows.append(torch.stack(means).numpy())
    np.save(arguments.out, np.stack(rows))


if __name__ == "__main__":
    main()
