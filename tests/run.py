"""The real command line in a process of its own, as a person runs it."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
from functools import cache
from pathlib import Path
from tempfile import TemporaryFile

import numpy as np
import soundfile

ROOT = Path(__file__).resolve().parent.parent
CLI = [sys.executable, str(ROOT / "cli.py")]
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "COLUMNS": "200"}
TIMEOUT = 600  # seconds for one command


class ForkServer:
    """A process that has imported everything and forks for each command: see tests/fork_server.py."""

    def __init__(self) -> None:
        self.connection, theirs = socket.socketpair()
        self.answers = self.connection.makefile()
        program = [sys.executable, str(ROOT / "tests" / "fork_server.py"), str(theirs.fileno())]
        self.process = subprocess.Popen(
            program, env=ENVIRONMENT, stdin=subprocess.DEVNULL, pass_fds=[theirs.fileno()]
        )
        theirs.close()

    def run(self, words: list[str], folder: Path) -> subprocess.CompletedProcess[str]:
        """Run `python cli.py WORDS` in `folder` to its end."""
        with TemporaryFile("w+") as stdout, TemporaryFile("w+") as stderr:
            request = json.dumps({"words": words, "folder": str(folder)}).encode()
            socket.send_fds(self.connection, [request], [stdout.fileno(), stderr.fileno()])
            command = int(self.answers.readline())
            alarm = threading.Timer(TIMEOUT, os.kill, (command, signal.SIGKILL))
            alarm.start()
            status = os.waitstatus_to_exitcode(int(self.answers.readline()))
            alarm.cancel()
            stdout.seek(0)
            stderr.seek(0)
            return subprocess.CompletedProcess(words, status, stdout.read(), stderr.read())


@cache
def fork_server() -> ForkServer:
    return ForkServer()


def cli(*arguments: object, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    """`python cli.py …`, to its end, in a process of its own."""
    return fork_server().run([str(argument) for argument in arguments], cwd or ROOT)


def refused(done: subprocess.CompletedProcess[str]) -> str:
    """The one line with which a command refused its input; fails if it did not, or showed a traceback."""
    assert done.returncode == 2, (done.returncode, done.stdout, done.stderr)
    assert "Traceback" not in done.stderr
    errors = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1, done.stderr
    return errors[0]


def tone(seconds: float, *, seed: int, rate: int = 16_000) -> np.ndarray:
    """A noisy harmonic tone (T,) float32, another for each seed."""
    rng = np.random.default_rng(seed)
    time = np.arange(round(seconds * rate)) / rate
    pitch = rng.uniform(90, 300)
    wave = sum(np.sin(2 * np.pi * pitch * k * time + rng.uniform(0, 6)) / k for k in range(1, 6))
    return (0.1 * wave + 0.01 * rng.standard_normal(len(time))).astype(np.float32)


def write_corpus(
    folder: Path, *, clips: int = 8, speakers: int = 4, shortest: float = 0.3, seed: int = 0
) -> Path:
    """`clips` tones of different lengths and a table `clips.csv` with path, emotion and speaker."""
    folder.mkdir(parents=True, exist_ok=True)
    rows = ["path,emotion,speaker"]
    for i in range(clips):
        name = f"clip{i:03}.wav"
        wave = tone(shortest + 0.17 * (i % 9), seed=seed * 1000 + i)
        soundfile.write(folder / name, wave, 16_000, subtype="PCM_16")
        rows.append(f"{name},{'abc'[i // speakers % 3]},s{i % speakers}")
    table = folder / "clips.csv"
    table.write_text("\n".join(rows) + "\n")
    return table
