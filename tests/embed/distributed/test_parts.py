"""Which part of a table a process has: the option, torchrun, Slurm, or none."""

from __future__ import annotations

import pytest

from layerprobe.cache.common.errors import InputError
from layerprobe.embed.distributed.parts import Part, find_part

BATCH_SCRIPT = {"SLURM_PROCID": "0", "SLURM_NTASKS": "8", "SLURM_LOCALID": "0"}


@pytest.mark.parametrize(
    ("option", "environment", "expected"),
    [
        (None, {}, None),
        ("3/8", {}, Part(index=2, count=8)),
        (" 1/1 ", {}, None),
        (None, {"RANK": "5", "WORLD_SIZE": "8", "LOCAL_RANK": "1"}, Part(index=5, count=8, local=1)),
        (None, {"RANK": "0", "WORLD_SIZE": "1", "LOCAL_RANK": "0"}, None),
        (None, {"RANK": "0"}, None),
        (
            None,
            {**BATCH_SCRIPT, "SLURM_PROCID": "3", "SLURM_STEP_NUM_TASKS": "8"},
            Part(index=3, count=8, local=0),
        ),
        (None, BATCH_SCRIPT, None),
        ("1/1", {"RANK": "5", "WORLD_SIZE": "8"}, None),
        ("2/4", {"RANK": "5", "WORLD_SIZE": "8", "LOCAL_RANK": "1"}, Part(index=1, count=4, local=1)),
    ],
    ids=[
        "alone",
        "option",
        "all",
        "torchrun",
        "one-process",
        "no-size",
        "srun",
        "batch-script",
        "off",
        "both",
    ],
)
def test_the_part_of_a_process(option, environment, expected):
    assert find_part(option, environment) == expected


@pytest.mark.parametrize(
    "option", ["0/8", "9/8", "1/0", "3", "3/", "-1/8", "a/b", "1.5/8", "", "1/8/2", "١/٨"]
)
def test_an_option_that_names_no_part(option):
    with pytest.raises(
        InputError, match=r"^--part .*; give a part and the number of parts, such as 1/8 to 8/8$"
    ):
        find_part(option, {})


@pytest.mark.parametrize("rank", ["8", "-1", "two", "1.0"])
def test_a_launcher_that_names_no_process(rank):
    with pytest.raises(InputError, match=r"RANK=.* does not name a process of torchrun; unset it"):
        find_part(None, {"RANK": rank, "WORLD_SIZE": "8"})
