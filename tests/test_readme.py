"""Every command of the README, run as written, on a small corpus in the place of the one it names."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys

import pytest

from layerprobe.embed.manifest.synthetic import make_corpus
from tests.run import CLI, ENVIRONMENT, ROOT

README = (ROOT / "README.md").read_text()
# What cannot be had in a test → what stands in for it. Nothing else is changed.
STAND_INS = {"hubert-base": "random:hubert-tiny"}
SMALLER = {"classify": ["--trials", "2", "--inner-folds", "2", "--jobs", "1"], "finetune": ["--epochs", "1"]}
OWN_FOLDS = ("--protocol",)


def commands() -> list[list[str]]:
    """The words of each `python cli.py …` line of the README's shell blocks, in order."""
    lines = [
        line for block in re.findall(r"```sh\n(.*?)```", README, re.DOTALL) for line in block.splitlines()
    ]
    return [shlex.split(line, comments=True)[2:] for line in lines if line.startswith("python cli.py ")]


def test_the_two_commands_come_first():
    first = re.findall(r"```sh\n(.*?)```", README, re.DOTALL)[0].splitlines()
    assert [line.split("#")[0].strip() for line in first] == ["make demo", "make test"]


@pytest.fixture(scope="module")
def workplace(tmp_path_factory):
    folder = tmp_path_factory.mktemp("readme")
    make_corpus(folder / "BAVED", speakers=6, words=2)
    speech = folder / "SPEECH"
    for path in sorted((folder / "BAVED").glob("*/*.wav")):
        label = speech / ("calm" if path.stem.split("-")[4] == "0" else "lively")
        label.mkdir(parents=True, exist_ok=True)
        (label / path.name).write_bytes(path.read_bytes())
    return folder


def test_every_command_of_the_readme_works(workplace):
    told = commands()
    assert len(told) >= 12
    for words in told:
        stand_in = [STAND_INS.get(word, word) for word in words]
        stand_in += SMALLER.get(words[0], [])
        if words[0] == "classify" and not set(OWN_FOLDS) & set(words):
            stand_in += ["--folds", "2"]
        done = subprocess.run(
            [*CLI, *stand_in], cwd=workplace, env=ENVIRONMENT, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, (words, done.stderr)
        assert done.stdout.strip(), words
    for file in ("summary.json", "results.csv", "predictions.csv", "splits.json", "run.json"):
        assert (workplace / "runs" / "hubert" / file).is_file(), file
    assert (workplace / "runs" / "hubert" / "figures" / "layers.svg").is_file()


def test_the_python_of_the_readme_works(workplace):
    code = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    assert code
    for block in code:
        program = f"import sys; sys.path.insert(0, {str(ROOT)!r})\n{block}"
        done = subprocess.run(
            [sys.executable, "-c", program],
            cwd=workplace,
            env=ENVIRONMENT,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        if "  # 1.0" in block:
            assert float(done.stdout) >= 0.999


@pytest.mark.parametrize("name", re.findall(r"\]\(([^)#]+)\)", README))
def test_what_the_readme_links_to_is_there(name):
    assert (ROOT / name).is_file()
