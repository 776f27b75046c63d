"""Synthetic voices with fixed splits, and a tiny model that can learn them: data for fine-tuning tests."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from layerprobe.classify.data.splits import Assignment
from layerprobe.classify.finetune.config import FinetuneConfig
from layerprobe.classify.runs.run_folder import write_json
from layerprobe.embed.manifest.clips import read_manifest, write_manifest
from layerprobe.embed.manifest.corpora import CORPORA
from layerprobe.embed.manifest.synthetic import make_corpus
from tests.tiny import save_tiny

# Without these a tiny model needs many more epochs.
NO_DROPOUT: dict[str, Any] = dict.fromkeys(
    ("layerdrop", "hidden_dropout", "attention_dropout", "activation_dropout", "feat_proj_dropout"), 0.0
)


def make_voices(folder: Path, *, speakers: int = 6, words: int = 2, folds: int = 2) -> Path:
    """clips.csv of synthetic voices with `splits.json` and the model `tiny` next to it; the table's path."""
    folder.mkdir(parents=True, exist_ok=True)
    corpus = make_corpus(folder / "corpus", speakers=speakers, words=words)
    write_manifest(CORPORA["baved"](corpus).clips, folder / "clips.csv")
    save_tiny(folder / "tiny", "wav2vec2-group", **NO_DROPOUT)
    write_splits(folder / "splits.json", by_speaker(folder / "clips.csv", folds=folds))
    return folder / "clips.csv"


def by_speaker(table: Path, *, folds: int) -> Assignment:
    """Every speaker is tested once: fold k tests each `folds`-th one."""
    clips = read_manifest(table)
    number = {
        name: place % folds for place, name in enumerate(sorted({clip.speaker or "" for clip in clips}))
    }
    return [
        (
            [clip.id for clip in clips if number[clip.speaker or ""] != fold],
            [clip.id for clip in clips if number[clip.speaker or ""] == fold],
        )
        for fold in range(folds)
    ]


def write_splits(path: Path, assignment: Assignment) -> None:
    """In the format of a run folder."""
    folds = [
        {"fold": number, "train": list(train), "test": list(test), "inner": []}
        for number, (train, test) in enumerate(assignment)
    ]
    write_json(path, {"schema": 1, "folds": folds})


def quick(**changes: Any) -> FinetuneConfig:
    """Two epochs at a learning rate at which a tiny model learns."""
    return FinetuneConfig(**{"epochs": 2, "learning_rate": 1e-3, **changes})
