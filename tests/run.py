"""The real command line in a process of its own, as a person runs it."""

from __future__ import annotations

import json
import os
import select
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from tempfile import TemporaryFile
from types import MappingProxyType
from typing import IO, Any

import numpy as np
import soundfile

from tests.figures import FEW

ROOT = Path(__file__).resolve().parent.parent
CLI_FILE = ROOT / "cli.py"
CLI = [sys.executable, str(CLI_FILE)]
ENVIRONMENT = {
    **os.environ,
    "OMP_NUM_THREADS": "1",
    "HF_HUB_OFFLINE": "1",
    "COLUMNS": "200",
    # What `--jobs -1` finds: most studies of tests take less time than the start of worker processes.
    "LOKY_MAX_CPU_COUNT": "1",
}
TIMEOUT = 600  # seconds for one command


class Command:
    """A command of the fork server, with those methods of `subprocess.Popen` that tests use.

    Its output goes to files, so that it never waits for a reader.
    """

    def __init__(self, status: socket.socket, words: list[str], stdout: IO[str], stderr: IO[str]) -> None:
        self._status, self._words, self._stdout, self._stderr = status, words, stdout, stderr
        self._lines = status.makefile()
        self.pid = int(self._lines.readline())
        self.returncode: int | None = None

    def poll(self) -> int | None:
        """The exit status if the command has ended, negative for a signal."""
        if self.returncode is None and select.select([self._status], [], [], 0)[0]:
            self.wait()
        return self.returncode

    def wait(self, timeout: float = TIMEOUT) -> int:
        """The exit status once the command has ended; kills it after `timeout` seconds."""
        if self.returncode is None:
            alarm = threading.Timer(timeout, os.kill, (self.pid, signal.SIGKILL))
            alarm.start()
            self.returncode = os.waitstatus_to_exitcode(int(self._lines.readline()))
            alarm.cancel()
            self._lines.close()
            self._status.close()
        return self.returncode

    def communicate(self, timeout: float = TIMEOUT) -> tuple[str, str]:
        """What the command printed on stdout and stderr, once it has ended."""
        self.wait(timeout)
        with self._stdout, self._stderr:
            self._stdout.seek(0)
            self._stderr.seek(0)
            return self._stdout.read(), self._stderr.read()

    def finish(self) -> subprocess.CompletedProcess[str]:
        """Wait for the end of the command."""
        return subprocess.CompletedProcess(self._words, self.wait(), *self.communicate())

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


class ForkServer:
    """A process that has imported everything and forks for each command: see tests/fork_server.py."""

    def __init__(self) -> None:
        # Messages with boundaries: each request is one.
        self._connection, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        program = [sys.executable, str(ROOT / "tests" / "fork_server.py"), str(theirs.fileno())]
        self.process = subprocess.Popen(
            program, env=ENVIRONMENT, stdin=subprocess.DEVNULL, pass_fds=[theirs.fileno()]
        )
        theirs.close()

    def start(
        self,
        words: Sequence[object],
        folder: Path,
        *,
        script: Path = CLI_FILE,
        environment: Mapping[str, str] = MappingProxyType({}),
        reload: Sequence[str] = (),
        settings: Mapping[str, object] = MappingProxyType({}),
        given: Mapping[int, int] = MappingProxyType({}),
    ) -> Command:
        """Start `python SCRIPT WORDS` in `folder`.

        given: 0 for stdin, 1 for stdout, 2 for stderr → the descriptor that the command gets as such; what
        goes there is not in `communicate`. The other arguments: see `prepare` in fork_server.py.
        """
        argv = [script.name if script == CLI_FILE else str(script), *map(str, words)]
        request = {
            "words": argv,
            "folder": str(folder),
            "environment": dict(environment),
            "reload": list(reload),
            "settings": {"layerprobe.classify.plotting.RUN_KINDS": FEW, **settings},
        }
        stdout, stderr = TemporaryFile("w+"), TemporaryFile("w+")  # noqa: SIM115 (the command closes them)
        ours, theirs = socket.socketpair()
        with theirs, Path(os.devnull).open() as stdin:
            own = (stdin.fileno(), stdout.fileno(), stderr.fileno())
            descriptors = [given.get(number, own[number]) for number in range(3)]
            socket.send_fds(self._connection, [json.dumps(request).encode()], [*descriptors, theirs.fileno()])
        return Command(ours, argv, stdout, stderr)


@cache
def fork_server() -> ForkServer:
    return ForkServer()


def start_cli(*arguments: object, cwd: Path = ROOT, **options: Any) -> Command:
    """`python cli.py …` in a process of its own, which runs on; options: of `ForkServer.start`."""
    return fork_server().start(arguments, cwd, **options)


def cli(*arguments: object, cwd: Path | None = None, **options: Any) -> subprocess.CompletedProcess[str]:
    """`python cli.py …`, to its end, in a process of its own; options: of `ForkServer.start`."""
    return start_cli(*arguments, cwd=cwd or ROOT, **options).finish()


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
