"""The commands `models` and `doctor`."""

from __future__ import annotations

from typing import Annotated

import typer

from layerprobe.cache.common.console import print_json, print_table
from layerprobe.cache.common.errors import InputError
from layerprobe.embed.commands.embed import Device, Json
from layerprobe.embed.config import EmbedConfig


def models(as_json: Json = False) -> None:
    """The models known by a short name: where their weights are, how many layers, how wide."""
    import json

    from layerprobe.embed.models.layers import FINAL, layer_names
    from layerprobe.embed.models.presets import ACOUSTIC_PRESETS, ARCHITECTURES, PRESETS

    known = json.loads(ARCHITECTURES.read_text())
    rows = []
    for name, preset in PRESETS.items():
        config = known[preset.architecture]
        rows.append(
            {
                "name": name,
                "weights": preset.hub_id or f"none: use random:{name}",
                "type": config["model_type"],
                "layers": f"0-{config['num_hidden_layers']}" + ",final" * (FINAL in layer_names(config)),
                "width": config["hidden_size"],
            }
        )
    for name in ACOUSTIC_PRESETS:
        rows.append(
            {"name": name, "weights": "none needed", "type": "acoustic", "layers": name, "width": None}
        )
    if as_json:
        print_json(rows)
    else:
        print_table(rows)


def doctor(
    model: Annotated[str, typer.Argument(help="Model to check, as for embed --model.")],
    device: Device = EmbedConfig.device,
    revision: Annotated[str | None, typer.Option(help="Branch, tag or commit of a hub model.")] = None,
    as_json: Json = False,
) -> None:
    """Check on this machine that a batch gives each clip the states it has alone, layer by layer.

    Compares a padded batch with each clip alone, and each clip alone with transformers' own forward pass.
    """
    from layerprobe.embed.extract.doctor import check_model

    found = check_model(EmbedConfig(model=model, device=device, revision=revision, precision="fp32"))
    if as_json:
        print_json({**vars(found), "largest": found.largest, "exact": found.exact})
    else:
        rows = [
            {
                "layer": check.layer,
                "batch vs alone": f"{check.batch:.1e}",
                "alone vs transformers": "" if check.reference is None else f"{check.reference:.1e}",
            }
            for check in found.layers
        ]
        print_table(rows)
        print(f"largest difference, as a share of its layer's largest value: {found.largest:.1e}")
        print(f"on {found.device}")
    if not found.exact:
        raise InputError(
            f"{model} differs by {found.largest:.1e}, more than {found.tolerance:.0e}",
            do="use --batch-seconds 1 with this model, and report it",
        )
