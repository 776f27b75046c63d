"""The real command line in a process of its own, as a person runs it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import soundfile

ROOT = Path(__file__).resolve().parent.parent
CLI = [sys.executable, str(ROOT / "cli.py")]
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "COLUMNS": "200"}


def cli(*arguments: object, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    """`python cli.py …`, to its end."""
    return subprocess.run(
        [*CLI, *map(str, arguments)],
        cwd=cwd or ROOT,
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )


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
