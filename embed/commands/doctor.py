"""The command `doctor`."""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass
from typing import Annotated

from layerprobe.cache.common.console import print_json, print_table
from layerprobe.cache.common.errors import InputError
from layerprobe.cache.common.options import FLAT, Device, OutputOptions, Revision
from layerprobe.embed.config import EmbedConfig


@dataclass(frozen=True)
class DoctorOptions:
    """Options of `doctor`."""

    model: str
    """Model to check, as for embed --model."""
    _: KW_ONLY
    device: Device = EmbedConfig.device
    precision: str = EmbedConfig.precision
    """Precision to check, as for embed --precision."""
    revision: Revision = None
    output: Annotated[OutputOptions, FLAT] = OutputOptions()


def doctor(options: Annotated[DoctorOptions, FLAT]) -> None:
    """Check on this machine that a batch gives each clip the states it has alone, layer by layer.

    Compares a padded batch with each clip alone, and each clip alone with transformers' own forward pass in
    fp32, in the precision that embed would use: fp32 on a CPU, fp16 on a GPU.
    """
    from layerprobe.embed.extract.doctor import check_model

    config = EmbedConfig(
        model=options.model,
        device=options.device,
        revision=options.revision,
        precision=options.precision,
    )
    check = check_model(config)
    if options.output.json:
        print_json({**vars(check), "largest": check.largest, "exact": check.exact})
    else:
        print_table(
            [
                {
                    "layer": layer.layer,
                    "batch vs alone": f"{layer.batch:.1e}",
                    "alone vs transformers": "" if layer.reference is None else f"{layer.reference:.1e}",
                }
                for layer in check.layers
            ]
        )
        print(
            f"largest difference, relative to its layer's largest value: {check.largest:.1e} "
            f"(tolerated in {check.precision}: {check.tolerance:.0e})"
        )
        if check.overflows:
            print("its states overflow in half precision: embed computes such clips again in fp32")
        print(f"in {check.precision} on {check.device}")
    if not check.exact:
        raise InputError(
            f"{options.model} differs by {check.largest:.1e}, more than {check.tolerance:.0e}",
            do="embed with --precision fp32"
            if check.precision != "fp32"
            else "use --batch-seconds 1 with this model, and report it",
        )
