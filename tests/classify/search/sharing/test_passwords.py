"""`classify --storage postgresql://…` as it is typed: where its password is, and what a wrong one says."""

from __future__ import annotations

import shlex
import time
from pathlib import Path

import pytest

from layerprobe.cli import app
from tests.postgres import PASSWORD, Postgres
from tests.run import ROOT, cli, refused, start_cli, write_corpus

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def words(tmp_path_factory: pytest.TempPathFactory) -> list[object]:
    """`classify TABLE …` without --out and --storage, on a table whose states are cached."""
    folder = tmp_path_factory.mktemp("typed")
    table = write_corpus(folder, clips=24, speakers=4)
    model = ("--model", "mfcc", "--cache", folder / "features")
    done = cli("embed", table, *model)
    assert done.returncode == 0, done.stderr
    few = ("--heads", "logreg", "--trials", 2, "--folds", 2, "--inner-folds", 2)
    return ["classify", table, *model, *few, "--no-audit", "--controls", "none", "--no-bundle"]


def command_lines() -> str:
    """The command lines of all processes, as `ps` shows them."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            found.append(path.read_bytes())
        except OSError:  # it has ended
            continue
    return b"\n".join(found).decode(errors="replace")


def test_the_password_is_nowhere(words: list[object], database: str, tmp_path: Path) -> None:
    out = tmp_path / "run"
    command = start_cli(
        *words, "--jobs", 2, "--verbose", "--storage", database, "--out", out,
        environment={"PGPASSWORD": PASSWORD},
    )  # fmt: skip
    seen = []
    while command.poll() is None:
        seen.append(command_lines())
        time.sleep(0.02)
    done = command.finish()
    assert done.returncode == 0, done.stderr
    assert any("loky" in text for text in seen)  # workers were running
    files = [path for path in out.rglob("*") if path.is_file()]
    assert files
    texts = [done.stdout, done.stderr, *seen, *(path.read_bytes().decode(errors="replace") for path in files)]
    assert not any(PASSWORD in text for text in texts)
    assert database in (out / "run.json").read_text()
    assert not (out / "search.db").exists()


def test_a_password_in_the_url_is_refused_before_anything_is_written(
    words: list[object], postgres: Postgres, tmp_path: Path
) -> None:
    address = postgres.address("db")
    url, masked = (address.replace("@", f":{password}@") for password in (PASSWORD, "***"))
    done = cli(*words, "--verbose", "--storage", url, "--out", tmp_path / "run")
    assert refused(done) == (
        f"error: {masked}: --storage contains a password, which every user of this machine can see; omit it, "
        "and set PGPASSWORD or write ~/.pgpass (docs/scale.md says how)"
    )
    assert PASSWORD not in done.stdout + done.stderr
    assert not list((tmp_path / "run").rglob("*"))


def test_a_wrong_password_is_one_line(words: list[object], postgres: Postgres, tmp_path: Path) -> None:
    wrong = {"PGPASSWORD": "wr0ng"}
    url = postgres.address("postgres")
    line = refused(cli(*words, "--storage", url, "--out", tmp_path / "run", environment=wrong))
    assert 'password authentication failed for user "searcher"' in line
    assert "wr0ng" not in line


def test_the_documented_commands_are_understood() -> None:
    page = (ROOT / "docs" / "scale.md").read_text()
    lines = [line for line in page.splitlines() if "postgresql://" in line and "layerprobe classify" in line]
    typed = [shlex.split(line, comments=True) for line in lines]
    typed = [shlex.split(words[-1]) if words[0] == "srun" else words for words in typed]  # srun bash -c '…'
    assert len(typed) == 3
    for program, *words in typed:
        assert program == "layerprobe"
        _, bound, _ = app.parse_args(words, exit_on_error=False, print_error=False)
        assert bound.arguments["options"].study.storage == "postgresql://me@db.example.org/search"
