"""The wheel: the command `layerprobe` and the package `layerprobe`, with its data, and nothing else."""

from __future__ import annotations

import os
import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import pytest

from tests.run import ENVIRONMENT, ROOT, write_corpus

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    program = [sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation", "--quiet"]
    subprocess.run([*program, "--wheel-dir", folder, ROOT], check=True, capture_output=True)
    return next(folder.glob("layerprobe-*.whl"))


@pytest.fixture(scope="module")
def environment(wheel, tmp_path_factory) -> Path:
    """A virtual environment with the wheel; its dependencies are those of the environment of the tests."""
    folder = tmp_path_factory.mktemp("environment")
    venv.create(folder, with_pip=False)
    packages = next((folder / "lib").glob("python*/site-packages"))
    subprocess.run(
        [
            sys.executable,
            "-m",
            "pip",
            "--python",
            folder / "bin" / "python",
            "install",
            "--no-deps",
            "--quiet",
            wheel,
        ],
        check=True,
        capture_output=True,
    )
    own = next(Path(path) for path in sys.path if path.endswith("site-packages"))
    (packages / "dependencies.pth").write_text(f"{own}\n")
    return folder


def run(environment: Path, *words: object, cwd: Path) -> subprocess.CompletedProcess[str]:
    clean = {name: value for name, value in ENVIRONMENT.items() if name != "PYTHONPATH"}
    program = [str(environment / "bin" / str(words[0])), *map(str, words[1:])]
    return subprocess.run(program, cwd=cwd, env=clean, capture_output=True, text=True, check=False)


def test_it_holds_one_package_with_every_file(wheel):
    names = zipfile.ZipFile(wheel).namelist()
    tops = {name.partition("/")[0] for name in names}
    assert {top for top in tops if not top.endswith(".dist-info")} == {"layerprobe"}
    tracked = subprocess.run(
        ["git", "ls-files", "cache", "embed", "classify"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    ).stdout.split()
    sources = tracked or [str(path.relative_to(ROOT)) for path in (ROOT / "cache").rglob("*.py")]
    assert {f"layerprobe/{name}" for name in [*sources, "cli.py", "__init__.py"]} <= set(names)


def test_the_command_works_outside_of_a_checkout(environment, tmp_path):
    table = write_corpus(tmp_path, clips=3)
    listed = run(environment, "layerprobe", "models", cwd=tmp_path)
    assert listed.returncode == 0, listed.stderr
    assert "facebook/hubert-base-ls960" in listed.stdout
    done = run(environment, "layerprobe", "embed", table, "--model", "mfcc", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    checked = run(environment, "layerprobe", "doctor", "random:hubert-tiny", cwd=tmp_path)
    assert checked.returncode == 0, checked.stderr
    missing = run(
        environment, "layerprobe", "classify", table, "--model", "fbank", "--out", "r", cwd=tmp_path
    )
    assert missing.returncode == 2
    assert "run: layerprobe embed" in missing.stderr


def test_the_package_is_imported_by_its_name_alone(environment, tmp_path):
    program = (
        "import layerprobe, importlib.util\n"
        "from layerprobe.cache import FeatureStore\n"
        "assert FeatureStore.__module__.startswith('layerprobe.cache')\n"
        "print(layerprobe.__version__)\n"
        "print([n for n in ('cache', 'embed', 'classify', 'cli') if importlib.util.find_spec(n)])"
    )
    done = run(environment, "python", "-c", program, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    version, others = done.stdout.splitlines()
    assert version[0].isdigit()
    assert others == "[]"


def test_python_cli_py_works_in_a_checkout_from_any_folder(tmp_path):
    program = [sys.executable, str(ROOT / "cli.py"), "--version"]
    done = subprocess.run(
        program, cwd=tmp_path, env=dict(os.environ), capture_output=True, text=True, check=True
    )
    assert done.stdout.strip()
