"""Every command and Python block of README and docs/, run as written on a small corpus; links and files
exist."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable
from pathlib import Path

import pytest

from layerprobe.embed.manifest.synthetic import make_corpus, make_eyase
from tests.run import ROOT, cli, fork_server

# In the order of a reader: later pages use the tables and runs of earlier ones.
ORDER = (
    "first-study",
    "recordings",
    "models",
    "fine-tuning",
    "evaluation",
    "targets",
    "prediction",
    "report",
)
PAGES = {
    name: (ROOT / name).read_text()
    for name in (
        "README.md",
        *(f"docs/{page}.md" for page in (*ORDER, "published-table", "cache", "gpu-server", "scale")),
    )
}
OTHERS = {
    name: (ROOT / name).read_text()
    for name in (
        "ARCHITECTURE.md",
        "CONTRIBUTING.md",
        "CHANGELOG.md",
        "docs/index.md",
        "docs/explanation.md",
        "docs/python.md",
        "docs/feature-store.md",
        "docs/store-format.md",
    )
}
# What is not available in a test, or too large for one -> its replacement. Nothing else is changed.
STAND_INS = dict.fromkeys(("hubert-base", "random:hubert-base"), "random:hubert-tiny")
SMALLER = {
    "classify": ["--trials", "2", "--inner-folds", "2", "--jobs", "1"],
    "matrix": [*("--heads", "logreg", "--trials", "1", "--inner-folds", "2", "--folds", "2", "--jobs", "1")],
    "finetune": ["--epochs", "1"],
}
FEWER = {
    "layerprobe.classify.controls.shuffled_labels.SHUFFLES": 2,
    "layerprobe.classify.controls.learning_curve.DRAWS": 2,
    "layerprobe.classify.controls.few_shot.DRAWS": 2,
    "layerprobe.classify.heads.solvers.frame_training.ROUNDS": 2,
    "layerprobe.classify.report.figures.paper.KINDS": ["svg"],
    "layerprobe.classify.report.figures.paper.WIDTHS": {"two-columns": 7.2},
}
OWN_FOLDS = ("--protocol",)
OWN_LAYERS = {"9": "2"}  # hubert-tiny has four


def commands(text: str) -> list[list[str]]:
    """The words of each `python cli.py …` line of a page's shell blocks, in order."""
    blocks = re.findall(r"```sh\n(.*?)```", text, re.DOTALL)
    lines = [line for block in blocks for line in block.splitlines()]
    return [shlex.split(line, comments=True)[2:] for line in lines if line.startswith("python cli.py ")]


def test_the_readme_begins_with_two_commands():
    first = re.findall(r"```sh\n(.*?)```", PAGES["README.md"], re.DOTALL)[0].splitlines()
    assert [line.split("#")[0].strip() for line in first] == ["make demo", "make test"]


@pytest.fixture(scope="module")
def workplace(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("documents")
    make_corpus(folder / "BAVED", speakers=6, words=2)
    make_eyase(folder / "EYASE")
    speech = folder / "SPEECH"
    for path in sorted((folder / "BAVED").glob("*/*.wav")):
        label = speech / ("calm" if path.stem.split("-")[4] == "0" else "lively")
        label.mkdir(parents=True, exist_ok=True)
        (label / path.name).write_bytes(path.read_bytes())
    write_votes(folder)
    return folder


def write_votes(folder: Path) -> None:
    """votes.csv, the table of docs/targets.md: two of three votes for a clip's own level."""
    lines = ["file,speaker,p_angry,p_calm,p_sad"]
    for path in sorted((folder / "BAVED").glob("*/*.wav")):
        level = int(path.stem.split("-")[4])
        votes = [2 * (place == level) + (place == (level + 1) % 3) for place in range(3)]
        lines.append(",".join(map(str, (path.relative_to(folder), path.stem.split("-")[0], *votes))))
    (folder / "votes.csv").write_text("\n".join(lines) + "\n")


@pytest.fixture(scope="module")
def read_to(workplace) -> Callable[[str], None]:
    """A function that runs the commands of a page, each page once, after those of the pages before it."""
    done: set[str] = set()

    def read(page: str) -> None:
        for earlier in list(PAGES)[: list(PAGES).index(page) + 1]:
            if earlier not in done:
                done.add(earlier)
                for words in commands(PAGES[earlier]):
                    run_as_written(words, workplace)

    return read


def run_as_written(words: list[str], workplace: Path) -> None:
    words = [",".join(STAND_INS.get(part, part) for part in word.split(",")) for word in words]
    if "--layers" in words:
        words = [OWN_LAYERS.get(word, word) for word in words]
    words += ["--jobs", "1"] if "--quick" in words else SMALLER.get(words[0], [])
    if words[0] == "classify" and not set(OWN_FOLDS) & set(words):
        words += ["--folds", "2"]
    done = cli(*words, cwd=workplace, settings=FEWER)
    assert done.returncode == 0, (words, done.stderr)
    assert done.stdout.strip(), words


@pytest.mark.slow
@pytest.mark.parametrize("page", PAGES)
def test_every_command_works(page, read_to):
    assert commands(PAGES[page])
    read_to(page)


@pytest.mark.slow
def test_a_first_study_writes_its_files(workplace, read_to):
    read_to("README.md")
    run = workplace / "runs" / "hubert"
    for file in (
        "summary.json",
        "results.csv",
        "predictions.csv",
        "splits.json",
        "run.json",
        "figures/layers.svg",
    ):
        assert (run / file).is_file(), file


@pytest.mark.slow
@pytest.mark.parametrize("page", [page for page, text in PAGES.items() if "```python" in text])
def test_the_python_works(page, workplace, tmp_path, read_to):
    read_to(page)
    for number, block in enumerate(re.findall(r"```python\n(.*?)```", PAGES[page], re.DOTALL)):
        script = tmp_path / f"{number}.py"
        script.write_text(block)
        done = fork_server().start((), workplace, script=script).finish()
        assert done.returncode == 0, done.stderr
        if "  # 1.0" in block:
            assert float(done.stdout) >= 0.999


def links() -> list[tuple[str, str]]:
    pages = PAGES | OTHERS
    return [(page, link) for page, text in pages.items() for link in re.findall(r"\]\(([^)#:]+)\)", text)]


@pytest.mark.parametrize(("page", "link"), links())
def test_what_a_page_links_to_exists(page, link):
    assert (ROOT / page).parent.joinpath(link).exists()


def test_every_command_is_in_the_documents():
    from tests.test_command_line import all_commands

    text = "\n".join(PAGES.values())
    for words in all_commands():
        assert f"cli.py {words}" in text or f"`{words.split()[-1]}`" in text, words
