"""Mean states of one layer by nkululeko, one clip at a time as it does.

    python nkululeko_states.py JOB.json OUT.npy --layer 6

Runs in nkululeko's own environment, see `environments.py`. JOB.json: as for `transformers_states.py`.
OUT.npy: (clips, 1, columns) float32. nkululeko cuts a model after a block, and gives one layer.
"""

from __future__ import annotations

import configparser
import csv
import json
from argparse import ArgumentParser
from pathlib import Path

import numpy as np
import pandas as pd
from nkululeko.experiment import Experiment

TYPES = {"hubert": "hubert-base-ls960", "wav2vec2": "wav2vec2-base", "wavlm": "wavlm-base"}


def main() -> None:
    """Write the states of all clips of the job."""
    parser = ArgumentParser(description=__doc__)
    parser.add_argument("job", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--layer", type=int, required=True)
    arguments = parser.parse_args()
    job = json.loads(arguments.job.read_text())
    blocks = json.loads((Path(job["model"]) / "config.json").read_text())["num_hidden_layers"]
    experiment = Experiment(configuration(job, arguments.out.parent, dropped=blocks - arguments.layer))
    experiment.set_module("nkululeko")
    experiment.load_datasets()
    experiment.fill_train_and_tests()
    experiment.extract_feats()
    features = pd.concat([experiment.feats_train, experiment.feats_test])
    features.index = pd.Index([file for file, *_ in features.index])
    np.save(arguments.out, features.loc[job["files"]].to_numpy(np.float32)[:, None])


def configuration(job: dict, folder: Path, *, dropped: int) -> configparser.ConfigParser:
    """An experiment with the clips of the job. dropped: blocks at the end of the model that do not run."""
    table = folder / "nkululeko.csv"
    with table.open("w", newline="") as file:
        writer = csv.writer(file)
        rows = [[file, f"class {label}", speaker] for file, label, speaker in job["rows"]]  # no numbers
        writer.writerows([["file", job["target"], "speaker"], *rows])
    labels = sorted({label for _, label, _ in rows})
    family = job["family"]
    config = configparser.ConfigParser()
    config["EXP"] = {"root": f"{folder}/", "name": "nkululeko", "runs": "1", "epochs": "1"}
    config["DATA"] = {
        "databases": "['clips']",
        "clips": str(table),
        "clips.type": "csv",
        "clips.absolute_path": "True",
        "clips.split_strategy": "speaker_split",
        "clips.testsplit": "40",
        "target": job["target"],
        "labels": str(labels),
    }
    config["FEATS"] = {
        "type": f"['{TYPES[family]}']",
        f"{family}.model": job["model"],
        f"{family}.layer": str(dropped),
    }
    config["MODEL"] = {"type": "svm", "device": "cpu"}
    return config


if __name__ == "__main__":
    main()
