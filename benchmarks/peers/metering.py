"""Time and memory of a process, with its children."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, kw_only=True)
class Measured:
    """wall_s, cpu_s: seconds. peak_mb: largest resident memory of a process. failure: "" if it worked."""

    wall_s: float
    cpu_s: float
    peak_mb: float
    failure: str = ""


def measure(command: Sequence[str], *, log: Path, cwd: Path | None = None) -> Measured:
    """Run a command to its end. log: receives all that it prints."""
    started = time.perf_counter()
    with log.open("wb") as file:
        process = subprocess.Popen(
            command,
            cwd=cwd,
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
        )
        _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    return Measured(
        wall_s=time.perf_counter() - started,
        cpu_s=usage.ru_utime + usage.ru_stime,
        peak_mb=usage.ru_maxrss / 1e3,
        failure="" if process.returncode == 0 else _reason(log, process.returncode),
    )


def _reason(log: Path, status: int) -> str:
    """The last line that a process printed, which names the exception of a Python program."""
    lines = [line.strip() for line in log.read_text(errors="replace").splitlines() if line.strip()]
    return f"exit status {status}: {lines[-1][:200]}" if lines else f"exit status {status}"


def failed(reason: str) -> Measured:
    """Of a method that did not run."""
    return Measured(wall_s=0.0, cpu_s=0.0, peak_mb=0.0, failure=reason)
