"""Ctrl-C and SIGTERM at any moment of any command: one line, status 130, no traceback."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from tests.run import CLI, ENVIRONMENT, ROOT, cli, write_corpus

pytestmark = pytest.mark.slow

COMMANDS = {
    "embed": ["embed", "clips.csv", "--model", "random:hubert-tiny", "--cache", "other"],
    "classify": ["classify", "clips.csv", "--model", "mfcc", "--out", "run", "--jobs", "2"],
    "finetune": [
        "finetune",
        "clips.csv",
        "--model",
        "random:hubert-tiny",
        "--splits",
        "splits.json",
        "--out",
        "ft",
    ],
    "manifest": ["manifest", "folder", ".", "--out", "again.csv"],
    "join": ["manifest", "join", "clips.csv", "--out", "again.csv"],
    "audit": ["audit", "clips.csv"],
    "compare": ["compare", "run"],
    "verify": ["cache", "verify"],
    "export": ["cache", "export", "--model", "mfcc", "--layer", "mfcc", "--out", "x.parquet"],
    "doctor": ["doctor", "random:hubert-tiny"],
    "demo": ["demo"],
}


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("interrupts")
    write_corpus(folder, clips=24, speakers=6)
    assert cli("embed", "clips.csv", "--model", "mfcc", cwd=folder).returncode == 0
    return folder


def start(words: list[str], place: Path) -> subprocess.Popen[str]:
    """A command in a process group of its own, as a terminal starts it, that listens to signals by now."""
    pipe = subprocess.PIPE
    process = subprocess.Popen(
        [*CLI, *words],
        cwd=place,
        env=ENVIRONMENT,
        stdout=pipe,
        stderr=pipe,
        text=True,
        start_new_session=True,
    )
    deadline = time.monotonic() + 60
    while process.poll() is None and time.monotonic() < deadline and not listens(process.pid):
        time.sleep(0.002)
    return process


def listens(pid: int) -> bool:
    """Whether a process has a handler for SIGTERM, which Python by itself has not."""
    try:
        output = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return False
    caught = next((line.split()[1] for line in output.splitlines() if line.startswith("SigCgt:")), "0")
    return bool(int(caught, 16) >> (signal.SIGTERM - 1) & 1)


def interrupted(process: subprocess.Popen[str], number: int) -> bool:
    """Send the signal to the whole group, as a terminal does; whether it was in time to stop the command."""
    if process.poll() is None:
        os.killpg(process.pid, number)
    output = process.communicate(timeout=120)[1]
    assert "Traceback" not in output, output
    assert "KeyboardInterrupt" not in output, output
    lines = [line for line in output.splitlines() if line.startswith("stopped")]
    if process.returncode != 130:
        assert process.returncode in (0, 2), output  # it had ended by itself, or had refused
        return False
    assert len(lines) == 1, output
    return True


def alive(group: int) -> list[str]:
    """Command lines of a process group; whoever has ended and only waits to be reaped is not in it."""
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.Error, ProcessLookupError):
            if os.getpgid(process.pid) == group and process.status() != psutil.STATUS_ZOMBIE:
                found.append(" ".join(process.cmdline()))
    return found


@pytest.mark.parametrize("name", COMMANDS)
def test_ctrl_c_in_the_first_moments_of_every_command(place, name):
    assert interrupted(start(COMMANDS[name], place), signal.SIGINT)


@pytest.mark.parametrize(
    ("number", "delay"),
    [(signal.SIGTERM, 0.1), (signal.SIGINT, 0.5), (signal.SIGTERM, 1.5), (signal.SIGINT, 3.0)],
)
def test_a_study_is_stopped_with_its_workers_at_any_moment(place, tmp_path, number, delay):
    words = [*COMMANDS["classify"], "--trials", "100"]
    words[words.index("run")] = str(tmp_path / "run")
    process = start(words, place)
    time.sleep(delay)
    assert interrupted(process, number)
    deadline = time.monotonic() + 60  # a worker ends when it next looks at its pipe, which may take an import
    while (left := alive(process.pid)) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not left


def ended(program: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)


def test_before_signals_raise_they_end_the_process():
    """As while the commands are put together, outside of any import."""
    program = (
        f"import os, signal, sys\nsys.path.insert(0, {str(ROOT)!r})\n"
        "from layerprobe.cache.common.interrupts import exit_on_signals\nexit_on_signals()\n"
        "os.kill(os.getpid(), signal.SIGINT)\nprint('went on')"
    )
    done = ended(program)
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "stopped\n")


def test_an_import_cannot_swallow_an_interrupt(tmp_path):
    """A module that is interrupted while it is imported, inside code that catches everything."""
    (tmp_path / "slow.py").write_text("import os, signal\nos.kill(os.getpid(), signal.SIGINT)\n")
    program = (
        f"import sys\nsys.path[:0] = [{str(ROOT)!r}, {str(tmp_path)!r}]\n"
        "from layerprobe.cache.common.interrupts import exit_on_signals, raise_on_signals\n"
        "exit_on_signals()\nraise_on_signals()\n"
        "try:\n    import slow\nexcept BaseException:\n    pass\nprint('went on')"
    )
    done = ended(program)
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "stopped\n")


def test_an_interrupt_in_a_finaliser_still_ends_the_process():
    program = (
        f"import os, signal, sys\nsys.path.insert(0, {str(ROOT)!r})\n"
        "from layerprobe.cache.common.interrupts import exit_on_signals, raise_on_signals\n"
        "exit_on_signals()\nraise_on_signals()\n"
        "class Dropped:\n    def __del__(self): os.kill(os.getpid(), signal.SIGINT); print('still')\n"
        "Dropped()\nprint('went on')"
    )
    done = ended(program)
    assert (done.returncode, done.stderr) == (130, "stopped\n")
