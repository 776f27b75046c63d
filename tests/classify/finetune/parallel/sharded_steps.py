"""Run by torchrun in two processes: a step of divided models and of undivided ones on the same clips.

    torchrun … sharded_steps.py FOLDER

Prints JSON: case → largest difference of a weight after the step, relative to the largest weight.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import torch
from torch import distributed
from torch.distributed.checkpoint.state_dict import get_model_state_dict, set_model_state_dict

from layerprobe.classify.finetune.config import FinetuneConfig
from layerprobe.classify.finetune.model import SpeechClassifier
from layerprobe.classify.finetune.parallel.sharding import LOADED, SAVED, shard
from layerprobe.embed.models.sources import find_model

# case → folder of its model, how it is trained
CASES: dict[str, tuple[str, dict[str, Any]]] = {
    "group": ("group", {}),
    "wavlm": ("wavlm", {}),
    "data2vec": ("data2vec", {}),
    "whisper": ("whisper", {"window": 10.0}),
    "adapters": ("group", {"lora": 4}),
    "all layers": ("group", {"weighted_layers": True, "head": "mlp"}),
    "front end": ("group", {"freeze": "none"}),
    "checkpointing": ("group", {"gradient_checkpointing": True}),
    "accumulated": ("group", {"accumulation": 2}),
}
RANDOM = {"masks": ("masks", {"spec_augment": True}), "dropped layers": ("dropped", {})}


def step(model: SpeechClassifier, batches: list[tuple[torch.Tensor, torch.Tensor]]) -> None:
    """A step of gradient descent on the mean loss of the batches."""
    model.train()
    for waves, lengths in batches:
        logits = model(waves, lengths)["logits"]
        labels = torch.arange(len(logits)) % logits.shape[1]
        (torch.nn.functional.cross_entropy(logits, labels) / len(batches)).backward()
    torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=0.1).step()


def batch(rank: int, part: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """Two clips; those of the second process are shorter than a masked span."""
    generator = torch.Generator().manual_seed(10 * part + rank)
    lengths = torch.tensor([8000, 6000] if rank == 0 else [2000, 1600])
    waves = torch.randn(2, int(lengths.max()), generator=generator)
    return waves * (torch.arange(waves.shape[1]) < lengths[:, None]), lengths


def main(folder: Path) -> None:
    """Every case, one after the other."""
    distributed.init_process_group("gloo")
    rank, differences = distributed.get_rank(), {}
    for case, (name, options) in {**CASES, **RANDOM}.items():
        config = FinetuneConfig(**{"dropout": 0.0, "spec_augment": False, **options})
        source = find_model(str(folder / name))
        model = SpeechClassifier(source, config, classes=3)
        parameters = sum(p.numel() for p in model.parameters())
        shard(model, torch.device("cpu"), 2)
        own = sum(p.to_local().numel() for p in model.parameters())  # type: ignore[attr-defined]
        assert own < 0.7 * parameters, (case, own, parameters)
        parts = range(config.accumulation)
        step(model, [batch(rank, part) for part in parts])
        weights: dict[str, Any] = get_model_state_dict(model, options=SAVED)
        step(model, [batch(rank, part) for part in parts])  # a second one, which loading takes back
        set_model_state_dict(model, dict(weights), options=LOADED)
        again: dict[str, Any] = get_model_state_dict(model, options=SAVED)
        if rank == 0:
            assert all(torch.equal(again[key], weights[key]) for key in weights)
            alone = SpeechClassifier(source, config, classes=3)
            if case in CASES:
                step(alone, [batch(number, part) for number in (0, 1) for part in parts])
            expected = alone.state_dict()
            assert list(expected) == list(weights)
            largest = max(float(value.abs().max()) for value in expected.values())
            moved = max(float((weights[key] - value).abs().max()) for key, value in expected.items())
            differences[case] = moved / largest
    if rank == 0:
        print(json.dumps(differences))
    distributed.destroy_process_group()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
