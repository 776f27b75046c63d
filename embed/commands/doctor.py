"""The command `doctor`."""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass
from typing import Annotated

from layerprobe.cache.common.console import print_json, print_table
from layerprobe.cache.common.errors import InputError
from layerprobe.cache.common.options import DEFAULT_CACHE, FLAT, CacheFolder, Device, OutputOptions, Revision
from layerprobe.cache.common.text import format_count
from layerprobe.embed.config import EmbedConfig


@dataclass(frozen=True)
class DoctorOptions:
    """Options of `doctor`."""

    model: str | None = None
    """Model to check, as for embed --model; without one, this machine is checked."""
    _: KW_ONLY
    cache: CacheFolder = DEFAULT_CACHE
    device: Device = EmbedConfig.device
    precision: str = EmbedConfig.precision
    """Precision to check, as for embed --precision."""
    revision: Revision = None
    output: Annotated[OutputOptions, FLAT] = OutputOptions()


def doctor(options: Annotated[DoctorOptions, FLAT] = DoctorOptions()) -> int:
    """Check this machine: versions, devices, cache, disk; or that the batches of a model are exact.

    Without a model, each line is ok, note (something to know) or fault, with how to mend it; the exit status
    is 1 if there is a fault. With a model, compares a padded batch with each clip alone, and each clip alone
    with transformers' own forward pass in fp32, in the precision that embed would use: fp32 on a CPU, fp16 on
    a GPU.
    """
    if options.model is None:
        return _check_machine(options)
    from layerprobe.embed.doctor.model import check_model

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
    return 0


def _check_machine(options: DoctorOptions) -> int:
    from layerprobe.embed.doctor.machine import check_machine

    checks = check_machine(options.cache)
    faults = sum(check.status == "fault" for check in checks)
    if options.output.json:
        print_json(checks)
    else:
        for check in checks:
            mend = f"\n{'':21}→ {check.do}" if check.do else ""
            print(f"{check.status:6}{check.item:14} {check.found}{mend}")
        print(f"{format_count(faults, 'fault')}" if faults else "no faults")
    return int(faults > 0)
