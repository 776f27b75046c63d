"""The command `models`."""

from __future__ import annotations

import json
from typing import Annotated

from layerprobe.cache.common.console import print_json, print_table
from layerprobe.cache.common.options import FLAT, OutputOptions


def models(output: Annotated[OutputOptions, FLAT] = OutputOptions()) -> None:
    """List the models that have a short name: where their weights are, their layers and their width."""
    from layerprobe.embed.models.layers import FINAL, layer_names
    from layerprobe.embed.models.presets import ACOUSTIC_PRESETS, ARCHITECTURES, PRESETS

    architectures = json.loads(ARCHITECTURES.read_text())
    rows = []
    for name, preset in PRESETS.items():
        config = architectures[preset.architecture]
        rows.append(
            {
                "name": name,
                "weights": preset.hub_id or f"none: use random:{name}",
                "type": config["model_type"],
                "layers": f"0-{config['num_hidden_layers']}" + ",final" * (FINAL in layer_names(config)),
                "width": config["hidden_size"],
            }
        )
    rows += [
        {"name": name, "weights": "none needed", "type": "acoustic", "layers": name, "width": None}
        for name in ACOUSTIC_PRESETS
    ]
    if output.json:
        print_json(rows)
    else:
        print_table(rows)
