"""The rules of the house: which room imports which, what help costs, that every command is documented."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.run import CLI, ENVIRONMENT, ROOT

ROOMS = ("cache", "embed", "classify")
HEAVY = {
    "torch",
    "torchaudio",
    "transformers",
    "sklearn",
    "xgboost",
    "optuna",
    "pandas",
    "matplotlib",
    "h5py",
    "scipy",
    "numpy",
}


def modules(room: str) -> list[Path]:
    """A room's own modules; command modules belong to the command line."""
    return [path for path in sorted((ROOT / room).glob("*.py")) if not path.stem.endswith("commands")]


def imports(path: Path) -> set[str]:
    """Every module that a file imports, inside functions too, but not for type checkers only."""
    tree = ast.parse(path.read_text())
    skipped = {
        id(node)
        for branch in ast.walk(tree)
        if isinstance(branch, ast.If) and ast.unparse(branch.test) == "TYPE_CHECKING"
        for child in branch.body
        for node in ast.walk(child)
    }
    found: set[str] = set()
    for node in ast.walk(tree):
        if id(node) in skipped:
            continue
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def uses(path: Path, module: str) -> bool:
    return any(name == module or name.startswith(f"{module}.") for name in imports(path))


@pytest.mark.parametrize("room", ROOMS)
def test_no_room_imports_the_command_line(room):
    assert not [path for path in modules(room) if uses(path, "cli")]


def test_the_cache_imports_no_other_room_and_no_torch():
    for path in modules("cache"):
        for module in ("embed", "classify", "torch", "transformers"):
            assert not uses(path, module), (path.name, module)


def test_embed_does_not_import_classify():
    assert not [path.name for path in modules("embed") if uses(path, "classify")]


# Where models are fine-tuned: torch and transformers are at work, sound is read, weights are opened.
FINETUNE = {
    "finetune.py",
    "finetune_cost.py",
    "finetune_data.py",
    "finetune_keeping.py",
    "finetune_model.py",
    "finetune_training.py",
    "finetune_work.py",
}


def test_classify_imports_torch_only_where_models_are_trained_or_used():
    may = {*FINETUNE, "bundle.py", "recurrent.py"}
    for module in ("torch", "torchaudio", "transformers"):
        assert not [p.name for p in modules("classify") if p.name not in may and uses(p, module)]


def test_classify_takes_from_embed_the_table_and_looks_at_sound_in_few_places():
    table = {
        "layerprobe.embed.manifest.clips",
        "layerprobe.embed.manifest.corpora",
        "layerprobe.embed.config",
    }
    sound = {"audit.py", "measures.py", "likeness.py", "copies.py", "bundle.py", *FINETUNE}
    for path in modules("classify"):
        taken = {name for name in imports(path) if name.startswith("embed.")}
        others = {name for name in taken if not any(name == t or name.startswith(f"{t}.") for t in table)}
        assert not others or path.name in sound, (path.name, others)


@pytest.mark.parametrize(
    "command", [[], ["embed"], ["classify"], ["finetune"], ["manifest"], ["cache"]], ids=str
)
def test_help_imports_nothing_heavy(command):
    told = "import cli, sys\ntry: cli.app(sys.argv[1:])\nfinally: print('MODULES', *sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", told, *command, "--help"],
        cwd=ROOT,
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
        check=False,
    )
    loaded = set(done.stdout.split("MODULES", 1)[1].split())
    assert not loaded & HEAVY


def test_a_run_folder_is_read_without_what_made_it():
    told = "import layerprobe.classify.runs.compare, sys; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", told], cwd=ROOT, capture_output=True, text=True, check=True)
    assert not set(done.stdout.split()) & {"torch", "optuna", "sklearn", "xgboost", "h5py"}


def all_commands() -> list[tuple[list[str], Any]]:
    """Every command and subcommand: its words, and itself."""
    from typer.main import get_command

    from layerprobe import cli

    def walk(command: Any, words: list[str]) -> list[tuple[list[str], Any]]:
        inner = getattr(command, "commands", None)
        if inner is None:
            return [(words, command)]
        return [found for name, child in inner.items() for found in walk(child, [*words, name])]

    return walk(get_command(cli.app), [])


def test_every_command_and_option_has_help():
    for words, command in all_commands():
        assert command.help, words
        for parameter in command.params:
            if parameter.name != "help":
                assert getattr(parameter, "help", None), (words, parameter.name)


def test_every_command_is_in_the_readme():
    readme = (ROOT / "README.md").read_text()
    for words, _ in all_commands():
        assert f"cli.py {' '.join(words)}" in readme or f"`{words[-1]}`" in readme, words


def test_every_command_that_prints_a_table_can_print_json():
    for words, command in all_commands():
        assert any("--json" in parameter.opts for parameter in command.params), words


def test_files_are_small():
    """A file that outgrows its one purpose should become two."""
    long = {
        path.name: len(path.read_text().splitlines())
        for room in ROOMS
        for path in (ROOT / room).glob("*.py")
        if len(path.read_text().splitlines()) > 300
    }
    assert not long


def test_an_unknown_command_is_one_clear_message():
    done = subprocess.run([*CLI, "clasify"], env=ENVIRONMENT, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "clasify" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("room", ROOMS)
def test_every_file_has_its_line_in_the_architecture(room):
    told = (ROOT / "ARCHITECTURE.md").read_text()
    for path in (ROOT / room).glob("[!_]*.py"):
        assert f"| `{path.name}` | " in told, path.name
        assert ast.get_docstring(ast.parse(path.read_text())), path.name
