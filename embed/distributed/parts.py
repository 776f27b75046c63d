"""Which part of a table this process embeds: from `--part`, torchrun or Slurm."""

from __future__ import annotations

import re
from collections.abc import Mapping

from layerprobe.cache.common.errors import InputError
from layerprobe.embed.distributed.sharing import Part

# Variables for (rank, number of processes, rank on this machine), by launcher. Slurm also sets SLURM_PROCID
# and SLURM_NTASKS in a batch script, which is one process: only a step of srun has its number of tasks.
LAUNCHERS = {
    "torchrun": ("RANK", "WORLD_SIZE", "LOCAL_RANK"),
    "srun": ("SLURM_PROCID", "SLURM_STEP_NUM_TASKS", "SLURM_LOCALID"),
}


def find_part(option: str | None, environment: Mapping[str, str]) -> Part | None:
    """The part of this process: that of the option, else that of the launcher; None for the complete table.

    option: `3/8` is the third of eight parts. Raises InputError for an option that names no part, and for
    variables of a launcher that are no numbers.
    """
    launched = _launched(environment)
    if option is None:
        part = launched
    else:
        index, count = parse_part(option, name="--part")
        part = Part(index=index - 1, count=count, local=launched.local if launched else None)
    return None if part is None or part.count == 1 else part


def parse_part(option: str, *, name: str) -> tuple[int, int]:
    """(3, 8) for `3/8`. name: of the option. Raises InputError for what names no part."""
    match = re.fullmatch(r"([0-9]{1,9})/([0-9]{1,9})", option.strip())
    if match is None or not 1 <= int(match[1]) <= int(match[2]):
        raise InputError(f"{name} {option}", do="give a part and the number of parts, such as 1/8 to 8/8")
    return int(match[1]), int(match[2])


def _launched(environment: Mapping[str, str]) -> Part | None:
    for launcher, (rank, count, local) in LAUNCHERS.items():
        texts = {name: environment[name] for name in (rank, count, local) if environment.get(name)}
        if rank not in texts or count not in texts:
            continue
        faulty = [f"{name}={text}" for name, text in texts.items() if not re.fullmatch("[0-9]{1,9}", text)]
        numbers = {} if faulty else {name: int(text) for name, text in texts.items()}
        if faulty or not numbers[rank] < numbers[count]:
            what = ", ".join(faulty) or f"{rank}={texts[rank]} of {count}={texts[count]}"
            raise InputError(
                f"{what} does not name a process of {launcher}",
                do="unset it, or give --part 1/1 for the table",
            )
        return Part(index=numbers[rank], count=numbers[count], local=numbers.get(local))
    return None
