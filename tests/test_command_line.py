"""The command line as a whole: flags stay, every option is documented, errors are one line."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from functools import cache
from typing import Any

import pytest
from cyclopts import App

import layerprobe
from layerprobe import cli as cli_module
from layerprobe.cache.common.console import Verbosity, set_verbosity
from layerprobe.cache.common.options import apply_output_options, show_default
from tests.run import CLI, ENVIRONMENT, ROOT, cli, refused, write_corpus

BEFORE = json.loads((ROOT / "tests" / "flags_before.json").read_text())  # of version 0.1.0
# Defaults that a run determines by itself if the option is omitted; help describes them in words.
IN_WORDS = {
    "(audit)": "True",
    "(cheap)": "cheap",
    "(5)": "5",
    "(speaker)": "speaker",
    "(selected)": "selected",
}


@cache
def all_commands() -> dict[str, Any]:
    """Words of each command -> its arguments and options."""

    def walk(app: App, words: list[str]) -> dict[str, Any]:
        commands: dict[str, Any] = {}
        for name in app:
            if name.startswith("-"):
                continue
            inner = app[name]
            commands |= walk(inner, [*words, name]) or {" ".join([*words, name]): inner}
        return commands

    return walk(cli_module.app, [])


def options_of(words: str) -> dict[str, Any]:
    """Every flag and positional name of a command -> its option."""
    collection = all_commands()[words].assemble_argument_collection(
        default_parameter=cli_module.app.default_parameter, parse_docstring=True
    )
    return {
        name: option for option in collection if option.parse and not option.children for name in option.names
    }


def test_no_command_is_lost():
    leaves = {entry["command"] for entry in BEFORE if entry["command"] and not entry["group"]}
    assert leaves <= set(all_commands())


@pytest.mark.parametrize(
    "entry", [e for e in BEFORE if e["command"] and not e["group"]], ids=lambda e: e["command"]
)
def test_flags_and_defaults_of_the_last_version_stay(entry):
    options = options_of(entry["command"])
    for old in entry["parameters"]:
        if old["name"] == "help":
            continue
        names = old["flags"] + old["secondary_flags"] or [f"--{old['name']}"]
        assert set(names) <= set(options), (entry["command"], names)
        option = options[names[0]]
        if old["kind"] == "argument":
            assert option.index is not None, names
        assert option.required <= old["required"], names  # none has become required
        if old["default"] is not None:
            default = IN_WORDS.get(old["default"], old["default"])
            shown = option.parameter.show_default or show_default  # the latter is the default of the app
            assert shown(option.field_info.default) == default, names


@pytest.mark.parametrize("words", sorted(all_commands()))
def test_every_command_and_option_has_help(words):
    app = all_commands()[words]
    assert app.help or app.default_command.__doc__, words
    for name, option in options_of(words).items():
        assert option.parameter.help, (words, name)


@pytest.mark.parametrize("words", sorted(all_commands()))
def test_every_command_can_print_json(words):
    assert "--json" in options_of(words)


def test_one_name_means_one_thing():
    """An option that several commands share has the same default and the same type in all of them."""
    seen: dict[str, tuple[Any, str]] = {}
    # of each command
    own = {
        "--out",
        "--trials",
        "--layers",
        "--stats",
        "--heads",
        "--metric",
        "--targets",
        "--head",
        "--window",
        "--format",
        "--map",
        "--model",  # classify takes several
        "--backend",  # without a cluster, embed computes in its own process, and classify in loky's
    }
    for words in all_commands():
        for name, option in options_of(words).items():
            if name in own or not name.startswith("--") or option.required:
                continue
            meaning = (option.field_info.default, str(option.hint))
            assert seen.setdefault(name, (meaning, words))[0] == meaning, (name, words, seen[name][1])


def test_the_reference_is_up_to_date():
    program = [sys.executable, "docs/make_commands.py"]
    made = subprocess.run(program, cwd=ROOT, env=ENVIRONMENT, capture_output=True, text=True, check=True)
    assert (ROOT / "docs" / "commands.md").read_text() == made.stdout, "run: make reference"


@pytest.mark.parametrize("flag", ["--help", "-h"])
def test_help_is_printed_for_a_group_and_a_command(flag):
    for words in ([], ["cache"], ["cache", "info"], ["embed"]):
        done = subprocess.run(
            [*CLI, *words, flag], env=ENVIRONMENT, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0
        assert done.stdout.startswith(f"Usage: {' '.join(['python cli.py', *words])}")


def test_version():
    done = subprocess.run([*CLI, "--version"], env=ENVIRONMENT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == layerprobe.__version__


def test_the_cache_folder_can_be_an_environment_variable(tmp_path):
    environment = {**ENVIRONMENT, "LAYERPROBE_CACHE": str(tmp_path / "nosuch")}
    done = subprocess.run(
        [*CLI, "cache", "info"], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert f"{tmp_path / 'nosuch'}: no such folder" in done.stderr


@pytest.mark.parametrize("words", sorted(all_commands()))
def test_the_list_of_commands_gives_the_help_of_each(words):
    """The texts stand in cli.py too, so that the list of commands imports none of them."""
    *parents, name = words.split()
    parent = cli_module.app[parents[0]] if parents else cli_module.app
    if parents in (["manifest"], ["bundle"]):
        return  # their commands are in their own modules
    commands = cli_module.CACHE_COMMANDS.copy()
    for group in cli_module.COMMANDS.values():
        commands |= group
    function = parent[name].default_command
    assert " ".join((function.__doc__ or "").split("\n\n")[0].split()) == commands[name][1]


def test_the_last_of_a_repeated_option_counts():
    words = ["cache", "verify", "--repair", "--repair", "--model", "a", "--cache", "x", "--model", "b"]
    _, bound, _ = cli_module.app.parse_args(words, exit_on_error=False, print_error=False)
    (options,) = bound.arguments.values()
    assert (options.repair, options.selection.model) == (True, "b")
    words = ["cache", "prune", "--keep", "a.csv", "--keep", "b.csv"]
    _, bound, _ = cli_module.app.parse_args(words, exit_on_error=False, print_error=False)
    (options,) = bound.arguments.values()
    assert [table.name for table in options.keep] == ["a.csv", "b.csv"]


@pytest.mark.slow
def test_quiet_leaves_results_and_errors(tmp_path):
    table = write_corpus(tmp_path, clips=4)
    (tmp_path / "clip001.wav").write_text("not sound")
    words = ["embed", table, "--model", "mfcc", "--cache", tmp_path / "features"]
    done = cli(*words, "--quiet")
    assert done.returncode == 0
    assert "embedded" in done.stdout
    assert "clip001.wav" in done.stderr  # what could not be used is an error
    assert "embed mfcc" not in done.stderr
    assert "embed mfcc: 3/4 clips" in cli(*words[:-1], tmp_path / "other").stderr
    assert refused(cli("embed", tmp_path / "nosuch.csv", "--model", "mfcc", "-q")).startswith("error: ")


def test_verbose_adds_the_value_of_each_option_and_the_duration_of_each_stage(tmp_path):
    table = write_corpus(tmp_path, clips=4)
    words = ["embed", table, "--model", "mfcc", "--cache", tmp_path / "features"]
    done = cli(*words, "--verbose")
    lines = done.stderr.splitlines()
    assert "--stats: mean, std" in lines
    assert "--precision: auto" in lines
    assert any(line.startswith("mfcc in fp32 on ") for line in lines)
    stages = (
        "load the model",
        "hash the files and read their headers",
        "compute and store the states",
        "total",
    )
    for stage in stages:
        assert any(re.fullmatch(rf"{stage}: \d+\.\d s", line) for line in lines), stage
    assert "--stats" not in cli(*words).stderr
    assert refused(cli(*words, "-q", "-v")) == (
        "error: --quiet and --verbose contradict each other; give one of them"
    )


def test_verbose_shows_no_password(capsys):
    words = ["classify", "a.csv", "--model", "m", "--out", "r", "--storage", "mysql://me:hunter2@db/x"]
    _, bound, _ = cli_module.app.parse_args([*words, "--verbose"], exit_on_error=False, print_error=False)
    try:
        apply_output_options(bound.arguments.values())
    finally:
        set_verbosity(Verbosity.NORMAL)
    printed = capsys.readouterr().err
    assert "--storage: ***" in printed
    assert "hunter2" not in printed


def test_completion_is_for_the_installed_command(tmp_path):
    assert "pip install ." in refused(cli("--install-completion"))
    script = cli_module.app.generate_completion(prog_name="layerprobe", shell="bash")
    for word in ("classify", "--inner-folds", "--min-confidence"):
        assert word in script
    (tmp_path / "completion.bash").write_text(script)
    subprocess.run(["bash", "-n", tmp_path / "completion.bash"], check=True)


def test_exit_statuses_are_in_help_and_reference():
    done = cli("--help")
    assert "Exit status: 0 success" in done.stdout
    assert "| 130 | stopped by Ctrl-C or SIGTERM" in (ROOT / "docs" / "commands.md").read_text()


def test_help_has_no_line_ends_of_the_source(capsys):
    """A docstring of two lines is filled as one paragraph."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("COLUMNS", "80")
        cli_module.run(["embed", "--help"])
    text = capsys.readouterr().out
    assert not [line for line in text.splitlines() if re.match(r"│ {30}", line)]
    words = " ".join(text.replace("│", " ").split())
    assert "Clips whose states overflow in a half precision are computed again in fp32." in words
