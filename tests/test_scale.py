"""The scripts of docs/scale.md and docs/gpu-server.md parse, and the command line has what they call."""

from __future__ import annotations

import re
import shlex
import subprocess

import pytest
from cyclopts import CycloptsError

from layerprobe import cli
from tests.run import ROOT

PAGES = {name: (ROOT / "docs" / name).read_text() for name in ("scale.md", "gpu-server.md")}
BLOCKS = [
    (name, block)
    for name, text in PAGES.items()
    for block in re.findall(r"```\w*\n(.*?)```", text, re.DOTALL)
]
SCRIPTS = [block for _, block in BLOCKS if block.startswith("#!/bin/bash")]
PYTHON = [block for _, block in BLOCKS if re.match(r"# \w+\.py:", block)]
CALL = re.compile(r"(?:layerprobe|python cli\.py|cli\.py) (?=[a-z])")


def commands() -> list[str]:
    """What follows `layerprobe` or `cli.py` in each line of a block, without what follows the command."""
    lines = [line for _, block in BLOCKS for line in block.replace("\\\n", " ").splitlines()]
    calls = [CALL.split(line)[-1] for line in lines if CALL.search(line) and not line.startswith("# ")]
    return [re.split(r"&&|;|&$|\s#|['\"]$", call)[0].strip(" '\"") for call in calls]


def test_there_are_scripts_and_commands():
    assert len(SCRIPTS) >= 3
    assert len(PYTHON) == 1
    assert {command.split()[0] for command in commands()} >= {"embed", "classify"}


@pytest.mark.parametrize("script", SCRIPTS)
def test_a_shell_script_parses(script):
    done = subprocess.run(["bash", "-n"], input=script, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("script", PYTHON)
def test_a_python_script_parses(script):
    compile(script, "script", "exec")


@pytest.mark.parametrize("command", commands())
def test_the_command_line_has_every_option(command):
    words = shlex.split(command)
    try:
        cli.app.parse_args(words, exit_on_error=False, print_error=False)
    except CycloptsError as error:
        raise AssertionError(f"{command}: {cli.usage_error(error)}") from error
