"""The command `models`."""

from __future__ import annotations

import json
from typing import Annotated

from layerprobe.cache.common.console import print_json, print_table
from layerprobe.cache.common.options import FLAT, OutputOptions


def models(output: Annotated[OutputOptions, FLAT] = OutputOptions()) -> None:
    """List the models that have a short name: where their weights are, their layers and their width."""
    from layerprobe.embed.models.layers import FINAL, layer_names, layer_width
    from layerprobe.embed.models.presets import ACOUSTIC_PRESETS, ARCHITECTURES, FUNCTIONALS, PRESETS

    architectures = json.loads(ARCHITECTURES.read_text())
    rows = []
    for name, preset in PRESETS.items():
        config = architectures[preset.architecture]
        layers = layer_names(config)
        numbers = [layer for layer in layers if layer != FINAL]
        rows.append(
            {
                "name": name,
                "weights": preset.hub_id or f"none: use random:{name}",
                "type": config["model_type"],
                "layers": f"{numbers[0]}-{numbers[-1]}" + f",{FINAL}" * (FINAL in layers),
                "width": layer_width(config, layers[0]),
            }
        )
    rows += [
        {
            "name": name,
            "weights": "extra opensmile, for research only" if name in FUNCTIONALS else "none needed",
            "type": "acoustic",
            "layers": settings.layer,
            "width": settings.width,
        }
        for name, settings in ACOUSTIC_PRESETS.items()
    ]
    if output.json:
        print_json(rows)
    else:
        print_table(rows)
