"""The rules of ARCHITECTURE.md that import-linter does not check: what help imports, sizes, documents.

Which package may import which is checked by `make lint`, from the contracts in pyproject.toml.
"""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from tests.run import ENVIRONMENT, ROOT

PACKAGES = sorted(
    path.parent for top in ("cache", "embed", "classify") for path in (ROOT / top).rglob("__init__.py")
)
MODULES = sorted(path for package in PACKAGES for path in package.glob("*.py"))
HEAVY = {
    *("torch", "torchaudio", "transformers", "sklearn", "xgboost", "optuna", "pandas", "matplotlib"),
    *("h5py", "scipy", "numpy", "joblib"),
}
# Where models are trained or run; everything else in classify works on cached states without torch.
USES_TORCH = (
    "classify/finetune/",
    "classify/heads/solvers/frame_networks.py",
    "classify/heads/solvers/frame_training.py",
    "classify/predict/finetuned.py",
    "classify/predict/transformers_export.py",
    "classify/reproduce/stand_ins.py",
)


def name(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def imported(path: Path) -> set[str]:
    """Every module that a file imports, inside functions too, but not for type checkers only."""
    tree = ast.parse(path.read_text())
    typing_only = {
        id(node)
        for branch in ast.walk(tree)
        if isinstance(branch, ast.If) and ast.unparse(branch.test) == "TYPE_CHECKING"
        for child in branch.body
        for node in ast.walk(child)
    }
    modules: set[str] = set()
    for node in ast.walk(tree):
        if id(node) in typing_only:
            continue
        if isinstance(node, ast.Import):
            modules |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            modules |= {node.module}
    return modules


def loaded_by(program: str) -> set[str]:
    done = subprocess.run(
        [sys.executable, "-c", f"import sys\n{program}\nprint('MODULES', *sys.modules)"],
        cwd=ROOT,
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
        check=True,
    )
    return set(done.stdout.split("MODULES", 1)[1].split())


def test_the_packages_are_found():
    """The rules below would hold for nothing if the files had moved."""
    assert len(PACKAGES) > 20
    assert len(MODULES) > 120


def test_torch_is_imported_only_where_models_run():
    for path in MODULES:
        if name(path).startswith("embed/") or name(path).startswith(USES_TORCH):
            continue
        heavy = {module.partition(".")[0] for module in imported(path)}
        assert not heavy & {"torch", "torchaudio", "transformers"}, name(path)


@pytest.mark.parametrize(
    "words", [[], ["embed"], ["classify"], ["finetune"], ["manifest"], ["cache", "info"]], ids=" ".join
)
def test_help_imports_nothing_heavy(words):
    loaded = loaded_by(f"from layerprobe import cli\ncli.run({[*words, '--help']})")
    assert not loaded & HEAVY


@pytest.mark.parametrize(
    "package", ["layerprobe", "layerprobe.cache", "layerprobe.embed", "layerprobe.classify"]
)
def test_importing_a_package_imports_nothing_heavy(package):
    assert not loaded_by(f"import {package}") & HEAVY


def test_a_run_folder_is_read_without_what_made_it():
    heavy = {"torch", "optuna", "sklearn", "xgboost", "h5py"}
    assert not loaded_by("import layerprobe.classify.runs.compare") & heavy


def test_features_without_weights_need_no_transformers():
    assert "transformers" not in loaded_by("import layerprobe.embed.extract.run")


def test_a_search_starts_without_what_only_audit_and_figures_use():
    assert not loaded_by("import layerprobe.classify.controls.evaluation") & {"torch", "matplotlib"}


@pytest.mark.parametrize("package", PACKAGES, ids=name)
def test_a_package_is_small_and_says_what_it_holds(package):
    modules = [path for path in package.glob("*.py") if path.name != "__init__.py"]
    assert len(modules) <= 11, [path.name for path in modules]
    doc = ast.get_docstring(ast.parse((package / "__init__.py").read_text()))
    assert doc, "no docstring"


@pytest.mark.parametrize("path", MODULES, ids=name)
def test_a_module_is_small_and_says_what_it_is_for(path):
    text = path.read_text()
    assert len(text.splitlines()) <= 260
    assert ast.get_docstring(ast.parse(text))


def test_every_package_is_in_the_architecture():
    text = (ROOT / "ARCHITECTURE.md").read_text()
    for package in PACKAGES:
        assert f"`{name(package)}" in text, name(package)


def test_tests_mirror_the_packages():
    """A folder of tests is named like the package that it tests."""
    packages = {name(package) for package in PACKAGES}
    for folder in (ROOT / "tests").rglob("test_*.py"):
        inside = folder.parent.relative_to(ROOT / "tests").as_posix()
        assert inside in {".", "benchmarks", *packages}, name(folder)


def test_nothing_that_users_install_is_unused():
    """Every dependency of the wheel is imported by a shipped file."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    asked = [*project["dependencies"], *extras["finetune"], *extras["parquet"]]
    used = {module.partition(".")[0] for path in [*MODULES, ROOT / "cli.py"] for module in imported(path)}
    modules = {"scikit-learn": "sklearn", "huggingface-hub": "huggingface_hub", "pyyaml": "yaml"}
    needed_by_others = {"accelerate"}  # transformers' Trainer
    for requirement in asked:
        package = requirement.split("=")[0].split(">")[0].split("<")[0]
        assert modules.get(package, package) in used | needed_by_others, package


def test_the_version_is_that_of_the_changelog():
    """`0.4.0.dev0` while the first section is `0.4.0 (unreleased)`; CITATION.cff names the last release."""
    sections = re.findall(r"^## (\S+)( \(unreleased\))?$", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    newest, unreleased = sections[0]
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert project["version"] == (f"{newest}.dev0" if unreleased else newest)
    released = next(number for number, mark in sections if not mark)
    assert f"\nversion: {released}\n" in (ROOT / "CITATION.cff").read_text()
