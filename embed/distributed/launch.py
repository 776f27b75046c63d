"""From the options of `embed` to what this process computes, and where."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace

from layerprobe.cache.common.errors import InputError
from layerprobe.cache.common.options import check_choice
from layerprobe.embed.config import ALL_GPUS, BACKENDS, LOCAL, EmbedConfig
from layerprobe.embed.distributed.parts import find_part
from layerprobe.embed.distributed.processes import embed_on_devices, embed_part
from layerprobe.embed.distributed.sharing import Part
from layerprobe.embed.extract.run import ExtractionSummary, embed, show_progress
from layerprobe.embed.manifest.clips import Clip


def find_process(config: EmbedConfig, option: str | None) -> tuple[EmbedConfig, Part | None]:
    """Which part of the table this process embeds, and the configuration with its device.

    option: `--part`; without it, what torchrun or srun says. Processes on one machine take its GPUs in turn.
    Raises InputError.
    """
    part = find_part(option, os.environ)
    if part is not None and part.local is not None:
        if config.device == ALL_GPUS:
            do = "omit --device: each process takes a GPU of its own"
            raise InputError(f"--device {ALL_GPUS} in each of several processes", do=do)
        config = replace(config, device=_own_gpu(config.device, part.local))
    return config, part


def embed_anywhere(
    clips: Sequence[Clip], config: EmbedConfig, *, part: Part | None, backend: str
) -> ExtractionSummary:
    """`embed` with a progress line: in this process, in one for each GPU, or on a cluster.

    Raises as `embed`, and InputError for options that exclude each other.
    """
    check_choice("--backend", backend, BACKENDS)
    with show_progress(config.model) as report:
        if backend != LOCAL:
            _check_cluster(config, part, backend)
            from layerprobe.embed.distributed.clusters import embed_on_cluster

            return embed_on_cluster(clips, config, backend, report=report)
        if config.device == ALL_GPUS:
            if part is not None:
                do = "omit one of them"
                raise InputError(f"--device {ALL_GPUS} divides the table itself, and this is {part}", do=do)
            return embed_on_devices(clips, config, _all_gpus(), report=report)
        if part is not None:
            return embed_part(clips, config, part, report=report)
        return embed(clips, config, report=report)


def _check_cluster(config: EmbedConfig, part: Part | None, backend: str) -> None:
    if part is not None:
        do = "omit --part, or leave the launcher out"
        raise InputError(f"--backend {backend} divides the table itself, and this is {part}", do=do)
    if config.device == ALL_GPUS:
        raise InputError(
            f"--device {ALL_GPUS} with --backend {backend}", do="omit --device: each task takes a GPU"
        )


def _own_gpu(device: str, local: int) -> str:
    """The GPU of the process with this number on its machine; other devices are shared by all."""
    import torch

    count = torch.cuda.device_count()
    return f"cuda:{local % count}" if device in ("auto", "cuda") and count else device


def _all_gpus() -> list[str]:
    import torch

    count = torch.cuda.device_count()
    if not count:
        raise InputError(f"--device {ALL_GPUS}: there is no GPU", do="try --device auto or cpu")
    return [f"cuda:{number}" for number in range(count)]
